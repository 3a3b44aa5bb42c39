"""When a worker reconciles: once it serves, again and again, and when an administrator asks.

Who asks writes the key `reconcile` of the bucket `mallku_flags`, which administrators alone may;
the run that answers names that revision in its record.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mallku_broker.buckets import Watch, place
from mallku_broker.connection import GatewayConnection
from mallku_broker.reconciliation import RECONCILE, read_former
from mallku_broker.streams import FLAGS
from mallku_contracts.errors import MallkuError

SPREAD_S: Final = 0.5
"""Workers that begin at the same moment wait up to this long, each another time, seconds."""

AGAIN_S: Final = 5.0
"""After a run that failed the next one comes so soon, seconds."""

_MS_PER_S: Final = 1_000
_log = structlog.get_logger("mallku.reconciler")


class Runs(Protocol):
    """What can be run: `Reconciler`."""

    async def run(self, asked: int = 0) -> object:
        """Close what can be closed."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often the gateway reconciles, seconds; of its workers whoever comes first does it."""

    every_s: float


class _Asked:
    """The newest request of an administrator."""

    def __init__(self) -> None:
        self.revision = 0
        self.news = asyncio.Event()

    async def follow(self, connection: GatewayConnection, instance: str) -> None:
        """Hear every request until cancelled; those from before the start are answered by it."""
        stream, subject = place(FLAGS, RECONCILE)
        name = f"{RECONCILE}-{instance}"
        async with Watch(connection, stream, subject, name=name, troubled=_trouble) as watch:
            kept = await watch.next()
            self.revision = max((entry.revision for entry in kept), default=0)
            while True:
                for entry in await watch.next():
                    if entry.revision > self.revision:
                        self.revision = entry.revision
                        self.news.set()

    async def wait(self, timeout_s: float) -> int:
        """The next request, or 0 when there is none in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.news.wait()
                self.news.clear()
                return self.revision
        return 0


async def keep_reconciled(
    runs: Runs,
    connection: GatewayConnection,
    instance: str,
    schedule: Schedule,
    *,
    clock: Callable[[], int],
) -> None:
    """Run at the start, every `schedule.every_s`, and when asked; until cancelled.

    Args:
        clock: Unix milliseconds.
    """
    asked = _Asked()
    async with asyncio.TaskGroup() as group:
        group.create_task(asked.follow(connection, instance))
        request, due = 0, True
        while True:
            await asyncio.sleep(SPREAD_S * random.random())  # noqa: S311 - only spreads runs
            since_ms = None if due else clock() - _half(schedule)
            done = await _run(runs, connection, request, since_ms)
            wait_s = schedule.every_s if done else min(AGAIN_S, schedule.every_s)
            request = await asked.wait(wait_s)
            due = False


async def _run(
    runs: Runs, connection: GatewayConnection, request: int, since_ms: int | None
) -> bool:
    """Run unless another worker did, since then or for the request; False when it failed."""
    try:
        last = await read_former(connection)
        done = last.asked >= request if request else False
        if not done and not request:
            done = since_ms is not None and last.time_ms > since_ms
        if not done:
            await runs.run(request)
    except MallkuError as error:
        _log.warning("not_reconciled", reason=str(error))
        return False
    except Exception as error:  # noqa: BLE001 - what is left open must not end what can be served
        _log.error("reconciler_failed", exc_info=error)
        return False
    return True


def _half(schedule: Schedule) -> int:
    return int(schedule.every_s * _MS_PER_S / 2)


def _trouble(error: MallkuError) -> None:
    _log.warning("requests_not_heard", reason=error.message)
