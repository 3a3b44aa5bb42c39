"""Reading documents, by key and by filters.

Each function reads one snapshot and returns the operation's result. The caller of these functions
holds the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document
from mallku_contracts.errors import InvalidArguments, ResultTooLarge
from mallku_contracts.policy import DocumentRules
from mallku_contracts.results import CollectionDescription, Page
from mallku_workers.stores.documents import check_revision, is_key, locate
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.collections import count_documents, describe_collection
from mallku_workers.stores.embedded.matching import Plan, make_plan, search
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, Row, gather_keys, read_document
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.values import LARGE_BYTES, inverted, order_key
from mallku_workers.stores.paths import lookup, parse_path
from mallku_workers.stores.rules import sees

_EMPTY: Page = {"documents": [], "more": False, "after": None}


@dataclass(slots=True)
class Snapshot:
    """What a read may use: a connection in a transaction, the limits, and when to stop.

    Attributes:
        check: Raises `DeadlineExceeded` when the caller's time is over.
        rules: What is to be seen; None shows everything.
    """

    connection: sqlite3.Connection
    settings: EmbeddedSettings
    check: Callable[[], None]
    rules: DocumentRules | None = None


@dataclass(slots=True)
class Lookups:
    """The documents that several `get` and `exists` of one collection ask for, read together."""

    connection: sqlite3.Connection
    collection: Collection
    rows: dict[str, Row] = field(default_factory=dict)
    _handed: set[str] = field(default_factory=set)

    def fetch(self, keys: list[str]) -> None:
        """Read the documents that exist."""
        for start in range(0, len(keys), CHUNK_DOCUMENTS):
            some = keys[start : start + CHUNK_DOCUMENTS]
            self.rows |= gather_keys(self.connection, self.collection, some)

    def get(
        self, key: str, arguments: a.Get, rules: DocumentRules | None = None
    ) -> Document | None:
        """One document, an own copy for each who asks; `RevisionMismatch` where that was asked."""
        row = self.rows.get(key)
        if row is None:
            return None
        document = row.document or read_document(self.connection, self.collection, key)
        if document is None:  # large, and removed while we came back for it
            return None
        if not sees(rules, document):
            return None
        if arguments.check_rev:
            _, own_rev = locate(self.collection, arguments.document)
            check_revision(document, arguments.rev or own_rev)
        if key in self._handed:
            return deepcopy(document)
        self._handed.add(key)
        return document


def get_many(snapshot: Snapshot, collection: Collection, arguments: a.GetMany) -> list[Document]:
    """The documents that exist, in the order in which they were named."""
    keys = [locate(collection, reference)[0] for reference in arguments.documents]
    known = [key for key in keys if is_key(key)]
    found: list[Document] = []
    size = 0
    for start in range(0, len(known), CHUNK_DOCUMENTS):
        snapshot.check()
        some = known[start : start + CHUNK_DOCUMENTS]
        rows = gather_keys(snapshot.connection, collection, some)
        for key in some:
            if key not in rows:
                continue
            document = rows[key].read(snapshot.connection, collection)
            if sees(snapshot.rules, document):
                size += rows[key].size
                _check_size(snapshot, size)
                found.append(deepcopy(document))
    return found


def count(snapshot: Snapshot, collection: Collection, arguments: a.Count) -> int:
    """How many documents equal the filters."""
    plan = make_plan(collection, arguments.filters, snapshot.rules)
    if plan.empty:
        return 0
    if plan.exact and not arguments.filters:
        return count_documents(snapshot.connection, collection)
    if not plan.exact:
        return sum(1 for _ in search(snapshot.connection, plan, check=snapshot.check))
    row: tuple[int] = snapshot.connection.execute(plan.count_sql, plan.parameters).fetchone()
    return row[0]


def describe(snapshot: Snapshot, collection: Collection) -> CollectionDescription:
    """A collection; its size is what can be seen of it."""
    return describe_collection(collection, count(snapshot, collection, a.Count()))


def find(snapshot: Snapshot, collection: Collection, arguments: a.Find) -> Page:
    """A page of the documents that equal the filters.

    It ends after `batch_size` documents, after `limit`, or before `max_result_bytes`. `more` says
    that `limit` is not reached and another match exists; it is found behind `after`, or by `skip`
    where there is a sort.
    """
    plan = make_plan(collection, arguments.filters, snapshot.rules)
    if plan.empty or arguments.limit == 0:
        return _EMPTY.copy()
    if arguments.sort:
        return _sorted_page(snapshot, plan, arguments)
    return _page(snapshot, plan, arguments)


def _page(snapshot: Snapshot, plan: Plan, arguments: a.Find) -> Page:
    after, skip = _start(snapshot, plan, arguments)
    if after is None:
        return _EMPTY.copy()
    most = min(arguments.batch_size, arguments.limit or arguments.batch_size)
    chunk = min(CHUNK_DOCUMENTS, skip + most + 1)
    page = _Filling(snapshot, plan.collection)
    more = False
    for row in search(snapshot.connection, plan, after=after, chunk=chunk, check=snapshot.check):
        if skip:
            skip -= 1
        elif len(page.documents) == most or not page.add(row):
            more = True
            break
        elif len(page.documents) == arguments.limit:
            break
    last: str | None = page.documents[-1]["_key"] if more else None
    return {"documents": page.documents, "more": more, "after": last}


def _start(snapshot: Snapshot, plan: Plan, arguments: a.Find) -> tuple[str | None, int]:
    """Behind which key to begin, and how many matches to pass over from there."""
    if not arguments.skip:
        if arguments.after is not None and not is_key(arguments.after):
            raise InvalidArguments(f"after: {arguments.after!r:.120} is not a document key")
        return arguments.after or "", 0
    if not plan.exact:
        return "", arguments.skip
    row = snapshot.connection.execute(
        plan.skip_sql, (*plan.parameters, arguments.skip - 1)
    ).fetchone()
    return (None if row is None else row[0]), 0


def _sorted_page(snapshot: Snapshot, plan: Plan, arguments: a.Find) -> Page:
    sorting = _Sorting(snapshot, arguments.sort)
    for row in search(snapshot.connection, plan, check=snapshot.check):
        sorting.add(row, row.read(snapshot.connection, plan.collection))
    end = None if arguments.limit is None else arguments.skip + arguments.limit
    wanted = sorting.sorted()[arguments.skip : end]
    page = _Filling(snapshot, plan.collection)
    for _, key, size in wanted[: arguments.batch_size]:
        if not page.add(Row(key, size, None)):
            break
    more = len(page.documents) < len(wanted)
    return {"documents": page.documents, "more": more, "after": None}


class _Sorting:
    """What documents are sorted by, bounded in number and in bytes."""

    def __init__(self, snapshot: Snapshot, sort: Sequence[a.SortField]) -> None:
        self._snapshot = snapshot
        self._fields = [(parse_path(by.sort_by), by.sort_order == "DESC") for by in sort]
        self._found: list[tuple[bytes, str, int]] = []
        self._bytes = 0

    def add(self, row: Row, document: Document) -> None:
        """Keep the keys of one more document.

        Raises:
            ResultTooLarge: there are too many documents, or their keys have too many bytes.
            DeadlineExceeded: the caller's time is over; at most one large key was made since.
        """
        self._found.append((b"".join(self._keys(document)), row.key, row.size))
        most = self._snapshot.settings.max_sort_documents
        if len(self._found) > most:
            raise ResultTooLarge(f"more than {most} documents to sort; narrow the filters")

    def _keys(self, document: Document) -> Iterator[bytes]:
        most = self._snapshot.settings.query_memory_bytes
        for path, down in self._fields:
            key = order_key(lookup(document, path))
            self._bytes += len(key)
            if self._bytes > most:
                raise ResultTooLarge(
                    f"the values to sort by have more than {most} bytes; narrow the filters"
                )
            if len(key) > LARGE_BYTES:
                self._snapshot.check()
            yield inverted(key) if down else key

    def sorted(self) -> list[tuple[bytes, str, int]]:
        """Keys, document key and size of each document, in order."""
        self._found.sort()
        return self._found


class _Filling:
    """A page that fills up until the next document would make it too large."""

    def __init__(self, snapshot: Snapshot, collection: Collection) -> None:
        self.documents: list[Document] = []
        self._snapshot = snapshot
        self._collection = collection
        self._size = 0

    def add(self, row: Row) -> bool:
        """Add the document of `row`; False where it has to wait for the next page."""
        self._size += row.size
        if self.documents and self._size > self._snapshot.settings.max_result_bytes:
            return False
        self.documents.append(row.read(self._snapshot.connection, self._collection))
        return True


def _check_size(snapshot: Snapshot, size: int) -> None:
    most = snapshot.settings.max_result_bytes
    if size > most:
        raise ResultTooLarge(f"the documents have more than {most} bytes; ask for fewer at a time")
