"""What callers of writes are told, and which documents of it count before anything is written."""

from __future__ import annotations

from typing import Any, Literal

from mallku_contracts import arguments as a
from mallku_contracts.results import UpsertResult, WriteResult
from mallku_workers.stores.arango.documents import Stored
from mallku_workers.stores.arango.planning import NOTHING, Change
from mallku_workers.stores.weighing import Shown

Way = Literal["insert", "update", "replace"]
"""Which way an upsert went."""


def weighed(shown: Shown, change: Change, options: Any) -> Change:
    """The planned change, once what its answer will show was weighed.

    Raises:
        ResultTooLarge: with what was weighed before it is too much for one result.
    """
    if getattr(options, "silent", False):
        return change
    if getattr(options, "return_new", False) and change.new is not None:
        shown.add(change.new)
    if options.return_old and change.old is not None:
        shown.add(change.old)
    return change


def answer(stored: Stored, options: Any) -> WriteResult:
    """What the caller of a write of one document is told."""
    if stored.change is NOTHING:
        return False
    if options.silent:
        return True
    removed = stored.new is None
    shown: Any = stored.old if removed else stored.new
    old = None if removed else stored.old
    ignored = getattr(options, "overwrite_mode", None) == "ignore" and stored.change.is_nothing
    meta: Any = {"_id": shown["_id"], "_key": shown["_key"], "_rev": shown["_rev"]}
    if old is not None and not ignored:
        meta["_old_rev"] = old["_rev"]
    if getattr(options, "return_new", False) and not ignored:
        meta["new"] = dict(shown)
    if options.return_old and stored.old is not None and not ignored:
        meta["old"] = dict(stored.old)
    result: WriteResult = meta
    return result


def upserted(way: Way, stored: Stored, arguments: a.Upsert) -> UpsertResult:
    """What the caller of an upsert is told."""
    new: Any = stored.new
    result: UpsertResult = {
        "_id": new["_id"],
        "_key": new["_key"],
        "_rev": new["_rev"],
        "type": way,
    }
    if stored.old is not None:
        result["_old_rev"] = stored.old["_rev"]
    if arguments.return_new:
        result["new"] = dict(new)
    if arguments.return_old:
        result["old"] = None if stored.old is None else dict(stored.old)
    return result
