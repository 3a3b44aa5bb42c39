"""Reading documents, by key and by filters, of what the rules show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final
from urllib.parse import quote

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document
from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidArguments,
    ResourceLimit,
    ResultTooLarge,
)
from mallku_contracts.results import Page
from mallku_workers.stores.arango import texts
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.base import Work
from mallku_workers.stores.documents import check_revision, is_key, locate
from mallku_workers.stores.weighing import size_of

SHRINK_TO: Final = 8
"""A page that the database has no memory for is asked for again with this part of its rows."""

_LEAST_ROWS: Final = 2


def _collection(work: Work) -> Collection:
    return Collection(work.collection)


def get(server: Server, work: Work, arguments: a.Get) -> Document | None:
    """One document; `RevisionMismatch` where another revision was asked for."""
    document = _read_one(server, work, arguments)
    return None if document is None else _checked(work, arguments, document)


def exists(server: Server, work: Work, arguments: a.Get) -> bool:
    """Whether a document is there; its body stays where it is."""
    key, _ = locate(_collection(work), arguments.document)
    if not is_key(key):
        _require(server, work.collection)
        return False
    search = texts.Search(["d._key == @key"], {"@collection": work.collection, "key": key})
    text = search.under(work.rules).revision()
    revisions = server.query(text, search.binds)
    if not revisions:
        return False
    handle = f"{work.collection}/{key}"
    _checked(work, arguments, {"_id": handle, "_key": key, "_rev": revisions[0]})
    return True


def _checked(work: Work, arguments: a.Get, document: Document) -> Document:
    if arguments.check_rev:
        _, own_rev = locate(_collection(work), arguments.document)
        check_revision(document, arguments.rev or own_rev)
    return document


def _read_one(server: Server, work: Work, arguments: a.Get) -> Document | None:
    key, _ = locate(_collection(work), arguments.document)
    if not is_key(key):
        _require(server, work.collection)
        return None
    if work.rules is not None and work.rules.where is not None:
        search = texts.Search(["d._key == @key"], {"@collection": work.collection, "key": key})
        text = search.under(work.rules).rows()
        rows = server.query(text, search.binds)
        return rows[0] if rows else None
    path = f"/_api/document/{quote(work.collection, safe='')}/{quote(key, safe='')}"
    try:
        document: Document = server.call("GET", path)
    except DocumentNotFound:
        return None
    return document


def get_many(server: Server, work: Work, arguments: a.GetMany) -> list[Document]:
    """The documents that exist, in the order in which they were named."""
    collection = _collection(work)
    keys = [locate(collection, reference)[0] for reference in arguments.documents]
    wanted = sorted({key for key in keys if is_key(key)})
    if not wanted:
        _require(server, work.collection)
        return []
    search = texts.Search(["d._key IN @keys"], {"@collection": work.collection, "keys": wanted})
    text = search.under(work.rules).rows()
    try:
        rows = server.query(text, search.binds)
    except ResourceLimit:
        raise _too_large(server) from None
    return _in_order(server, keys, {row["_key"]: row for row in rows})


def _in_order(server: Server, keys: list[str], known: Mapping[str, Document]) -> list[Document]:
    found: list[Document] = []
    handed: set[str] = set()
    size = 0
    for key in keys:
        if key in known:
            size += size_of(known[key])
            if size > server.settings.max_result_bytes:
                raise _too_large(server)
            found.append(deepcopy(known[key]) if key in handed else known[key])
            handed.add(key)
    return found


def _too_large(server: Server) -> ResultTooLarge:
    most = server.settings.max_result_bytes
    return ResultTooLarge(f"the documents have more than {most} bytes; ask for fewer at a time")


def count(server: Server, work: Work, arguments: a.Count) -> int:
    """How many documents equal the filters."""
    search = texts.Search.of(work.collection, arguments.filters, work.rules)
    if not search.conditions:
        path = f"/_api/collection/{quote(work.collection, safe='')}/count"
        number: int = server.call("GET", path)["count"]
        return number
    [number] = server.query(search.number(), search.binds)
    return number


def find(server: Server, work: Work, arguments: a.Find) -> Page:
    """A page of the documents that equal the filters.

    It ends after `batch_size` documents, after `limit`, or before `max_result_bytes`.
    """
    if arguments.after is not None and not is_key(arguments.after):
        raise InvalidArguments(f"after: {arguments.after!r:.120} is not a document key")
    if arguments.limit == 0:
        _require(server, work.collection)
        return {"documents": [], "more": False, "after": None}
    most = min(arguments.batch_size, arguments.limit or arguments.batch_size)
    # One row beyond the page tells whether there is more.
    wanted = most if most == arguments.limit else most + 1
    rows, asked = _scanned(server, work, arguments, wanted)
    if asked < wanted:
        most = asked - 1
    documents = _fitting(rows[:most], server.settings.max_result_bytes)
    more = len(documents) < len(rows)
    after = documents[-1]["_key"] if more and not arguments.sort else None
    return {"documents": documents, "more": more, "after": after}


def _scanned(
    server: Server, work: Work, arguments: a.Find, wanted: int
) -> tuple[list[Document], int]:
    """The rows of a page, and how many were asked for."""
    search = texts.Search.of(work.collection, arguments.filters, work.rules)
    if not (search.conditions or arguments.sort or arguments.skip):
        binds = {"@collection": work.collection, "after": arguments.after or ""}
        rows, asked = _rows(server, texts.SCAN, binds, wanted)
        keys = [row["_key"] for row in rows]
        if keys == sorted(keys):
            return rows, asked
        # The index was not used for the order: then the slow way, which needs none.
    if arguments.after is not None:
        search.add(texts.AFTER, after=arguments.after.encode().hex())
    text = search.page(arguments.sort)
    return _rows(server, text, {**search.binds, "skip": arguments.skip}, wanted)


def _rows(
    server: Server, text: str, binds: dict[str, Any], wanted: int
) -> tuple[list[Document], int]:
    """At most `wanted` rows, fewer where so many have no room in the database's memory."""
    asked = wanted
    while True:
        try:
            return server.query(text, {**binds, "count": asked}), asked
        except ResourceLimit:
            if asked <= _LEAST_ROWS:
                raise
            asked = max(asked // SHRINK_TO, _LEAST_ROWS)


def _fitting(documents: list[Document], most_bytes: int) -> list[Document]:
    """The first documents, up to so many bytes of JSON, but at least one."""
    size = 0
    for place, document in enumerate(documents):
        size += size_of(document)
        if place and size > most_bytes:
            return documents[:place]
    return documents


def _require(server: Server, collection: str) -> None:
    """Raise `CollectionNotFound` where there is none."""
    server.call("GET", f"/_api/collection/{quote(collection, safe='')}")


Read = Callable[[Server, Work, Any], Any]

READS: Final[Mapping[str, Read]] = {
    "get": get,
    "exists": exists,
    "get-many": get_many,
    "find": find,
    "count": count,
}
"""Reads of documents."""
