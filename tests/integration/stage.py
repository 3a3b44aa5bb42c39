"""A gateway whose workers can be struck anywhere, and find out quickly what became of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mallku_broker.connection import GatewayConnection
from mallku_contracts.audit import Record, Resolution
from mallku_deploy.demo.trail import Trail
from tests.integration.world import EVENT_S, World, running_world, until
from tests.support.failpoints import Failpoints
from tests.support.simulated_caller import Sent, SimulatedCaller, now_ms

LOOK_S = 0.1
T = TypeVar("T")

LIFE_MS = 1_500
SKEW_MS = 500
RUNTIME_MS = 500
QUICK = {
    "CLOCK_SKEW_MS": SKEW_MS,
    "RECONCILE_RUNTIME_MS": RUNTIME_MS,
    "RECONCILE_EVERY_S": 0.4,
    "RECONCILE_UNTOUCHED_S": 0.2,
    "RECONCILE_SILENT_S": 3,
}
"""Settings of workers that find out within seconds."""

SETTLED_MS = LIFE_MS + SKEW_MS + RUNTIME_MS
CLOSED = set(Resolution) - {Resolution.PENDING}


@dataclass
class Stage:
    """A gateway whose workers have failpoints."""

    world: World
    failpoints: Failpoints
    caller: SimulatedCaller
    connection: GatewayConnection

    def send(self, operation: str, arguments: dict[str, Any], **header: Any) -> Sent:
        """Publish a command once, whatever becomes of it."""
        now = now_ms()
        times: dict[str, Any] = {"iat": now, "exp": now + LIFE_MS, "budget": LIFE_MS}
        sent = self.caller.seal(operation, arguments, **(times | header))
        self.connection.post(str(sent.subject), sent.data, reply=sent.reply)
        return sent

    async def strike(
        self, name: str, operation: str = "insert", number: signal.Signals = signal.SIGKILL
    ) -> Sent:
        """Send one command, and wait until a worker was struck and another stands in its place."""
        lost = len(self.world.losses)
        self.failpoints.arm(name, number)
        arguments = {"document": {"_key": name}} if operation == "insert" else {"document": name}
        sent = self.send(operation, arguments)
        await until(f"{name} struck", lambda: self.failpoints.struck(name))
        await until(f"the end at {name}", lambda: len(self.world.losses) > lost)
        await self.world.replaced(self.world.losses[lost].pid)
        return sent

    async def settled(self, wanted: Callable[[Trail], bool]) -> Trail:
        """The trail as soon as it is as wanted."""
        return await eventually(lambda: self.world.trail(settle_s=0), wanted)

    async def has(self, key: str) -> bool:
        """Whether a document is in the store."""
        async with self.world.client() as client:
            return await client.collection("memory_anchors").has(key)


async def eventually(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """Ask until the answer is as wanted; fails when it never is."""
    async with asyncio.timeout(2 * EVENT_S):
        while not wanted(answer := await ask()):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(LOOK_S)
    return answer


def of(trail: Trail, sent: Sent, *kinds: str) -> list[Record]:
    """The records about one transmission, of these kinds or of all."""
    return [
        record
        for record in trail.records
        if record.id == sent.header.id and (not kinds or record.kind in kinds)
    ]


def resolutions(trail: Trail, sent: Sent) -> list[str]:
    """What was found out about it, in order, but for `pending`."""
    found = of(trail, sent, "resolved")
    return [record.resolution for record in found if record.resolution in CLOSED]


def open_ends(trail: Trail) -> set[str]:
    """Transmissions with an intent and neither outcome nor resolution."""
    closed = {
        record.id
        for record in trail.records
        if record.kind in ("done", "failed") or record.resolution in CLOSED
    }
    return set(trail.ids("intent")) - closed


@asynccontextmanager
async def stage_in(
    folder: Path, patch: pytest.MonkeyPatch, **settings: Any
) -> AsyncGenerator[Stage]:
    """Start one; settings are those of workers, in capitals."""
    failpoints = Failpoints(folder / "failpoints", patch)
    for name, value in (QUICK | settings).items():
        patch.setenv(f"MALLKU_WORKER_{name}", str(value))
    async with running_world(folder / "house") as world, world.connection() as connection:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield Stage(world, failpoints, world.caller(), connection)
