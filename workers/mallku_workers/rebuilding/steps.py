"""One commit as the trail tells it: which documents became what, or what has to be done again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import msgpack

from mallku_contracts import codec
from mallku_contracts.arguments import Document
from mallku_contracts.audit import Record
from mallku_contracts.operations import OPERATIONS, Access

CATALOG: Final = frozenset(
    name for name, operation in OPERATIONS.items() if operation.access is Access.ADMIN
)
"""Operations whose effect is no version of a document: they are carried out from their intents."""

MUTATING: Final = frozenset(name for name, operation in OPERATIONS.items() if operation.may_mutate)
"""Operations whose records a rebuild looks at."""


class Change(NamedTuple):
    """One document's change: `new` is None where it was removed, or where it is not recorded.

    `recorded` is False where the record leaves the new version out.
    """

    collection: str
    key: str
    old_rev: str | None
    new_rev: str | None
    new: Document | None
    recorded: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One commit.

    Attributes:
        position: Where it stands among all commits of the store.
        name: The transmission that made it, `principal.id`.
        sequence: Of the record that says so.
        operation, collection: Of the command.
        changes: Of documents, in the order of the commit.
        complete: Whether `changes` names every document that was changed.
        intent: The bytes of the intent's record, where it may be needed.
        result: What an operation on the catalog answered.
    """

    position: int
    name: str
    sequence: int
    operation: str
    collection: str
    changes: tuple[Change, ...] = ()
    complete: bool = True
    intent: bytes = b""
    result: Any = None

    @property
    def is_plain(self) -> bool:
        """Whether its changes say all there is to do."""
        whole = self.complete and all(change.recorded for change in self.changes)
        return whole and self.operation not in CATALOG

    def pack(self) -> bytes:
        """Everything but position and name, as the work file keeps it."""
        parts = (self.sequence, self.operation, self.collection, self.changes, self.complete)
        return codec.pack_trusted((*parts, self.intent, self.result))

    @classmethod
    def read(cls, position: int, name: str, data: bytes) -> Self:
        """What `pack` made."""
        # Our own file: the codec's limits are for what comes from outside.
        sequence, operation, collection, changes, complete, intent, result = msgpack.unpackb(data)
        made = tuple(Change(*change) for change in changes)
        return cls(position, name, sequence, operation, collection, made, complete, intent, result)


def changes_of(record: Record) -> tuple[tuple[Change, ...], bool]:
    """The documents that an outcome names, and whether these are all that were changed.

    Raises:
        KeyError, TypeError: an effect is not what a record holds there.
    """
    counted = [effect for effect in record.effects if "collection" not in effect]
    named = [effect for effect in record.effects if "collection" in effect]
    return tuple(_changes(named)), not counted


def _changes(effects: Iterable[dict[str, Any]]) -> Iterable[Change]:
    for effect in effects:
        yield Change(
            effect["collection"],
            effect["key"],
            effect["old_rev"],
            effect["new_rev"],
            effect["new"],
            not effect.get("omitted", False),
        )
