"""How soon callers hear that the store is gone, beside a command that is carried out.

`python -m tests.benchmarks.failfast` starts a gateway with one worker over a simulated ArangoDB,
measures a `get`, lets the database answer nothing but errors, waits until the breaker is open, and
measures the refusals. Exits non-zero when the median refusal takes longer than `MOST_RATIO` of the
median `get`, when one has no `retry_after`, when the database was asked for a refusal, or when a
worker ended.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import MallkuError, Unavailable
from mallku_deploy.bench.policy import POLICY
from tests.integration.world import World, running_world
from tests.support.simulated_arango import Answer, Asked, SimulatedArango, failure
from tests.support.simulated_arango_engine import Fault

MOST_RATIO: Final = 1.5
COMMANDS: Final = 300
RESET_S: Final = "30"
_US: Final = 1e6


class _Gone:
    """A database that refuses everything once it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.gone = False
        self.asked = 0

    def __call__(self, _asked: Asked) -> Answer | None:
        self.asked += 1
        return failure(Fault(503, 503, "gone")) if self.gone else None


async def _timed(client: SecuredDatabaseInterface) -> tuple[float, MallkuError | None]:
    """One `get` as one attempt: microseconds, and how it failed."""
    began = time.perf_counter()
    try:
        await client.collection("memory_anchors").get("k1", timeout=5)
    except MallkuError as error:
        return (time.perf_counter() - began) * _US, error
    return (time.perf_counter() - began) * _US, None


async def _measure(world: World, database: SimulatedArango) -> bool:
    gone = _Gone()
    database.before = gone
    async with world.client(max_attempts=1) as client:
        anchors = await client.create_collection("memory_anchors")
        await anchors.insert({"_key": "k1"})
        served = [(await _timed(client))[0] for _ in range(COMMANDS)]
        gone.gone = True
        while True:
            before = gone.asked
            _, error = await _timed(client)
            if error is not None and gone.asked == before:
                break
        asked = gone.asked
        refused = [await _timed(client) for _ in range(COMMANDS)]
    told = [
        error.retry_after
        for _, error in refused
        if isinstance(error, Unavailable) and error.retry_after is not None
    ]
    took = statistics.median(us for us, _ in refused)
    usual = statistics.median(served)
    p99 = statistics.quantiles([us for us, _ in refused], n=100)[98]
    print(f"get {usual:,.0f} us, refusal {took:,.0f} us (p99 {p99:,.0f}), ratio {took / usual:.2f}")
    print(f"retry_after {min(told, default=0):.2f} to {max(told, default=0):.2f} s, {len(told)}")
    print(f"asked of the database meanwhile: {gone.asked - asked}; workers lost: {world.losses}")
    return (
        took <= MOST_RATIO * usual
        and len(told) == COMMANDS
        and gone.asked == asked
        and not world.losses
    )


async def run(folder: Path) -> bool:
    """Start everything and measure; whether it is as it should be."""
    database = SimulatedArango(folder)
    os.environ["MALLKU_WORKER_ARANGO_URL"] = database.url
    os.environ["MALLKU_WORKER_BREAKER_RESET_S"] = RESET_S
    try:
        async with running_world(
            folder / "house", workers=1, store="arango", policy=POLICY
        ) as world:
            return await _measure(world, database)
    finally:
        database.close()


def main() -> None:
    """Measure and say so."""
    with tempfile.TemporaryDirectory() as folder:
        well = asyncio.run(run(Path(folder)))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
