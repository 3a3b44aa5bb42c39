"""One worker, then two and four, over a store that waits 20 ms for each command.

    python -m tests.benchmarks.scaling [--rounds 3] [--seconds 4]

Each worker may have two reads inside the store at a time, so that one worker cannot do more than
100 commands a second, and what more of them do together is a matter of how well they keep out of
each other's way. Eight callers for each worker keep all of them busy. What is told is the ratio
of throughputs of the same round. Exits with 1 when four workers do not reach 0.9 of four times.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from mallku_deploy.bench import Load, drive
from mallku_deploy.bench.calls import open_calls
from mallku_deploy.bench.measure import Spread
from mallku_deploy.bench.policy import POLICY
from tests.integration.world import running_world

WAIT_MS: Final = 20
SLOTS: Final = 2
"""Reads inside the store at a time, of one worker."""

CALLERS: Final = 8
"""For each worker."""

WORKERS: Final = (1, 2, 4)
WANTED: Final = 0.9
DOCUMENTS: Final = 100
SIZE: Final = 256
_ENTRY: Final = Path(__file__).parent / "waiting_worker.py"
_COLLECTION: Final = "scaling"


def _command() -> list[str]:
    return [sys.executable, "-P", str(_ENTRY), "worker"]


async def throughput(folder: Path, workers: int, seconds: float) -> float:
    """Commands a second of so many workers."""
    async with running_world(folder, workers, policy=POLICY) as world:
        settings = world.client_settings("mallku")
        opening = open_calls(settings, collection=_COLLECTION, size=SIZE, documents=DOCUMENTS)
        async with opening as calls:
            load = Load(in_flight=CALLERS * workers, count=1_000_000, seconds=seconds)
            return (await drive(calls.get, load)).throughput


async def _rounds(asked: argparse.Namespace, folder: Path) -> dict[int, Spread]:
    ratios: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for number in range(asked.rounds):
        one = 0.0
        for workers in WORKERS:
            place = folder / f"{number}-{workers}"
            done = await throughput(place, workers, asked.seconds)
            one = one or done
            ratios[workers].append(done / one / workers)
            print(f"round {number + 1}, {workers} workers: {done:,.0f} commands/s", flush=True)
    return {workers: Spread.of(values) for workers, values in ratios.items()}


def main() -> int:
    """Measure; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mallku-scaling-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("mallku_deploy.life._command", _command)
        patch.setenv("SCALING_WAIT_MS", str(WAIT_MS))
        patch.setenv("MALLKU_WORKER_MAX_READS", str(SLOTS))
        spreads = asyncio.run(_rounds(asked, Path(folder)))
    for workers, spread in spreads.items():
        print(
            f"{workers} workers: {spread.median:.2f} of linear"
            f" ({spread.low:.2f} to {spread.high:.2f})"
        )
    return 0 if spreads[WORKERS[-1]].median >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
