"""What a mutation did, as far as it can still be known when its worker is gone.

The ledger names the documents that it touched. Where one still has the revision that the mutation
gave it, its new version is read again; where it was changed since, that version is gone, and
`"omitted": true` stands in its place: a rebuild has to work it out from the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mallku_contracts.arguments import GetMany
from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.base import LedgerEntry, Store, Touched, Work

MAX_READ_AGAIN: Final = 1_000
"""Documents of one mutation that are read again; the versions of others are omitted."""

UNNAMED: Final = {"omitted": True}
"""Stands for documents that the ledger does not name, because they were too many."""

_AT_ONCE: Final = 100
_Place = tuple[str, str]


async def effects_of(
    store: Store, database: str, entry: LedgerEntry, deadline_ms: int
) -> tuple[dict[str, Any], ...]:
    """The effects of a committed mutation, shaped as those of a `done` record."""
    if entry.touched is None:
        return (UNNAMED,)
    stored = [each for each in entry.touched if each.new_rev is not None][:MAX_READ_AGAIN]
    found: dict[_Place, dict[str, Any]] = {}
    for name in dict.fromkeys(each.collection for each in stored):
        keys = sorted({each.key for each in stored if each.collection == name})
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for document in await _read(store, database, name, some, deadline_ms):
                found[name, document["_key"]] = document
    return tuple(_effect(each, found.get((each.collection, each.key))) for each in entry.touched)


def _effect(touched: Touched, now: dict[str, Any] | None) -> dict[str, Any]:
    effect: dict[str, Any] = {**touched._asdict(), "new": None}
    if touched.new_rev is None:
        return effect
    if now is None or now["_rev"] != touched.new_rev:
        return effect | {"omitted": True}
    return effect | {"new": now}


async def _read(
    store: Store, database: str, collection: str, keys: Sequence[str], deadline_ms: int
) -> list[dict[str, Any]]:
    """Documents as they are now; none where the store will not show them."""
    arguments = GetMany(documents=list(keys))
    work = Work(OPERATIONS["get-many"], database, collection, arguments, deadline_ms)
    try:
        documents: list[dict[str, Any]] = (await store.execute(work)).result
    except MallkuError:
        return []
    return documents
