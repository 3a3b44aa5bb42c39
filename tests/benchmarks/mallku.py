"""What Mallku's face costs: `python -m tests.benchmarks.mallku [--rounds N]`.

On a gateway with two workers and the embedded store: a blocking call inside a running loop beside
the awaited one, a start-up scan in pages, and many threads that insert at the same moment. Exits
non-zero above a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mallku_client.mallku import close_database, get_database
from mallku_deploy.bench.policy import POLICY
from tests.integration.world import running_world

MAX_MORE_US: Final = 150.0
"""What a blocking call may cost more than an awaited one, microseconds."""

MAX_SCAN_S: Final = 4.0
MAX_SCAN_BYTES: Final = 24 * 2**20
"""What a scan may hold at a time whose rows nobody keeps, bytes: a few pages."""

MAX_ROUND_S: Final = 30.0
"""A round of inserts that takes longer stands still, seconds."""

DOCUMENTS: Final = 20_000
DOCUMENT_BYTES: Final = 1_600
THREADS: Final = 10
AT_ONCE: Final = 100
CALLS: Final = 2_000
_US: Final = 1e6


async def more_us() -> float:
    """How much longer a blocking `get` takes than an awaited one; median of pairs."""
    plain = get_database().collection("bench")
    awaited = (await get_database()).collection("bench")
    plain.insert({"_key": "a"}, overwrite=True)
    differences = []
    for number in range(CALLS):
        if number % 2:
            one, other = await _timed(awaited), _timed_plain(plain)
        else:
            other, one = _timed_plain(plain), await _timed(awaited)
        differences.append(other - one)
    return statistics.median(differences) * _US


async def _timed(collection: Any) -> float:
    begin = time.perf_counter()
    await collection.get("a")
    return time.perf_counter() - begin


def _timed_plain(collection: Any) -> float:
    begin = time.perf_counter()
    collection.get("a")
    return time.perf_counter() - begin


def fill() -> None:
    """The documents of the scan."""
    scanned = get_database().collection("bench_scan")
    text = "x" * (DOCUMENT_BYTES - 60)
    for part in range(0, DOCUMENTS, 500):
        scanned.insert_many([{"_key": f"{n:06}", "text": text} for n in range(part, part + 500)])


def scan() -> tuple[float, int]:
    """Seconds, and rows."""
    begin = time.perf_counter()
    rows = sum(1 for _ in get_database().collection("bench_scan").all())
    return time.perf_counter() - begin, rows


def scan_bytes() -> int:
    """The most memory that a scan holds whose rows nobody keeps, bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    scan()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def storm(rounds: int) -> float:
    """Inserts per second of `AT_ONCE` inserts from `THREADS` threads, round after round."""
    bench = get_database().collection("bench_storm")
    bench.insert({"first": True})

    def insert(number: int) -> None:
        bench.insert({"n": number, "thread": threading.get_ident()})

    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(rounds):
            for future in [pool.submit(insert, n) for n in range(AT_ONCE)]:
                future.result(MAX_ROUND_S)
    return rounds * AT_ONCE / (time.perf_counter() - begin)


async def measure(rounds: int) -> bool:
    """Everything; whether all of it is within the limits."""
    results = [("a blocking call in a loop, more than awaited, us", await more_us(), MAX_MORE_US)]
    await asyncio.to_thread(fill)
    seconds, rows = await asyncio.to_thread(scan)
    results.append((f"a scan of {rows} x {DOCUMENT_BYTES} B, s", seconds, MAX_SCAN_S))
    held = await asyncio.to_thread(scan_bytes)
    results.append(("what a scan holds, MiB", held / 2**20, MAX_SCAN_BYTES / 2**20))
    rate = await asyncio.to_thread(storm, rounds)
    for name, value, limit in results:
        print(f"{name:<55} {value:10.1f}   at most {limit:.0f}")
    print(f"{f'{AT_ONCE} inserts from {THREADS} threads, {rounds} rounds, /s':<55} {rate:10.0f}")
    return all(value <= limit for _, value, limit in results)


async def main(rounds: int) -> int:
    """Run it against a gateway of its own."""
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        async with running_world(Path(folder) / "house", policy=POLICY) as world:
            os.environ.update(world.house.environment("mallku", world.gateway.url))
            try:
                return 0 if await measure(rounds) else 1
            finally:
                close_database()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="10000 for the promise")
    sys.exit(asyncio.run(main(parser.parse_args().rounds)))
