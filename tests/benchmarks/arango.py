"""Inserts over ArangoDB beside python-arango alone, against a server that answers in 2 ms.

    python -m tests.benchmarks.arango [--rounds 5] [--seconds 2] [--in-flight 64]

Four contestants take turns in one run, all against the same stub: python-arango as it comes, in one
process with a thread for each insert in flight; the store of a worker by itself, with ledger claims
and combined requests; and the whole gateway (a real nats-server, one worker with `--store arango`,
signatures, policy, two records in the trail) with its client on each kind of loop. What is told is
the ratio of runs of the same round, and what one process of each could do with a core to itself by
the CPU that it took, which others on the machine disturb less. Exits non-zero when a ratio is not
as wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mallku_deploy.bench import Load
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from tests.benchmarks.children import Child, server
from tests.benchmarks.contest import Results, compete
from tests.benchmarks.contestants import Contestant, Goal
from tests.benchmarks.report import blocks, disturbance, machine, show
from tests.benchmarks.stage import LOOPS, HouseOnStage, environment

DELAY_MS: Final = 2.0
SIZE: Final = 512
"""A document's JSON, bytes."""

WANTED_RATIO: Final = 3.0

DRIVER: Final = "python-arango"
STORE: Final = "store"
GATEWAY: Final = "gateway"


@asynccontextmanager
async def gateway(root: Path, url: str) -> AsyncGenerator[HouseOnStage]:
    """A gateway whose one worker stores at `url`; no rate holds its callers back."""
    house = lift_limits(House(root))
    running = LocalGateway(furnish(house, 1), port=0, announce=_say, store="arango")
    with environment(MALLKU_WORKER_ARANGO_URL=url):
        await running.__aenter__()
    try:
        yield HouseOnStage(running, house, signs_reads=True)
    finally:
        await running.__aexit__(None, None, None)


def _say(event: object) -> None:
    print(event, file=sys.stderr)


def contestants(url: str, stub: Child, house: HouseOnStage) -> list[Contestant]:
    """Everybody, in the order in which they take turns."""
    own = {"stub": [stub.pid]}
    direct: dict[str, Any] = {"url": url, "size": SIZE, "loop": "asyncio"}
    called: dict[str, Any] = {
        "kind": "gateway",
        "operation": "insert",
        "environment": house.environment,
        "size": SIZE,
        "documents": 0,
    }
    return [
        Contestant(DRIVER, {**direct, "kind": "arango-driver"}, lambda: own),
        Contestant(STORE, {**direct, "kind": "arango-store"}, lambda: own),
        *(
            Contestant(_on(loop), {**called, "loop": loop}, lambda: {**house.processes(), **own})
            for loop in LOOPS
        ),
    ]


def _on(loop: str) -> str:
    return f"{GATEWAY}, client on {loop}"


def goals() -> list[Goal]:
    """The ratios that are looked at."""
    ours = [STORE, *map(_on, LOOPS)]
    return [Goal(name, DRIVER, "throughput", WANTED_RATIO) for name in ours]


def ceilings(results: Results) -> str:
    """One line: inserts a second at which the driver's process, or the worker, fills a core."""
    [group] = results.figures
    alone = _per_core(group[DRIVER].cpu_s_per_1000["client"])
    ours = {name: figures.cpu_s_per_1000.get("worker") for name, figures in group.items()}
    workers = [
        f"{name}: the worker {_per_core(cpu):,.0f}/s, ratio {_per_core(cpu) / alone:.2f}"
        for name, cpu in ours.items()
        if cpu
    ]
    return "; ".join([f"One full core by its CPU: {DRIVER} {alone:,.0f}/s", *workers]) + "."


def _per_core(cpu_s_per_1000: float) -> float:
    return 1_000 / cpu_s_per_1000


async def measure(load: Load, rounds: int) -> Results:
    """All contestants in turns."""
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        async with server("tests.benchmarks.arango_stub", str(DELAY_MS)) as (stub, port):
            url = f"http://127.0.0.1:{port}"
            async with gateway(Path(folder) / "house", url) as house:
                return Results([await compete(contestants(url, stub, house), load, rounds)])


def main() -> None:
    """Measure, draw the tables, and end with what the goals say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="the longest run")
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args()
    load = Load(options.in_flight, 1_000_000, options.seconds)
    results = asyncio.run(measure(load, options.rounds))
    show(blocks(results, None, goals()))
    print(machine(load, options.rounds, SIZE), disturbance(results), sep="\n")
    print(ceilings(results))
    reached = [goal.reached(ratio) for goal in goals() if (ratio := results.ratio(goal))]
    sys.exit(not all(reached))


if __name__ == "__main__":
    main()
