"""What being seen costs: commands with all of it on, scraped and asked, against all of it off.

    python -m tests.benchmarks.observing [--rounds 12] [--seconds 1.0] [--skip-commands]

Two gateways with one worker each run beside each other and take turns, so that whatever else the
machine does falls on both. Metrics are scraped, and workers looked for, every second of a round
with it on: fifteen times as often as Prometheus does by itself. The cost is the median over the
pairs of rounds. Exits non-zero when it is more than 8 % of throughput, or a scrape of a worker with
30 collections and 20 principals takes more than 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.files import make_private_folder, write_private_text
from mallku_client.settings import ClientSettings
from mallku_deploy.bench.calls import Calls, open_calls
from mallku_deploy.bench.measure import CpuMeter, Load, Run, drive
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.targets import addresses
from mallku_deploy.watching.finding import open_finder
from mallku_workers.observing.metrics import expose, make_registry
from tests.benchmarks.stage import environment
from tests.workers.observing.test_metrics import fill, made

MAX_COST: Final = 0.08
"""The part of throughput that all of it may take."""

MAX_SCRAPE_S: Final = 0.020
IN_FLIGHT: Final = 64
LOOK_S: Final = 1.0
SIZE: Final = 512
SCRAPES: Final = 50
_US: Final = 1e6

POLICY: Final = """
version: 1
roles:
  service:
    limits: {rate_per_s: 100000, burst: 100000}
    rules: [{id: all, collections: ["*"], operations: [read, write, create-collection]}]
principals:
  mallku: {roles: [service]}
  inspector: {kind: inspector}
  administrator: {kind: administrator}
"""


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
async def side(folder: Path, *, observe: bool) -> AsyncGenerator[Side]:
    """A gateway that is seen, or not."""
    make_private_folder(folder)
    write_private_text(folder / "policy.yaml", POLICY)
    house = House(folder)
    gateway = LocalGateway(furnish(house, 1), port=0, announce=lambda _event: None)
    with environment(MALLKU_WORKER_OBSERVE=str(observe).lower()):
        await gateway.__aenter__()
    try:
        settings = ClientSettings.from_environment(house.environment("mallku", gateway.url))
        async with open_calls(settings, collection="bench", size=SIZE, documents=1) as calls:
            yield Side(gateway, house, calls)
    finally:
        await gateway.__aexit__(None, None, None)


async def looking(seen: Side) -> None:
    """Scrape and look for workers every second, until cancelled."""
    settings = seen.settings("inspector")
    async with open_finder(settings) as finder:
        while True:
            for address in addresses(seen.house.targets):
                await asyncio.to_thread(_scrape, address)
            await finder.look(expected=1)
            await asyncio.sleep(LOOK_S)


def _scrape(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        answer.read()


async def commands(rounds: int, seconds: float) -> float:
    """Print a table of both sides; the part of throughput that being seen took."""
    load = Load(in_flight=IN_FLIGHT, count=sys.maxsize, seconds=seconds)
    shares: list[float] = []
    extra_us: list[float] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mallku-")))
        on = await stack.enter_async_context(side(folder / "on", observe=True))
        off = await stack.enter_async_context(side(folder / "off", observe=False))
        for one in (on, off):
            await one.run(Load(in_flight=IN_FLIGHT, count=500, seconds=seconds))
        print("round    on /s   off /s     cost   on us CPU  off us CPU")
        for number in range(rounds):
            with_it, without = await _pair(on, off, load, on_first=number % 2 == 0)
            shares.append(1 - with_it[0].throughput / without[0].throughput)
            extra_us.append(with_it[1] / without[1] - 1)
            print(
                f"{number + 1:5}  {with_it[0].throughput:8,.0f} {without[0].throughput:8,.0f}"
                f"  {shares[-1]:6.1%}  {with_it[1]:10.0f}  {without[1]:10.0f}"
            )
    print(
        f"median cost {statistics.median(shares):.1%} of throughput,"
        f" {statistics.median(extra_us):.1%} of the worker's CPU; at most {MAX_COST:.0%}"
    )
    return statistics.median(shares)


async def _pair(
    on: Side, off: Side, load: Load, *, on_first: bool
) -> tuple[tuple[Run, float], tuple[Run, float]]:
    if on_first:
        with_it = await _seen(on, load)
        return with_it, await off.run(load)
    without = await off.run(load)
    return await _seen(on, load), without


async def _seen(on: Side, load: Load) -> tuple[Run, float]:
    watching = asyncio.create_task(looking(on))
    try:
        return await on.run(load)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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
    median = statistics.median(took)
    print(f"scrape of {lines} lines: median {median * 1e3:.1f} ms, worst {max(took) * 1e3:.1f} ms")
    return median


def main() -> int:
    """Print both; 1 when a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--skip-commands", action="store_true")
    chosen = parser.parse_args()
    missed = scrape() > MAX_SCRAPE_S
    if not chosen.skip_commands:
        missed |= asyncio.run(commands(chosen.rounds, chosen.seconds)) > MAX_COST
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
