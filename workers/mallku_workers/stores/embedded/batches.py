"""Writing several documents: one result or one error for each, in their order.

A document that cannot be written does not undo the others. What concerns all of them, such as a
deadline that passes half-way, undoes everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mallku_contracts import arguments as a
from mallku_contracts.errors import DocumentError, InvalidArguments, PermissionDenied
from mallku_contracts.results import BatchResult, WriteResult
from mallku_workers.stores.documents import named_keys
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.writes import delete_one, insert_one, replace_one, update_one


def insert_many(session: Session, collection: Collection, arguments: a.InsertMany) -> BatchResult:
    """Several new documents."""
    return _each(
        session,
        collection,
        arguments.documents,
        lambda body: insert_one(session, collection, body, arguments),
    )


def update_many(session: Session, collection: Collection, arguments: a.UpdateMany) -> BatchResult:
    """Change several documents."""
    return _each(
        session,
        collection,
        arguments.documents,
        lambda patch: update_one(session, collection, patch, arguments),
    )


def replace_many(session: Session, collection: Collection, arguments: a.ReplaceMany) -> BatchResult:
    """Replace several documents."""
    return _each(
        session,
        collection,
        arguments.documents,
        lambda body: replace_one(session, collection, body, arguments),
    )


def delete_many(session: Session, collection: Collection, arguments: a.DeleteMany) -> BatchResult:
    """Remove several documents."""
    return _each(
        session,
        collection,
        arguments.documents,
        lambda reference: delete_one(session, collection, reference, arguments),
    )


def _each(
    session: Session,
    collection: Collection,
    documents: Sequence[Any],
    write: Callable[[Any], WriteResult],
) -> BatchResult:
    session.prefetch(collection, named_keys(collection, documents))
    results: BatchResult = []
    for document in documents:
        session.check_deadline()
        try:
            results.append(write(document))
        except (DocumentError, InvalidArguments, PermissionDenied) as error:
            results.append({"error": error.to_wire()})
    return results
