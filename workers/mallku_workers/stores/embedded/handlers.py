"""Which function carries out which mutation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mallku_contracts.arguments import is_dry_run
from mallku_workers.stores.base import Work
from mallku_workers.stores.documents import named_keys
from mallku_workers.stores.embedded import (
    collections,
    graphs,
    indexes,
    modifying,
    transactions,
)
from mallku_workers.stores.embedded.document_writes import SEVERAL, SINGLE, write_documents
from mallku_workers.stores.embedded.session import Session

CatalogWrite = Callable[[Session, str, Any], Any]
WorkWrite = Callable[[Session, Work], Any]

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

TOGETHER: Final[dict[str, WorkWrite]] = {
    "aql": modifying.modify,
    "transaction": transactions.transaction,
}
"""Changes of several documents, of one or more collections, that are made or not made as one."""


def carry_out(session: Session, work: Work) -> Any:
    """Carry out one mutation within the transaction; its result."""
    name = work.operation.name
    change = CATALOG.get(name)
    if change is not None:
        return change(session, work.collection, work.arguments)
    together = TOGETHER.get(name)
    if together is not None:
        return together(session, work)
    return write_documents(session, name, work.collection, work.arguments)


def needs_savepoint(session: Session, work: Work) -> bool:
    """Whether the database itself has to be able to undo this work.

    Single writes fail before they wrote. What goes to the database when the group ends is undone
    in memory. What is left is tables, and several rows under a unique index.
    """
    name = work.operation.name
    if name in CATALOG or name in TOGETHER or is_dry_run(work.arguments):
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
