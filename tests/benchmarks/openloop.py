"""A thousand clients, each with a connection of its own, and a thousand commands a second.

    python -m tests.benchmarks.openloop [--clients 1000] [--rate 1000] [--seconds 20] [--workers 2]

An open loop: commands leave at times that were drawn beforehand (a Poisson process), whatever has
become of the ones before, and a latency is counted from the time at which its command was to leave.
So nothing is left out when the gateway is slow. Of ten commands one inserts, the others get. The
clients share this one process, which takes its part of the machine. Exits with 1 when the 95th
percentile is not under 100 ms, or a command failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from array import array
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from mallku_client import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import MallkuError
from mallku_deploy.bench import CpuMeter, Run, summarize
from mallku_deploy.bench.calls import document
from tests.integration.world import running_world

WANTED_P95_MS: Final = 100.0
CONNECTING: Final = 32
"""Clients that connect at a time."""

DOCUMENTS: Final = 1_000
INSERT_SHARE: Final = 0.1
SIZE: Final = 512
WARM_S: Final = 3.0
"""Before anything is counted, seconds."""

SEED: Final = 7
_COLLECTION: Final = "openloop"


@dataclass
class Told:
    """What became of the commands; latencies in seconds."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter[str])


async def _connect(
    settings: ClientSettings, count: int, stack: AsyncExitStack
) -> list[SecuredDatabaseInterface]:
    clients: list[SecuredDatabaseInterface] = []
    while len(clients) < count:
        some = min(CONNECTING, count - len(clients))
        opening = (SecuredDatabaseInterface.connect(settings=settings) for _ in range(some))
        clients += [
            await stack.enter_async_context(client) for client in await asyncio.gather(*opening)
        ]
    return clients


async def drive(clients: list[SecuredDatabaseInterface], rate: float, seconds: float) -> Told:
    """Send commands at random times, `rate` a second on average."""
    chance, told = random.Random(SEED), Told()
    begun = time.perf_counter()
    at, under_way = 0.0, set[asyncio.Task[None]]()
    while at < WARM_S + seconds:
        await asyncio.sleep(max(begun + at - time.perf_counter(), 0))
        inserts, client = chance.random() < INSERT_SHARE, chance.choice(clients)
        key = f"d{chance.randrange(DOCUMENTS)}"
        task = asyncio.create_task(_send(client, None if inserts else key, begun + at, told))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        former, at = at, at + chance.expovariate(rate)
        if former < WARM_S <= at:
            told.latencies = array("d")
    await asyncio.gather(*under_way)
    return told


async def _send(client: SecuredDatabaseInterface, key: str | None, due: float, told: Told) -> None:
    collection = client.collection(_COLLECTION)
    try:
        if key is None:
            await collection.insert(document(0, SIZE))
        else:
            await collection.get(key)
    except MallkuError as error:
        told.errors[error.code] += 1
    else:
        told.latencies.append(time.perf_counter() - due)


def _allow_many_connections() -> None:
    """Each client holds a descriptor; the usual limit is below what is needed here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(asked: argparse.Namespace, folder: Path) -> int:
    async with running_world(folder / "house", asked.workers) as world, AsyncExitStack() as stack:
        clients = await _connect(world.client_settings("mallku"), asked.clients, stack)
        print(f"{len(clients)} clients are connected")
        there = await clients[0].create_collection(_COLLECTION)
        await there.insert_many(
            [{"_key": f"d{n}", **document(n, SIZE)} for n in range(DOCUMENTS)], silent=True
        )
        pids = world.gateway.pids | {"clients": os.getpid()}
        meter = CpuMeter({name: [pid] for name, pid in pids.items()})
        told = await drive(clients, asked.rate, asked.seconds)
        run = summarize(told.latencies, asked.seconds)
        return _say(run, told, meter.used(), asked)


def _say(run: Run, told: Told, used: dict[str, float], asked: argparse.Namespace) -> int:
    print(
        f"{run.done:,} commands at {asked.rate:.0f}/s: p50 {run.p50_ms:.1f} ms,"
        f" p95 {run.p95_ms:.1f} ms, p99 {run.p99_ms:.1f} ms (wanted: p95 under {WANTED_P95_MS:.0f})"
    )
    print("CPU: " + ", ".join(f"{name} {each:.1f} s" for name, each in sorted(used.items())))
    if told.errors:
        print(f"errors: {dict(told.errors)}")
    return 1 if told.errors or run.p95_ms >= WANTED_P95_MS else 0


def main() -> int:
    """Measure; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1_000.0, help="commands a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    _allow_many_connections()
    with (
        tempfile.TemporaryDirectory(prefix="mallku-openloop-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
