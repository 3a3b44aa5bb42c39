"""A bench from beginning to end: a gateway, runs in turns, and a table of what they showed."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mallku_client.settings import ClientSettings
from mallku_deploy.bench.calls import Calls, open_calls
from mallku_deploy.bench.measure import CpuMeter, Figures, Load, Run, drive
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.panel import announce
from mallku_deploy.speaker import CALLER
from mallku_deploy.terminal import err, out

WARM_UP_COUNT: Final = 500
"""Calls of each operation before anything is measured, commands."""

_PARTS: Final = ("client", "workers", "nats-server")


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway to be asked, and those of its processes that can be charged with CPU, by part."""

    settings: ClientSettings
    processes: Callable[[], Mapping[str, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: each operation as often as there are rounds, in turns.

    Attributes:
        collection: Where documents are put.
        size: Bytes of a document's JSON, about.
    """

    operations: Sequence[str]
    load: Load
    rounds: int
    collection: str
    size: int


@asynccontextmanager
async def given(settings: ClientSettings) -> AsyncGenerator[Target]:
    """A gateway that somebody else runs."""
    yield Target(settings, dict)


@asynccontextmanager
async def embedded(workers: int) -> AsyncGenerator[Target]:
    """A gateway of our own in a temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mallku-bench-") as folder:
        house = lift_limits(House(Path(folder) / "house"))
        gateway = LocalGateway(furnish(house, workers), port=0, announce=announce)
        async with gateway:
            settings = ClientSettings.from_environment(house.environment(CALLER, gateway.url))
            yield Target(settings, lambda: _parts(gateway.pids))


def _parts(pids: Mapping[str, int]) -> dict[str, list[int]]:
    server = [pid for name, pid in pids.items() if name == "nats-server"]
    return {"workers": [pid for pid in pids.values() if pid not in server], "nats-server": server}


async def play(target: AbstractAsyncContextManager[Target], plan: Plan) -> dict[str, Figures]:
    """Run the plan; figures by operation.

    Raises:
        MallkuError: the first refusal or failure, for what fails is not measured.
    """
    async with (
        target as gateway,
        open_calls(gateway.settings, collection=plan.collection, size=plan.size) as calls,
    ):
        return await _in_turns(calls, plan, gateway)


async def _in_turns(calls: Calls, plan: Plan, target: Target) -> dict[str, Figures]:
    for operation in plan.operations:
        await drive(calls.of(operation), replace(plan.load, count=WARM_UP_COUNT))
    runs: dict[str, list[Run]] = {operation: [] for operation in plan.operations}
    for number in range(plan.rounds):
        for operation in plan.operations:
            run = await _measure(calls, operation, plan.load, target)
            runs[operation].append(run)
            err.print(f"[dim]round {number + 1}: {operation} {run.throughput:,.0f}/s[/]")
    return {operation: Figures.of(found) for operation, found in runs.items()}


async def _measure(calls: Calls, operation: str, load: Load, target: Target) -> Run:
    gc.collect()
    meter = CpuMeter({"client": [os.getpid()], **target.processes()})
    run = await drive(calls.of(operation), load)
    return replace(run, cpu_s=meter.used())


def show(figures: Mapping[str, Figures], plan: Plan) -> None:
    """Draw the table."""
    caption = (
        f"{plan.load.in_flight} in flight, documents of {plan.size} bytes; medians of "
        f"{plan.rounds} rounds; latencies in ms; "
        "client, workers, nats-server: CPU s for 1,000 commands"
    )
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    parts = [part for part in _PARTS if all(part in one.cpu_s_per_1000 for one in figures.values())]
    table.add_column("", style="bold", no_wrap=True)
    for head in ("per s", "±", "p50", "p95", "p99", *parts):
        table.add_column(head, justify="right", no_wrap=True)
    for operation, one in figures.items():
        table.add_row(operation, *_row(one, parts))
    out.print(table)


def _row(one: Figures, parts: Sequence[str]) -> list[str]:
    rate = one.throughput
    latencies = (one.p50_ms, one.p95_ms, one.p99_ms)
    return [
        f"{rate.median:,.0f}",
        f"{(rate.high - rate.low) / rate.median / 2:.0%}",
        *(f"{spread.median:.1f}" for spread in latencies),
        *(f"{one.cpu_s_per_1000[part]:.2f}" for part in parts),
    ]
