"""Which function carries out which mutation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mallku_contracts.errors import NotSupported
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded import (
    batches,
    collections,
    graphs,
    indexes,
    matchwrites,
    writes,
)
from mallku_workers.stores.embedded.batches import named_keys
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session

DocumentWrite = Callable[[Session, Collection, Any], Any]
CatalogWrite = Callable[[Session, str, Any], Any]

SINGLE: Final[dict[str, DocumentWrite]] = {
    "insert": writes.insert,
    "update": writes.update,
    "replace": writes.replace,
    "delete": writes.delete,
}
"""Writes of one document: they cannot fail half-way."""

SEVERAL: Final[dict[str, DocumentWrite]] = {
    "insert-many": batches.insert_many,
    "update-many": batches.update_many,
    "replace-many": batches.replace_many,
    "delete-many": batches.delete_many,
    "update-match": matchwrites.update_match,
    "replace-match": matchwrites.replace_match,
    "delete-match": matchwrites.delete_match,
    "upsert": matchwrites.upsert,
}
"""Writes that can fail after they wrote something."""

CATALOG: Final[dict[str, CatalogWrite]] = {
    "create-collection": collections.create_collection,
    "drop-collection": collections.drop_collection,
    "truncate": collections.truncate,
    "create-index": indexes.create_index,
    "drop-index": indexes.drop_index,
    "create-graph": graphs.create_graph,
    "drop-graph": graphs.drop_graph,
}
"""Changes of tables."""


def carry_out(session: Session, work: Work) -> Any:
    """Carry out one mutation within the transaction; its result."""
    name = work.operation.name
    change = CATALOG.get(name)
    if change is not None:
        return change(session, work.collection, work.arguments)
    write = SINGLE.get(name) or SEVERAL.get(name)
    if write is None:
        raise NotSupported(f"{name} is not supported by the embedded store")
    return write(session, session.catalog.collection(work.collection), work.arguments)


def needs_savepoint(session: Session, work: Work) -> bool:
    """Whether the database itself has to be able to undo this work.

    Single writes fail before they wrote. What goes to the database when the group ends is undone
    in memory. What is left is tables, and several rows under a unique index.
    """
    name = work.operation.name
    if name in CATALOG:
        return True
    collection = session.catalog.collections.get(work.collection)
    return name in SEVERAL and collection is not None and collection.unique


def prefetch_all(session: Session, works: Iterable[Work]) -> None:
    """Read what single writes will ask for: one statement for each collection."""
    wanted: dict[str, list[Any]] = {}
    for work in works:
        if work.operation.name in SINGLE:
            wanted.setdefault(work.collection, []).append(work.arguments)
    for name, some in wanted.items():
        collection = session.catalog.collections.get(name)
        if collection is not None:
            documents = [arguments.document for arguments in some]
            session.prefetch(collection, named_keys(collection, documents))
