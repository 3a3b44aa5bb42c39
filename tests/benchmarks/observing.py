"""What being seen costs: commands with all of it on, scraped and asked, against all of it off.

    python -m tests.benchmarks.observing [--rounds 24] [--seconds 0.5] [--traced] [--skip-commands]

Gateways with one worker each run beside each other and take turns in short rounds, so that whatever
else the machine does falls on all of them: `off`; `on`, nobody looking; `looked at`, whose metrics
are scraped and whose workers are looked for at the begin of each round, thirty times as often as
Prometheus does by itself; with `--traced` another one, of which every command has its spans. For
each of them: what it takes of the throughput and of the worker's CPU for a command, the median over
the rounds and its quartiles. On a busy machine only the CPU means something.

Exits non-zero when being looked at takes more than 8 % of throughput, or a scrape of a worker with
30 collections and 20 principals takes more than 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from mallku_client.settings import ClientSettings
from mallku_deploy.bench.calls import Calls, open_calls
from mallku_deploy.bench.measure import CpuMeter, Load, Run, drive
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.targets import addresses
from mallku_deploy.watching.finding import Finder, open_finder
from mallku_workers.observing.metrics import expose, make_registry
from tests.benchmarks.stage import environment
from tests.support.collector import collecting
from tests.workers.observing.test_metrics import fill, made

MAX_COST: Final = 0.08
"""The part of throughput that all of it may take."""

MAX_SCRAPE_S: Final = 0.020
IN_FLIGHT: Final = 64
SIZE: Final = 512
SCRAPES: Final = 50
_US: Final = 1e6


@dataclass(frozen=True, slots=True)
class Side:
    """One gateway, and calls on it."""

    gateway: LocalGateway
    house: House
    calls: Calls

    def settings(self, principal: str) -> ClientSettings:
        """The environment of a principal."""
        known = self.house.environment(principal, self.gateway.url)
        return ClientSettings.from_environment(known)

    async def run(self, load: Load) -> tuple[Run, float]:
        """One round of inserts, and the worker's CPU for one of them, microseconds."""
        meter = CpuMeter({"worker": [self.gateway.pids["worker-1"]]})
        run = await drive(self.calls.insert, load)
        return run, meter.used()["worker"] / run.done * _US


@asynccontextmanager
async def side(folder: Path, **settings: str) -> AsyncGenerator[Side]:
    """A gateway whose worker has these settings, by their variables."""
    house = lift_limits(House(folder))
    gateway = LocalGateway(furnish(house, 1), port=0, announce=lambda _event: None)
    with environment(**settings):
        await gateway.__aenter__()
    try:
        caller = ClientSettings.from_environment(house.environment("mallku", gateway.url))
        async with open_calls(caller, collection="bench", size=SIZE, documents=1) as calls:
            yield Side(gateway, house, calls)
    finally:
        await gateway.__aexit__(None, None, None)


@dataclass(slots=True)
class Kind:
    """One way to run, and its rounds so far: throughput, and microseconds of CPU for a command."""

    name: str
    side: Side
    looks: Callable[[], Awaitable[None]] | None = None
    throughputs: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])

    async def round(self, load: Load) -> None:
        """One more of them."""
        looking = asyncio.ensure_future(self.looks()) if self.looks is not None else None
        run, cpu_us = await self.side.run(load)
        if looking is not None:
            await looking
        self.throughputs.append(run.throughput)
        self.cpu_us.append(cpu_us)


async def look(seen: Side, finder: Finder) -> None:
    """Scrape, and look for workers."""
    for address in addresses(seen.house.targets):
        await asyncio.to_thread(_scrape, address)
    await finder.look(expected=1)


def _scrape(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        answer.read()


async def commands(rounds: int, seconds: float, *, traced: bool) -> float:
    """Print a table of all kinds; the part of throughput that being looked at took."""
    load = Load(in_flight=IN_FLIGHT, count=sys.maxsize, seconds=seconds)
    async with AsyncExitStack() as stack:
        off, *others = await _kinds(stack, traced=traced)
        for kind in (off, *others):
            await kind.side.run(load)
        for number in range(rounds):
            kinds = [off, *others]
            first = number % len(kinds)
            for kind in (*kinds[first:], *kinds[:first]):
                await kind.round(load)
    print(f"{'':12}{'per s':>8}{'us CPU':>8}   of throughput            of CPU")
    print(f"{off.name:12}{median(off.throughputs):8,.0f}{median(off.cpu_us):8.0f}")
    return [_shown(kind, off) for kind in others][-1]


def _shown(kind: Kind, off: Kind) -> float:
    """Print a row; the median of what it takes of the throughput."""
    slower = [1 - one / other for one, other in zip(kind.throughputs, off.throughputs, strict=True)]
    dearer = [one / other - 1 for one, other in zip(kind.cpu_us, off.cpu_us, strict=True)]
    print(
        f"{kind.name:12}{median(kind.throughputs):8,.0f}{median(kind.cpu_us):8.0f}"
        f"   {_spread(slower):24} {_spread(dearer)}"
    )
    return median(slower)


def _spread(shares: list[float]) -> str:
    low, middle, high = quantiles(shares, n=4)
    return f"{middle:6.1%} ({low:.1%} … {high:.1%})"


async def _kinds(stack: AsyncExitStack, *, traced: bool) -> list[Kind]:
    """All of them, `off` first and `looked at` last, their gateways running."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mallku-")))
    off = await stack.enter_async_context(side(folder / "off", MALLKU_WORKER_OBSERVE="false"))
    on = await stack.enter_async_context(side(folder / "on"))
    finder = await stack.enter_async_context(open_finder(on.settings("inspector")))
    kinds = [Kind("off", off), Kind("on", on)]
    if traced:
        collector = stack.enter_context(collecting())
        to = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "MALLKU_WORKER_TRACING": "true"}
        every = await stack.enter_async_context(
            side(folder / "traced", MALLKU_WORKER_TRACE_RATIO="1", **to)
        )
        kinds.append(Kind("traced", every))
    return [*kinds, Kind("looked at", on, lambda: look(on, finder))]


def scrape() -> float:
    """A scrape that shows all that 30 collections and 20 principals can bring about, seconds."""
    parts, tally = made()
    fill(tally)
    registry = make_registry(parts, tally)
    took, body = list[float](), b""
    for _ in range(SCRAPES):
        began = time.perf_counter()
        body, _ = expose(registry, "")
        took.append(time.perf_counter() - began)
    lines = body.count(b"\n")
    usual = median(took)
    print(f"scrape of {lines} lines: median {usual * 1e3:.1f} ms, worst {max(took) * 1e3:.1f} ms")
    return usual


def main() -> int:
    """Print both; 1 when a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--traced", action="store_true")
    parser.add_argument("--skip-commands", action="store_true")
    chosen = parser.parse_args()
    missed = scrape() > MAX_SCRAPE_S
    if not chosen.skip_commands:
        took = asyncio.run(commands(chosen.rounds, chosen.seconds, traced=chosen.traced))
        print(f"being looked at takes {took:.1%} of throughput; at most {MAX_COST:.0%}")
        missed |= took > MAX_COST
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
