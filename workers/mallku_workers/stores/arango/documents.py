"""Several documents at once through ArangoDB's document API, each with its own outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from mallku_contracts.arguments import Document
from mallku_contracts.errors import (
    DocumentNotFound,
    MallkuError,
    RevisionMismatch,
    UniqueViolation,
)
from mallku_workers.stores.arango.errors import Conflict, entry_error
from mallku_workers.stores.arango.planning import Change
from mallku_workers.stores.arango.server import Transaction
from mallku_workers.stores.base import Effect

_PRIMARY: Final = "of type primary"
_POST: Final = "POST"
_PUT: Final = "PUT"
_DELETE: Final = "DELETE"


@dataclass(frozen=True, slots=True)
class Stored:
    """A change that was made: the old version, and the new one as the database has it."""

    change: Change
    new: Document | None
    effect: Effect | None

    @property
    def old(self) -> Document | None:
        """The version that was there before."""
        return self.change.old


class DocumentWriter:
    """Writes to one collection within a transaction."""

    def __init__(self, transaction: Transaction, collection: str) -> None:
        self._transaction = transaction
        self._collection = collection
        self._path = f"/_api/document/{quote(collection, safe='')}"

    def write(self, planned: Sequence[Change | MallkuError]) -> list[Stored | MallkuError]:
        """Make the changes, one request for each kind; what was an error before stays one.

        Raises:
            Conflict: a document is not any more what it was when it was read.
        """
        outcomes: list[Stored | MallkuError | None] = [
            one if isinstance(one, MallkuError) else _unchanged(one) for one in planned
        ]
        for method in (_POST, _PUT, _DELETE):
            places = [
                place
                for place, one in enumerate(planned)
                if isinstance(one, Change) and outcomes[place] is None and _method(one) == method
            ]
            changes = [one for place in places if isinstance(one := planned[place], Change)]
            for place, outcome in zip(places, self._send(method, changes), strict=True):
                outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _send(self, method: str, changes: Sequence[Change]) -> list[Stored | MallkuError]:
        if not changes:
            return []
        if method == _DELETE:
            body = [_named(change.old) for change in changes]
            params: dict[str, Any] = {"ignoreRevs": False}
        else:
            body = [change.body for change in changes]
            params = {"returnNew": True}
            params |= {"ignoreRevs": False} if method == _PUT else {}
        answers = self._transaction.call(method, self._path, params=params, body=body)
        return [
            self._outcome(change, entry) for change, entry in zip(changes, answers, strict=True)
        ]

    def _outcome(self, change: Change, entry: dict[str, Any]) -> Stored | MallkuError:
        error = entry_error(entry)
        if error is None:
            new = entry.get("new")
            return Stored(change, new, self._effect(change, new))
        removed = change.old is not None and isinstance(error, DocumentNotFound)
        # The key was free when it was read, or this would not have been tried.
        taken = isinstance(error, UniqueViolation) and _PRIMARY in str(entry.get("errorMessage"))
        if isinstance(error, Conflict | RevisionMismatch) or removed or taken:
            raise Conflict("another write was at the same document")
        return error

    def _effect(self, change: Change, new: Document | None) -> Effect:
        old_rev = None if change.old is None else change.old["_rev"]
        known: Document = new or change.old or {}
        new_rev = None if new is None else new["_rev"]
        return Effect(self._collection, known["_key"], old_rev, new_rev, new)


def _method(change: Change) -> str:
    if change.new is None:
        return _DELETE
    return _POST if change.old is None else _PUT


def _unchanged(change: Change) -> Stored | None:
    return Stored(change, change.new, None) if change.is_nothing else None


def _named(document: Document | None) -> dict[str, Any]:
    document = document or {}
    return {"_key": document["_key"], "_rev": document["_rev"]}
