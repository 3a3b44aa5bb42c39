"""A process of its own on the store's files, for the tests that need several of them.

Usage: `python -m tests.workers.embedded.child DIRECTORY race|flood|forget …`
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from mallku_contracts.errors import Unavailable
from mallku_workers.stores.base import Done
from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.calling import DATABASE, make_claim, make_work


async def race(store: EmbeddedStore, keys: int, in_flight: int) -> None:
    """Claim every key once, in an order of one's own, and say who committed which."""
    order = random.sample(range(keys), keys)
    committed: list[int] = []
    replayed: list[int] = []

    async def claim_some() -> None:
        while order:
            number = order.pop()
            done = await _insert(store, f"key-{number}", {"number": number})
            (committed if done.replayed is None else replayed).append(number)

    await asyncio.gather(*(claim_some() for _ in range(in_flight)))
    print(json.dumps({"committed": committed, "replayed": replayed}))  # noqa: T201 - the answer


async def flood(store: EmbeddedStore, start: int, in_flight: int) -> None:
    """Insert without end, and print each key once it is acknowledged."""

    async def insert_some(lane: int) -> None:
        number = start + lane
        while True:
            name = f"flood-{number}"
            done = await _insert(store, name, {"_key": name, "text": "x" * 200})
            print(done.result["_key"], flush=True)  # noqa: T201 - the acknowledgement
            number += in_flight

    await asyncio.gather(*(insert_some(lane) for lane in range(in_flight)))


async def forget(store: EmbeddedStore) -> None:
    """Leave without stopping the store."""
    await store.recall(DATABASE, "nothing")
    sys.exit(0)


async def _insert(store: EmbeddedStore, name: str, document: dict[str, object]) -> Done:
    while True:
        try:
            return await store.execute(
                make_work("insert", "people", {"document": document}, claim=make_claim(name))
            )
        except Unavailable as busy:
            await asyncio.sleep(busy.retry_after or 0)


async def main(directory: str, what: str, *numbers: str) -> None:
    """Open the store and do what was asked."""
    store = EmbeddedStore(Path(directory))
    await store.start()
    tasks: dict[str, Callable[..., Awaitable[None]]]
    tasks = {"race": race, "flood": flood, "forget": forget}
    await tasks[what](store, *map(int, numbers))
    await store.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
