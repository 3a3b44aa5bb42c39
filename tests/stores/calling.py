"""How tests speak to a store: operations by name, arguments as a caller would write them."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import dataclass
from typing import Any

from mallku_contracts.arguments import read_arguments
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.base import Done, LedgerClaim, Store, Work

DATABASE = "mallku"
PATIENCE_MS = 30_000
KEPT_MS = 15 * 60_000
_numbers = itertools.count(1)


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def make_work(
    operation: str,
    collection: str,
    arguments: dict[str, Any],
    *,
    claim: LedgerClaim | None = None,
    deadline_ms: int | None = None,
    database: str = DATABASE,
) -> Work:
    """Work as the pipeline makes it; the deadline is far away unless it is given."""
    known = OPERATIONS[operation]
    values = read_arguments(known.arguments, arguments)
    ends_ms = now_ms() + PATIENCE_MS if deadline_ms is None else deadline_ms
    return Work(known, database, collection, values, ends_ms, claim)


def make_claim(
    name: str | None = None, *, fingerprint: str = "same", expires_ms: int | None = None
) -> LedgerClaim:
    """A claim under a key made of `name` (a fresh one without), by a transmission never seen."""
    number = next(_numbers)
    return LedgerClaim(
        key=hashlib.sha256((name or f"fresh-{number}").encode()).hexdigest(),
        fingerprint=hashlib.sha256(fingerprint.encode()).digest(),
        id=f"transmission-{number}",
        expires_ms=now_ms() + KEPT_MS if expires_ms is None else expires_ms,
    )


@dataclass(frozen=True)
class Caller:
    """Calls one collection of a store."""

    store: Store
    collection: str = "people"

    async def __call__(self, operation: str, **arguments: Any) -> Any:
        """The operation's result."""
        return (await self.done(operation, **arguments)).result

    async def done(self, operation: str, **arguments: Any) -> Done:
        """Everything that the store says; mutations carry a claim of their own."""
        claim = make_claim() if OPERATIONS[operation].mutates else None
        return await self.store.execute(
            make_work(operation, self.collection, arguments, claim=claim)
        )

    def on(self, collection: str) -> Caller:
        """The same for another collection."""
        return Caller(self.store, collection)

    async def document(self, key: str) -> dict[str, Any] | None:
        """A document without its system attributes."""
        found = await self("get", document=key)
        return None if found is None else plain(found)


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """A document without its system attributes."""
    return {name: value for name, value in document.items() if name not in ("_id", "_key", "_rev")}
