"""A thousand clients, each with a connection of its own, and a thousand commands a second.

    python -m tests.benchmarks.openloop [--rounds 5] [--seconds 10]
        [--clients 1000] [--rate 1000] [--workers 2] [--processes 4]

An open loop: commands leave at times that were drawn beforehand (a Poisson process), whatever has
become of the ones before, and a latency is counted from the time at which its command was to leave.
So nothing is left out when the gateway, or a client, is slow. Of ten commands one inserts, the
others get; each is signed, its answer verified. The clients are spread over a few processes, which
take their part of this machine.

What others take of the machine is measured too: a round in which it was more than a tenth is
followed by one more, up to as many again, and the quietest are kept. Exits with 1 when the median
of the rounds' 95th percentiles is not under 100 ms, or a command failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mallku_deploy.bench import CpuMeter, Run, Spread, summarize
from mallku_deploy.bench.calls import document
from mallku_deploy.bench.policy import POLICY
from tests.benchmarks.children import Child, load_generator
from tests.benchmarks.contest import OTHERS, machine_cpu_s, others_share, quiet_rounds
from tests.benchmarks.openloop_clients import COLLECTION, DOCUMENTS, SIZE, Order
from tests.integration.world import World, running_world

WANTED_P95_MS: Final = 100.0
WARM_S: Final = 3.0
"""Of each round, before anything is counted, seconds."""

SOON_S: Final = 0.5
"""From an order until its round begins, seconds."""

CONNECT_S: Final = 180.0
"""Until all clients of a process are connected, seconds."""

DRAIN_S: Final = 60.0
"""From the last command of a round until its answer, seconds."""

MAX_COMMANDS: Final = 40_000
"""Commands of one process in a round; what it says of them is one line."""

_US: Final = 1e6
_MODULE: Final = "tests.benchmarks.openloop_clients"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed.

    Attributes:
        late: How late commands were begun by the processes of the clients; part of the latencies.
    """

    run: Run
    late: Run
    errors: Counter[str]

    @property
    def cpu_ms_per_command(self) -> dict[str, float]:
        """CPU of each part, milliseconds for each counted second's command."""
        commands = self.run.done / self.run.seconds
        return {
            part: used / (self.run.seconds + WARM_S) / commands * 1_000
            for part, used in self.run.cpu_s.items()
            if part != OTHERS
        }


@asynccontextmanager
async def _generators(world: World, asked: argparse.Namespace) -> AsyncGenerator[list[Child]]:
    """The processes of the clients, all connected."""
    environment = world.house.environment("mallku", world.gateway.url)
    async with AsyncExitStack() as stack:
        started: list[Child] = []
        for number in range(asked.processes):
            count = len(range(number, asked.clients, asked.processes))
            setting = {"environment": environment, "clients": count}
            opened = load_generator(f"clients {number + 1}", setting, _MODULE)
            started.append(await stack.enter_async_context(opened))
        connected = await asyncio.gather(*(one.ask({}, CONNECT_S) for one in started))
        print(f"{sum(one['connected'] for one in connected)} clients are connected", flush=True)
        yield started


async def _play(
    generators: Sequence[Child], pids: dict[str, list[int]], asked: argparse.Namespace, number: int
) -> Round:
    """One round of all processes at the same time."""
    order = Order(
        begin=time.monotonic() + SOON_S,
        rate=asked.rate / len(generators),
        warm_s=WARM_S,
        seconds=asked.seconds,
        seed=f"{number}",
    )
    meter, before, began = CpuMeter(pids), machine_cpu_s(), time.monotonic()
    told = await asyncio.gather(
        *(
            one.ask(asdict(replace(order, seed=f"{number}-{place}")), _most_s(order))
            for place, one in enumerate(generators)
        )
    )
    took, ours = time.monotonic() - began, meter.used()
    # As others_share has it, for the length that the run gives: what others took in a second.
    others = max(machine_cpu_s() - before - sum(ours.values()), 0.0) / took * asked.seconds
    run = summarize(_together(told, "answered"), asked.seconds)
    return Round(
        replace(run, cpu_s={**ours, OTHERS: others}),
        summarize(_together(told, "left"), asked.seconds),
        sum((Counter(one["errors"]) for one in told), Counter[str]()),
    )


def _most_s(order: Order) -> float:
    return SOON_S + order.warm_s + order.seconds + DRAIN_S


def _together(told: Sequence[dict[str, Any]], what: str) -> list[float]:
    return [each / _US for one in told for each in one[what]]


async def _run(asked: argparse.Namespace, folder: Path) -> int:
    async with running_world(folder / "house", asked.workers, policy=POLICY) as world:
        async with world.client() as client:
            there = await client.create_collection(COLLECTION)
            some = [{"_key": f"d{n}", **document(n, SIZE)} for n in range(DOCUMENTS)]
            await there.insert_many(some, silent=True)
        async with _generators(world, asked) as generators:
            pids = {
                "clients": [one.pid for one in generators],
                "workers": list(world.workers.values()),
                "nats-server": [world.gateway.pids["nats-server"]],
                "this": [os.getpid()],
            }
            return _judge(await _rounds(generators, pids, asked))


async def _rounds(
    generators: Sequence[Child], pids: dict[str, list[int]], asked: argparse.Namespace
) -> list[Round]:
    async def play(number: int) -> Round:
        played = await _play(generators, pids, asked, number)
        _tell(number, played)
        return played

    return await quiet_rounds(asked.rounds, play, lambda each: others_share(each.run))


def _tell(number: int, each: Round) -> None:
    run = each.run
    print(
        f"round {number}: {run.done:,} commands, {run.throughput:,.0f}/s: p50 {run.p50_ms:.1f} ms,"
        f" p95 {run.p95_ms:.1f}, p99 {run.p99_ms:.1f} (begun late: p95 {each.late.p95_ms:.1f});"
        f" others {others_share(run):.0%} of the machine",
        flush=True,
    )
    used = each.cpu_ms_per_command
    print("  CPU ms a command: " + ", ".join(f"{name} {ms:.2f}" for name, ms in used.items()))
    if each.errors:
        print(f"  errors: {dict(each.errors)}")


def _judge(kept: Sequence[Round]) -> int:
    p95 = Spread.of(each.run.p95_ms for each in kept)
    p50 = Spread.of(each.run.p50_ms for each in kept)
    p99 = Spread.of(each.run.p99_ms for each in kept)
    failed = sum(each.errors.total() for each in kept)
    for name, spread in (("p50", p50), ("p95", p95), ("p99", p99)):
        print(f"{name} {spread.median:.1f} ms ({spread.low:.1f} to {spread.high:.1f})")
    print(f"wanted: p95 under {WANTED_P95_MS:.0f} ms, no failure; failed: {failed}")
    return 1 if failed or p95.median >= WANTED_P95_MS else 0


def _allow_many_connections() -> None:
    """Each client holds a descriptor; the usual limit is below what is needed here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1_000.0, help="commands a second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="what a round counts")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--processes", type=int, default=4, help="that the clients are spread over")
    asked = parser.parse_args()
    if asked.rate * (asked.seconds + WARM_S) / asked.processes > MAX_COMMANDS:
        parser.error(f"at most {MAX_COMMANDS:,} commands of one process in a round")
    return asked


def main() -> int:
    """Measure; the exit code."""
    asked = _asked()
    _allow_many_connections()
    with tempfile.TemporaryDirectory(prefix="mallku-openloop-") as folder:
        return asyncio.run(_run(asked, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
