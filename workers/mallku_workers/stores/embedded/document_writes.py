"""Writes of documents by the names of their operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mallku_contracts.arguments import Arguments
from mallku_contracts.errors import NotSupported
from mallku_workers.stores.embedded import batches, matchwrites, writes
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session

DocumentWrite = Callable[[Session, Collection, Any], Any]

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


def write_documents(session: Session, name: str, collection: str, arguments: Arguments) -> Any:
    """Carry out a write of documents in one collection; its result."""
    write = SINGLE.get(name) or SEVERAL.get(name)
    if write is None:
        raise NotSupported(f"{name} is not supported by the embedded store")
    return write(session, session.catalog.collection(collection), arguments)
