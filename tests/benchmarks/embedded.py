"""The embedded store alone: point reads, combined inserts, queries over a million documents.

    python -m tests.benchmarks.embedded [--documents 1000000]

One process, no broker, no signatures. Reads and inserts are asked for by 256 callers at a time, as
a busy worker does, every write with its entry in the ledger; queries by one. Each figure is the
median of five rounds, with the least and the greatest.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import Aql, read_arguments
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.asking import Executes
from mallku_workers.stores.base import RunnableQuery, Work
from mallku_workers.stores.embedded import EmbeddedStore
from tests.benchmarks.loads.claims import Claims

ROUNDS: Final = 5
AT_ONCE: Final = 256
CALLS: Final = 20_000
BATCH: Final = 5_000
KINDS: Final = 50_000
LIFE_MS: Final = 600_000

INDEXED: Final = "FOR d IN docs FILTER d.kind == @kind LIMIT 20 RETURN d"
RANGED: Final = "FOR d IN docs FILTER d.at >= @at SORT d.at LIMIT 20 RETURN d.at"
GROUPED: Final = (
    "FOR d IN docs COLLECT band = d.at % 10 AGGREGATE n = COUNT(d), w = SUM(d.weight)"
    " RETURN {band, n, w}"
)


class Loaded:
    """A store, and how it is asked."""

    def __init__(self, store: Executes) -> None:
        self._store = store
        self._claims = Claims()

    async def __call__(self, operation: str, collection: str = "docs", **arguments: Any) -> Any:
        """Carry out one operation."""
        known, now_ms = OPERATIONS[operation], time.time_ns() // 1_000_000
        read = read_arguments(known.arguments, arguments)
        claim = self._claims.next(now_ms) if known.mutates else None
        work = Work(known, "mallku", collection, read, now_ms + LIFE_MS, claim)
        return (await self._store.execute(work)).result

    async def query(self, text: str, **binds: Any) -> list[Any]:
        """Run a query and close what is left of it."""
        arguments = Aql(query=text, bind_vars=binds)
        query = RunnableQuery(parse(text), binds, arguments, modifies=False, max_rows=10**9)
        deadline_ms = time.time_ns() // 1_000_000 + LIFE_MS
        work = Work(OPERATIONS["aql"], "mallku", "@", arguments, deadline_ms, query=query)
        done = await self._store.execute(work)
        if done.cursor is not None:
            await done.cursor.close()
        rows: list[Any] = done.result["result"]
        return rows


async def fill(ask: Loaded, documents: int) -> None:
    """A million documents of about 150 bytes, with two indexes."""
    await ask("create-collection")
    await ask("create-index", fields=["kind"])
    await ask("create-index", fields=["at"])
    for start in range(0, documents, BATCH):
        some = [
            {"_key": f"d{n}", "kind": f"k{n % KINDS}", "at": n, "weight": n % 97, "text": "x" * 60}
            for n in range(start, min(start + BATCH, documents))
        ]
        await ask("insert-many", documents=some, silent=True)


async def rate(call: Callable[[int], Awaitable[Any]], calls: int) -> float:
    """Calls a second of so many callers at once."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return calls / (time.perf_counter() - began)


async def seconds(call: Callable[[], Awaitable[Any]]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def show(name: str, values: list[float], unit: str, bar: str) -> None:
    """One line of the report."""
    middle = statistics.median(values)
    spread = f"{min(values):,.4g} to {max(values):,.4g}"
    print(f"{name:<44} {middle:>10,.4g} {unit:<6} ({spread}; wanted {bar})")


async def measure(ask: Loaded, documents: int) -> None:
    """Every figure."""
    await ask("create-collection", "fresh")
    step = max(documents // CALLS, 1)
    reads = [
        await rate(lambda n: ask("get", document=f"d{n * step % documents}"), CALLS)
        for _ in range(ROUNDS)
    ]
    show("point reads", reads, "/s", "over 20,000")
    body = {"kind": "k", "text": "x" * 100}
    inserts = [
        await rate(lambda _n: ask("insert", "fresh", document=body), CALLS) for _ in range(ROUNDS)
    ]
    show("combined inserts", inserts, "/s", "over 20,000")
    await ask.query(INDEXED, kind="k7")
    indexed = [await seconds(lambda: ask.query(INDEXED, kind="k7")) for _ in range(ROUNDS)]
    show("FILTER by index, LIMIT 20", [1_000 * s for s in indexed], "ms", "under 5")
    ranged = [await seconds(lambda: ask.query(RANGED, at=documents // 2)) for _ in range(ROUNDS)]
    show("FILTER and SORT by index, LIMIT 20", [1_000 * s for s in ranged], "ms", "under 5")
    before = peak_mib()
    grouped = [await seconds(lambda: ask.query(GROUPED)) for _ in range(ROUNDS)]
    show("scan with COLLECT", grouped, "s", "under 15")
    show("memory at its most", [peak_mib()], "MiB", f"under 300; {before:,.0f} before the scan")


def peak_mib() -> float:
    """The most memory that this process had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


async def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    documents: int = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "store")
        await store.start()
        try:
            filled = await seconds(lambda: fill(Loaded(store), documents))
            print(f"{documents:,} documents in {filled:.1f} s")
            await measure(Loaded(store), documents)
        finally:
            await store.stop()


if __name__ == "__main__":
    asyncio.run(main())
