"""What the audit trail says of commands: intents, what became of them, and what they changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.audit import Record, RecordError, Resolution, may_end_intent
from mallku_contracts.envelope import CommandHeader
from mallku_contracts.errors import EnvelopeError, InvalidSubject
from mallku_contracts.governed import GATEWAY
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.checking.parts import Document, Reach, reach_of
from mallku_workers.rebuilding.steps import CATALOG, Change, changes_of

Name = tuple[str, str]
"""Principal and idempotency key, or principal and id of a transmission."""

_HARMLESS: Final = frozenset({"max_affected", "schema", "immutable"})
"""What a document rule may say without showing or writing anything else than was asked."""


@dataclass(frozen=True, slots=True)
class Intended:
    """An intent; `ended` says how, and is empty while it is open."""

    id: str
    name: Name
    subject: CommandSubject
    sequence: int
    time: int
    mutates: bool
    worker: str


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transmission did; `end` is the time of the record that says so, milliseconds."""

    intent: Intended
    sequence: int
    position: int | None
    end: int
    changes: tuple[Change, ...]
    complete: bool

    @property
    def label(self) -> str:
        """For people."""
        return f"commit {self.position} of {self.intent.id} ({self.intent.subject.operation})"


@dataclass(slots=True)
class Told:
    """Everything that the trail told.

    Attributes:
        intents: By principal and id of the transmission.
        ended: How each of them ended: `done`, `failed`, `denied`, or a resolution.
        commits: By principal and idempotency key, each transmission once.
        records: SHA-256 of records by sequence, of those that receipts name.
        ruled: Collections whose rules show or write something else than was asked.
        bodies: What mutating commands asked for, packed, while nobody knows their end.
        unreadable: Messages that are no records.
        last: The last sequence that was read.
        settled: Intents behind this sequence may still be under way; 0 where none may.
    """

    intents: dict[Name, Intended] = field(default_factory=dict[Name, Intended])
    ended: dict[Name, str] = field(default_factory=dict[Name, str])
    commits: dict[Name, list[Commit]] = field(
        default_factory=lambda: defaultdict[Name, list[Commit]](list)
    )
    without_intent: list[Record] = field(default_factory=list[Record])
    replays: list[Record] = field(default_factory=list[Record])
    records: dict[int, str] = field(default_factory=dict[int, str])
    ruled: set[str] = field(default_factory=set[str])
    bodies: dict[Name, bytes] = field(default_factory=dict[Name, bytes])
    unreadable: int = 0
    last: int = 0
    settled: int = 0

    def add(self, sequence: int, record: Record) -> None:
        """Take one more record, in the order of the stream."""
        self.last = sequence
        if record.principal == GATEWAY:
            return
        name = (record.principal, record.id)
        if record.kind == "intent":
            self._intend(sequence, record, name)
        elif record.kind == "resolved":
            self._resolve(sequence, record, name)
        elif record.kind != "denied":
            self.ended[name] = record.kind
            if record.kind == "done":
                self._done(sequence, record, name)
        elif self._is_its_own(name, record):
            self.ended.setdefault(name, record.kind)
        if self.ended.get(name, Resolution.PENDING) != Resolution.PENDING:
            self.bodies.pop(name, None)

    def _is_its_own(self, name: Name, record: Record) -> bool:
        """Whether a refusal ends the intent, and not a copy of its bytes that somebody sent."""
        intent = self.intents.get(name)
        return intent is not None and intent.worker == record.worker and may_end_intent(record)

    def all_commits(self) -> list[Commit]:
        """Every commit, in the order of the store's commits."""
        found = [commit for several in self.commits.values() for commit in several]
        return sorted(found, key=_place)

    def open_intents(self, *, young: bool = False) -> list[Intended]:
        """Intents that nobody knows the end of, oldest first; `young` ones may be under way."""
        closed = {name for name, how in self.ended.items() if how != Resolution.PENDING}
        return [
            intent
            for name, intent in self.intents.items()
            if name not in closed and (young or not 0 < self.settled < intent.sequence)
        ]

    def _intend(self, sequence: int, record: Record, name: Name) -> None:
        if record.command is None:
            self.unreadable += 1
            return
        try:
            header = CommandHeader.read(record.command[0])
            subject = CommandSubject.parse(record.subject)
        except (EnvelopeError, InvalidSubject, RecordError):
            self.unreadable += 1
            return
        operation = OPERATIONS.get(subject.operation)
        self.intents[name] = Intended(
            record.id,
            (record.principal, header.idem),
            subject,
            sequence,
            record.time,
            operation is None or operation.may_mutate,
            record.worker,
        )
        if self.intents[name].mutates:
            self.bodies[name] = record.command[1]
        self._rule(subject, record.bound)

    def reach_of(self, name: Name) -> Reach:
        """What an intent whose end nobody knows can have changed."""
        subject = self.intents[name].subject
        try:
            arguments = codec.unpack(self.bodies.get(name, b""))
        except codec.CodecError:  # the trail holds a digest of it alone
            arguments = None
        return reach_of(subject.database, subject.collection, subject.operation, arguments)

    def _rule(self, subject: CommandSubject, bound: dict[str, Any]) -> None:
        """Remember collections of which callers see, or write, something else than is there."""
        if set(bound) - _HARMLESS - {"steps", "binds"} or any(
            set(step) - _HARMLESS for step in bound.get("steps", ())
        ):
            self.ruled.add(subject.collection)

    def _resolve(self, sequence: int, record: Record, name: Name) -> None:
        if self.ended.get(name, Resolution.PENDING) != Resolution.PENDING:
            return
        self.ended[name] = record.resolution
        if record.resolution == Resolution.COMMITTED:
            self._commit(sequence, record, name)

    def _done(self, sequence: int, record: Record, name: Name) -> None:
        if record.replayed_of is not None:
            self.replays.append(record)
        elif name not in self.intents:
            self.without_intent.append(record)
        else:
            self._commit(sequence, record, name)

    def _commit(self, sequence: int, record: Record, name: Name) -> None:
        intent = self.intents.get(name)
        if intent is None or not intent.mutates:
            return
        known = self.commits[intent.name]
        if any(commit.intent.id == intent.id for commit in known):
            return
        changes, complete = changes_of(record)
        known.append(Commit(intent, sequence, record.position, record.time, changes, complete))

    def changes(self) -> dict[Document, list[tuple[Commit, Change]]]:
        """What became of each document, in the order of commits."""
        found: dict[Document, list[tuple[Commit, Change]]] = {}
        for commit in self.all_commits():
            for change in commit.changes:
                document = Document(commit.intent.subject.database, change.collection, change.key)
                found.setdefault(document, []).append((commit, change))
        return found


def _place(commit: Commit) -> tuple[int, int]:
    return (commit.sequence if commit.position is None else commit.position, commit.sequence)


def is_catalog(operation: str) -> bool:
    """Whether an operation is about collections and indexes; those may be done again."""
    return operation in CATALOG
