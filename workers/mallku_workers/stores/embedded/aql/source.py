"""Where a query's documents come from and where its changes go: one snapshot, or one transaction.

Documents that are handed out belong to the store: a query makes new values of them and changes
none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mallku_contracts.arguments import Document
from mallku_workers.stores.documents import is_key
from mallku_workers.stores.embedded.aql.access import Access
from mallku_workers.stores.embedded.catalog import Catalog, Collection
from mallku_workers.stores.embedded.collections import count_documents
from mallku_workers.stores.embedded.matching import Plan, search
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, gather_keys, parse, read_document
from mallku_workers.stores.embedded.session import Session


class Source(Protocol):
    """What a query may ask of the store."""

    @property
    def catalog(self) -> Catalog:
        """The collections there are."""
        ...

    def check(self) -> None:
        """Raise when it is time to stop."""
        ...

    def documents(self, access: Access) -> Iterator[Document]:
        """What the access path leads to."""
        ...

    def get(self, collection: Collection, key: str) -> Document | None:
        """One document by its key."""
        ...

    def get_many(self, collection: Collection, keys: Sequence[str]) -> dict[str, Document]:
        """Those of the documents that exist, by key."""
        ...

    def count(self, collection: Collection) -> int:
        """How many documents there are."""
        ...


@dataclass(slots=True)
class SnapshotSource:
    """Reads through a connection whose transaction its caller holds.

    Attributes:
        check: Raises when it is time to stop.
    """

    connection: sqlite3.Connection
    catalog: Catalog
    check: Callable[[], None]

    def documents(self, access: Access) -> Iterator[Document]:
        """What the access path leads to, a bounded number in memory at a time."""
        return _documents(self.connection, access, self.check)

    def get(self, collection: Collection, key: str) -> Document | None:
        """One document by its key."""
        return read_document(self.connection, collection, key) if is_key(key) else None

    def get_many(self, collection: Collection, keys: Sequence[str]) -> dict[str, Document]:
        """Those of the documents that exist, by key."""
        return _get_many(self.connection, collection, keys)

    def count(self, collection: Collection) -> int:
        """How many documents there are."""
        return count_documents(self.connection, collection)


@dataclass(slots=True)
class SessionSource:
    """Reads what a write transaction sees, its own changes included."""

    session: Session

    @property
    def catalog(self) -> Catalog:
        """The collections there are."""
        return self.session.catalog

    def check(self) -> None:
        """Raise when the caller's time is over."""
        self.session.check_deadline(now=True)

    def documents(self, access: Access) -> Iterator[Document]:
        """What the access path leads to."""
        self.session.flush()
        return _documents(self.session.connection, access, self.check)

    def get(self, collection: Collection, key: str) -> Document | None:
        """One document by its key."""
        return self.session.get(collection, key)

    def get_many(self, collection: Collection, keys: Sequence[str]) -> dict[str, Document]:
        """Those of the documents that exist, by key."""
        self.session.prefetch(collection, keys)
        found = ((key, self.session.get(collection, key)) for key in keys)
        return {key: document for key, document in found if document is not None}

    def count(self, collection: Collection) -> int:
        """How many documents there are."""
        self.session.flush()
        return count_documents(self.session.connection, collection)


def _documents(
    connection: sqlite3.Connection, access: Access, check: Callable[[], None]
) -> Iterator[Document]:
    if access.keys is not None:
        found = _get_many(connection, access.collection, access.keys)
        yield from (found[key] for key in access.keys if key in found)
        return
    for plan in access.plans:
        if access.ordered_by is not None:
            yield from _in_order(connection, plan, check)
            continue
        for row in search(connection, plan, check=check):
            yield row.read(connection, access.collection)


def _in_order(
    connection: sqlite3.Connection, plan: Plan, check: Callable[[], None]
) -> Iterator[Document]:
    """Documents by an index, as they stand in it; read as they are asked for."""
    cursor = connection.execute(plan.ordered_sql, plan.parameters)
    while bodies := cursor.fetchmany(CHUNK_DOCUMENTS):
        check()
        for (body,) in bodies:
            document: Document = parse(body)
            if plan.matches(document):
                yield document


def _get_many(
    connection: sqlite3.Connection, collection: Collection, keys: Iterable[str]
) -> dict[str, Document]:
    wanted = [key for key in keys if is_key(key)]
    found: dict[str, Document] = {}
    for start in range(0, len(wanted), CHUNK_DOCUMENTS):
        rows: dict[str, Any] = gather_keys(
            connection, collection, wanted[start : start + CHUNK_DOCUMENTS]
        )
        found |= {key: row.read(connection, collection) for key, row in rows.items()}
    return found
