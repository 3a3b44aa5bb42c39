"""A store in memory with a ledger: few operations, the whole protocol, and faults on demand."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mallku_contracts.arguments import Count, Get, Insert
from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    CollectionNotFound,
    DeadlineExceeded,
    DocumentNotFound,
    IdempotencyConflict,
    InvalidKey,
    NotSupported,
    UniqueViolation,
)
from mallku_workers.stores.base import (
    Done,
    Effect,
    LedgerEntry,
    QueryCollections,
    RunnableQuery,
    StoreClock,
    Work,
)

MISSING = "missing"
"""The name of the one collection that is never there."""


class SimulatedStore:
    """Knows `insert`, `get` and `count`.

    Attributes:
        works: Everything that it was asked to execute, in order.
        recalls: How often the ledger was read.
        fault: Raised by the next works instead of being done.
        gate: Works and recalls wait for it before anything is done; open at first.
        after_commit: As `gate`, between the commit and the answer.
    """

    name = "simulated"
    durability = Durability.MEMORY

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.ledger: dict[str, LedgerEntry] = {}
        self.works: list[Work] = []
        self.recalls = 0
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.after_commit = asyncio.Event()
        self.after_commit.set()
        self.inside = 0
        self.most_inside = 0
        self._commits = 0

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def stop(self) -> None:
        """Nothing is to be given back."""

    async def collections_of(self, database: str, query: RunnableQuery) -> QueryCollections:
        """Nothing but what stands in the query's text."""
        return QueryCollections(frozenset(), {})

    async def execute(self, work: Work) -> Done:
        """Carry out one operation, effect and ledger entry together."""
        self.works.append(work)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            done = self._carry_out(work)
            await self.after_commit.wait()
            return done
        finally:
            self.inside -= 1

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """The ledger's entry under `key`."""
        self.recalls += 1
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return self.ledger.get(key)

    async def clock(self, database: str) -> StoreClock:
        """The machine's clock; nothing is ever forgotten."""
        return StoreClock(time.time_ns() // 1_000_000, 0)

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The owner's entry that this transmission committed."""
        self.recalls += 1
        own = (entry for entry in self.ledger.values() if entry.key.startswith(owner))
        return next((entry for entry in own if entry.id == transmission), None)

    def _carry_out(self, work: Work) -> Done:
        if time.time_ns() // 1_000_000 > work.deadline_ms:
            raise DeadlineExceeded("the deadline passed before the work began")
        if work.collection == MISSING:
            raise CollectionNotFound(f"there is no collection {MISSING}")
        known = self.ledger.get(work.claim.key) if work.claim else None
        if work.claim and known:
            if known.fingerprint != work.claim.fingerprint:
                raise IdempotencyConflict("the idempotency key was used for another command")
            return Done(known.result, replayed=known.id)
        done = self._operate(work)
        if work.claim:
            entry = LedgerEntry(work.claim.key, work.claim.fingerprint, work.claim.id, done.result)
            self.ledger[work.claim.key] = entry
        return done

    def _operate(self, work: Work) -> Done:
        place = (work.database, work.collection)
        match work.arguments:
            case Insert(document=document):
                return self._insert(place, document)
            case Get(document=str(key)):
                return Done(self.documents.get((*place, key)))
            case Get():
                raise DocumentNotFound("this store finds documents by their key alone")
            case Count():
                return Done(sum(name[:2] == place for name in self.documents))
            case _:
                raise NotSupported(f"{work.operation.name} is not supported by this store")

    def _insert(self, place: tuple[str, str], document: dict[str, Any]) -> Done:
        key = document.get("_key", str(len(self.documents)))
        if not isinstance(key, str):
            raise InvalidKey("a key is a string")
        if (*place, key) in self.documents:
            raise UniqueViolation(f"there is a document {key}")
        self._commits += 1
        rev = str(self._commits)
        new = {**document, "_key": key, "_id": f"{place[1]}/{key}", "_rev": rev}
        self.documents[*place, key] = new
        effect = Effect(place[1], key, None, rev, new)
        meta = {"_key": key, "_id": new["_id"], "_rev": rev}
        return Done(meta, effects=(effect,), position=self._commits)
