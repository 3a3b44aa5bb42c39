"""How long each request to the store took, noted for the command that it was made for."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Final, NamedTuple, TypeVar

from mallku_contracts.durability import Durability
from mallku_contracts.errors import MallkuError
from mallku_workers.stores.base import (
    Done,
    LedgerEntry,
    QueryCollections,
    RunnableQuery,
    Store,
    StoreClock,
    Work,
)

MAX_REQUESTS: Final = 32
"""Requests that are noted for one command; there are hardly ever more than three."""

T = TypeVar("T")


class StoreRequest(NamedTuple):
    """One request: begin and end are Unix nanoseconds; `error` is a code, empty for none."""

    store: str
    operation: str
    begin_ns: int
    end_ns: int
    error: str = ""


_taken: ContextVar[tuple[StoreRequest, ...]] = ContextVar("mallku_store_requests", default=())
"""Each command is carried out in a task of its own, and sees its own."""


def taken_requests() -> list[StoreRequest]:
    """What this task asked of a `TimedStore` so far, in order."""
    return list(_taken.get())


class TimedStore:
    """A store that notes how long it takes; everything else is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """The store's kind."""
        return self._store.name

    @property
    def durability(self) -> Durability:
        """What a commit survives."""
        return self._store.durability

    async def start(self) -> None:
        """Open the store."""
        await self._store.start()

    async def stop(self) -> None:
        """Close the store."""
        await self._store.stop()

    async def execute(self, work: Work) -> Done:
        """Carry out one operation."""
        return await self._timed(work.operation.name, self._store.execute(work))

    async def collections_of(self, database: str, query: RunnableQuery) -> QueryCollections:
        """The collections that a query would use."""
        return await self._timed("explain", self._store.collections_of(database, query))

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """An entry of the ledger."""
        return await self._timed("recall", self._store.recall(database, key, settled=settled))

    async def clock(self, database: str) -> StoreClock:
        """The store's time."""
        return await self._timed("clock", self._store.clock(database))

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The entry of the mutation that a transmission committed."""
        asked = self._store.recall_transmission(database, transmission, owner)
        return await self._timed("recall", asked)

    async def _timed(self, operation: str, asked: Awaitable[T]) -> T:
        begin_ns = time.time_ns()
        error = ""
        try:
            return await asked
        except BaseException as raised:
            error = raised.code if isinstance(raised, MallkuError) else type(raised).__name__
            raise
        finally:
            known = _taken.get()
            if len(known) < MAX_REQUESTS:
                request = StoreRequest(self.name, operation, begin_ns, time.time_ns(), error)
                _taken.set((*known, request))
