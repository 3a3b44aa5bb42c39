"""Inserts through the ArangoDB store beside python-arango alone, against a server of 2 ms.

`python -m tests.benchmarks.arango`: one process, 64 inserts in flight; on one side the store with
claims, effects and combined requests, on the other the driver as it comes in a pool of 64 threads.
Rounds alternate, and what is told is the ratio of each pair.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from arango.client import ArangoClient

from mallku_contracts.arguments import Insert
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.base import LedgerClaim, Work
from tests.benchmarks.children import READY

DELAY_MS: Final = 2.0
IN_FLIGHT: Final = 64
ROUND_S: Final = 3.0
ROUNDS: Final = 5
WANTED_RATIO: Final = 3.0

_DOCUMENT: Final = {"kind": "khipu", "weight": 3, "text": "x" * 600, "tags": ["a", "b"]}


@contextmanager
def stub() -> Generator[str]:
    """The URL of a server that answers after `DELAY_MS`."""
    command = [sys.executable, "-m", "tests.benchmarks.arango_stub", str(DELAY_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            word, port = child.stdout.readline().split()
            assert word == READY
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()


def driver_alone(url: str) -> float:
    """Inserts per second of python-arango with a thread for each in flight."""
    client = ArangoClient(hosts=url)
    collection = client.db("mallku", username="root", password="").collection("people")
    ends = time.perf_counter() + ROUND_S

    def insert_until_the_end(_number: int) -> int:
        done = 0
        while time.perf_counter() < ends:
            collection.insert(_DOCUMENT)
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        done = sum(threads.map(insert_until_the_end, range(IN_FLIGHT)))
    rate = done / (time.perf_counter() - began)
    client.close()
    return rate


async def through_the_store(url: str) -> float:
    """Inserts per second of the store, each with its ledger claim."""
    store = ArangoStore(ArangoSettings(url=url, auth="basic"))
    await store.start()
    ends = time.perf_counter() + ROUND_S

    async def insert_until_the_end(caller: int) -> int:
        done = 0
        while time.perf_counter() < ends:
            await store.execute(_work(f"{caller}-{done}"))
            done += 1
        return done

    began = time.perf_counter()
    done = sum(await asyncio.gather(*map(insert_until_the_end, range(IN_FLIGHT))))
    rate = done / (time.perf_counter() - began)
    await store.stop()
    return rate


def _work(name: str) -> Work:
    now_ms = time.time_ns() // 1_000_000
    digest = hashlib.sha256(name.encode())
    claim = LedgerClaim(digest.hexdigest(), digest.digest(), name, now_ms + 900_000)
    arguments: Any = Insert(document=_DOCUMENT)
    return Work(OPERATIONS["insert"], "mallku", "people", arguments, now_ms + 30_000, claim)


def main() -> None:
    """Measure and print."""
    pairs: list[tuple[float, float]] = []
    with stub() as url:
        for number in range(ROUNDS):
            alone, store = driver_alone(url), asyncio.run(through_the_store(url))
            pairs.append((alone, store))
            print(
                f"round {number + 1}: driver {alone:,.0f}/s, store {store:,.0f}/s,"
                f" ratio {store / alone:.1f}"
            )
    ratios = sorted(store / alone for alone, store in pairs)
    print(
        f"inserts, {IN_FLIGHT} in flight, server of {DELAY_MS} ms:"
        f" driver {statistics.median(alone for alone, _ in pairs):,.0f}/s,"
        f" store {statistics.median(store for _, store in pairs):,.0f}/s,"
        f" ratio {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}),"
        f" wanted {WANTED_RATIO}"
    )


if __name__ == "__main__":
    main()
