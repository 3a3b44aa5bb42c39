"""Writing what equals filters: all of it or nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Literal

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document, Filters
from mallku_contracts.errors import ResultTooLarge
from mallku_contracts.results import UpsertResult
from mallku_workers.stores.documents import SYSTEM, patched, whole
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.matching import make_plan, search
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, Row
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.writes import insert_new
from mallku_workers.stores.rules import refuse_more

Way = Literal["insert", "update", "replace"]
"""Which way an upsert went."""


def update_match(session: Session, collection: Collection, arguments: a.UpdateMatch) -> int:
    """Change every match in the order of keys; how many there were."""
    matches = _matches(session, collection, arguments.filters, arguments.limit)
    for old in matches:
        session.check_deadline()
        _change(session, collection, old, arguments.body, arguments)
    return len(matches)


def replace_match(session: Session, collection: Collection, arguments: a.ReplaceMatch) -> int:
    """Replace every match; how many there were."""
    matches = _matches(session, collection, arguments.filters, arguments.limit)
    for old in matches:
        session.check_deadline()
        _replace(session, collection, old, arguments.body)
    return len(matches)


def delete_match(session: Session, collection: Collection, arguments: a.DeleteMatch) -> int:
    """Remove every match; how many there were. Of each, key and revision alone are kept."""
    with closing(_rows(session, collection, arguments.filters, arguments.limit)) as rows:
        found = (session.note(collection, row) for row in rows)
        matches = [{"_key": old["_key"], "_rev": old["_rev"]} for old in found]
    for old in matches:
        session.check_deadline()
        session.remove(collection, old)
    return len(matches)


def upsert(session: Session, collection: Collection, arguments: a.Upsert) -> UpsertResult:
    """Change the match with the smallest key, or insert."""
    found = _matches(session, collection, arguments.filters, 1)
    old = found[0] if found else None
    way: Way
    if old is None:
        way, new = "insert", insert_new(session, collection, arguments.insert)
    elif arguments.update is not None:
        way, new = "update", _change(session, collection, old, arguments.update, arguments)
    else:
        way, new = "replace", _replace(session, collection, old, arguments.replace or {})
    if arguments.return_new:
        session.shown.add(new)
    if arguments.return_old and old is not None:
        session.shown.add(old)
    return _upserted(way, old, new, arguments)


def _upserted(way: Way, old: Document | None, new: Document, arguments: a.Upsert) -> UpsertResult:
    result: UpsertResult = {
        "_id": new["_id"],
        "_key": new["_key"],
        "_rev": new["_rev"],
        "type": way,
    }
    if old is not None:
        result["_old_rev"] = old["_rev"]
    if arguments.return_new:
        result["new"] = dict(new)
    if arguments.return_old:
        result["old"] = None if old is None else dict(old)
    return result


def _matches(
    session: Session, collection: Collection, filters: Filters, limit: int | None
) -> list[Document]:
    """The matches themselves: all are kept until the last is changed, so their bytes count."""
    most, size = session.settings.max_match_bytes, 0
    found: list[Document] = []
    with closing(_rows(session, collection, filters, limit)) as rows:
        for row in rows:
            size += row.size
            if found and size > most:
                raise ResultTooLarge(
                    f"the documents that match have more than {most} bytes; set a limit"
                )
            found.append(session.note(collection, row))
    return found


def _rows(
    session: Session, collection: Collection, filters: Filters, limit: int | None
) -> Generator[Row]:
    """The rows that match, in the order of keys; no more than one command may change."""
    session.flush()
    most = session.settings.max_match_documents
    if limit == 0:
        return
    plan = make_plan(collection, filters, session.rules)
    chunk = min(limit or most, most, CHUNK_DOCUMENTS)
    with session.searching():
        check = partial(session.check_deadline, now=True)
        rows = search(session.connection, plan, chunk=chunk, check=check)
        for count, row in enumerate(rows, 1):
            if count > most:
                raise ResultTooLarge(f"more than {most} documents match; set a limit")
            refuse_more(session.rules, count)
            yield row
            if count == limit:
                break


def _change(
    session: Session,
    collection: Collection,
    old: Document,
    patch: Document,
    options: a.UpdateMatch | a.Upsert,
) -> Document:
    if SYSTEM.issuperset(patch):
        return old
    new = patched(collection, old, patch, keep_none=options.keep_none, merge=options.merge)
    new["_rev"] = session.next_revision()
    return session.put(collection, old, new)


def _replace(session: Session, collection: Collection, old: Document, body: Document) -> Document:
    new = whole(collection, old["_key"], session.next_revision(), body)
    return session.put(collection, old, new)
