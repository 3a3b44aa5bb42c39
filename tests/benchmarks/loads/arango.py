"""Loads on ArangoDB itself: python-arango in threads, and the store of a worker without a gateway.

Both insert the same documents as the gateway's load.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from arango.client import ArangoClient

from mallku_contracts.arguments import Insert
from mallku_contracts.operations import OPERATIONS
from mallku_deploy.bench import Call, Load, Run, summarize
from mallku_deploy.bench.calls import document
from mallku_deploy.house import DATABASE
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.base import Work
from tests.benchmarks.loads.claims import Claims
from tests.benchmarks.loads.gateway import COLLECTION

_LIFE_MS: Final = 30_000


@contextmanager
def driver(setting: dict[str, Any]) -> Generator[Callable[[Load], Awaitable[Run]]]:
    """Runs of python-arango as it comes at `setting["url"]`, with a thread for each in flight."""
    client = ArangoClient(hosts=setting["url"])
    collection = client.db(DATABASE, username="root", password="").collection(COLLECTION)
    made = document(0, setting["size"])

    async def run(load: Load) -> Run:
        """Nothing else is due on this loop, which stands still and costs the threads nothing."""
        return _in_threads(lambda: collection.insert(made), load)

    try:
        yield run
    finally:
        client.close()


def _in_threads(call: Callable[[], object], load: Load) -> Run:
    numbers = iter(range(load.count))
    begun = time.perf_counter()
    end = begun + load.seconds

    def caller(_thread: int) -> list[float]:
        latencies: list[float] = []
        for _ in numbers:
            asked = time.perf_counter()
            if asked >= end:
                break
            call()
            latencies.append(time.perf_counter() - asked)
        return latencies

    with ThreadPoolExecutor(load.in_flight) as threads:
        found = list(threads.map(caller, range(load.in_flight)))
    latencies = [latency for of_one in found for latency in of_one]
    return summarize(latencies, time.perf_counter() - begun)


@asynccontextmanager
async def store(setting: dict[str, Any]) -> AsyncGenerator[Call]:
    """Inserts through the store at `setting["url"]`, each with its ledger claim."""
    running = ArangoStore(ArangoSettings(url=setting["url"]), databases=(DATABASE,))
    await running.start()
    claims = Claims()
    made = document(0, setting["size"])
    try:
        yield lambda _: running.execute(_work(claims, made))
    finally:
        await running.stop()


def _work(claims: Claims, made: dict[str, Any]) -> Work:
    now_ms = time.time_ns() // 1_000_000
    arguments: Any = Insert(document=made)
    deadline_ms, claim = now_ms + _LIFE_MS, claims.next(now_ms)
    return Work(OPERATIONS["insert"], DATABASE, COLLECTION, arguments, deadline_ms, claim)
