"""From records to steps: what each outcome says was done, put in its place by commit position.

Records may come in any order that a trail has them in: an intent before its outcome, outcomes in
another order than their commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from mallku_contracts.arguments import Aql
from mallku_contracts.audit import (
    OutcomeName,
    Record,
    RecordError,
    Resolution,
    may_end_intent,
    outcome_name,
)
from mallku_contracts.errors import MallkuError, NotSupported
from mallku_contracts.subjects import NO_COLLECTION, PREFIX, CommandSubject
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.rebuilding.again import CannotRepeatError, arguments_of, modifies
from mallku_workers.rebuilding.steps import CATALOG, MUTATING, Change, Step, changes_of
from mallku_workers.rebuilding.workfile import MAX_POSITION, WorkFile

READ_TO: Final = "read_to"
"""The fact that says up to which sequence the trail was read."""

GATHERED: Final = "gathered"
"""The fact that says that it was read to its end."""

UNRESOLVED: Final = "unresolved"
"""Remarks about intents without outcome; `audit reconcile` finds out what became of them."""

OPEN: Final = "open"
"""Remarks about commits of which the trail does not say where they stand."""

UNREADABLE: Final = "unreadable"
"""Remarks about records that are none, or say what none can: what they stand for is missing."""

MAX_NAMED: Final = 10
"""Collections that one refusal names."""

_TOKENS: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is made again: a database, or some of its collections; all when none are named."""

    database: str
    collections: frozenset[str] = frozenset()

    def has(self, collection: str) -> bool:
        """Whether a collection is."""
        return not self.collections or collection in self.collections


class _Place(NamedTuple):
    """What an audit subject says."""

    principal: str
    database: str
    collection: str
    operation: str
    kind: str


class Gathering:
    """Takes the records of one trail, and leaves steps in the work file.

    The file keeps up with `save`; between two, what was taken is in memory or in its transaction.
    """

    def __init__(self, file: WorkFile, wanted: Wanted) -> None:
        self._file = file
        self._wanted = wanted
        self._open: dict[str, bytes] = {}
        self._named: dict[OutcomeName, str] = {}
        for record in sorted(self._kept(), key=lambda record: record.number):
            self._named[_name(record)] = _where(record.worker, record.number)
        self._sequence = file.fact(READ_TO)

    @property
    def sequence(self) -> int:
        """The last one that was taken."""
        return self._sequence

    def take(self, entry: TrailEntry) -> None:
        """One more message of the trail; one that was taken before is passed over.

        What is no record, or says what none can, is remarked as missing: whatever it stands for,
        everything else is made all the same.
        """
        if entry.sequence <= self._sequence:
            return
        self._sequence = entry.sequence
        place = _place(entry.subject)
        if place is None or place.database != self._wanted.database:
            return
        if place.operation not in MUTATING:
            return
        try:
            self._hear(place, entry)
        except (RecordError, KeyError, TypeError) as error:
            self._note_unreadable(place, entry.sequence, error)

    def save(self) -> None:
        """Write down how far the trail was read."""
        self._file.keep_intents(self._open.items())
        self._open.clear()
        self._file.put_fact(READ_TO, self._sequence)
        self._file.save()

    def finish(self) -> None:
        """The trail was read to its end.

        Raises:
            NotSupported: collections that were to be made are on the trail as hashes alone.
        """
        self.save()
        self._note_open()
        digests = [name for name in self._file.digests() if self._wanted.has(name)]
        if digests:
            more = f" and {len(digests) - MAX_NAMED} more" if len(digests) > MAX_NAMED else ""
            raise NotSupported(
                f"the trail holds keyed hashes in the place of what was written to"
                f" {', '.join(digests[:MAX_NAMED])}{more}; nothing was made"
                " (name the others with --collections)"
            )
        self._file.put_fact(GATHERED, 1)
        self._file.save()

    def _note_open(self) -> None:
        """Remark intents without outcome: they may have been carried out."""
        for record in self._kept():
            if _may_have_changed(record):
                self._file.note(UNRESOLVED, f"{_said(record)}: {record.subject}")

    def _kept(self) -> list[Record]:
        """The intents in the file."""
        return [Record.read(data) for _, data in self._file.intents()]

    def _note_unreadable(self, place: _Place, sequence: int, error: Exception) -> None:
        if place.collection == NO_COLLECTION or self._wanted.has(place.collection):
            self._file.note(
                UNREADABLE,
                f"record {sequence} ({place.kind} of {place.operation} on {place.collection} by"
                f" {place.principal}) cannot be read ({error}); `audit verify` says more",
            )

    # One record

    def _hear(self, place: _Place, entry: TrailEntry) -> None:
        record = Record.read(entry.data)
        if place.kind == "intent":
            self._intend(record, entry.data)
        elif place.kind == "denied":
            if may_end_intent(record):
                self._end(record)
        elif place.kind == "failed" or record.resolution == Resolution.NOT_APPLIED:
            self._end(record)
        elif place.kind == "done" or record.resolution == Resolution.COMMITTED:
            self._commit(place, entry.sequence, record)

    def _intend(self, record: Record, data: bytes) -> None:
        where = _where(record.worker, record.number)
        self._open[where] = data
        self._named[_name(record)] = where

    def _end(self, record: Record) -> Record | None:
        """The intent that a record ends, which is open no more; None where none is."""
        named = record.resolves
        where = _where(**named) if named else self._named.get(_name(record))
        if where is None:
            return None
        data = self._open.pop(where, None)
        if data is None:
            data = self._file.intent(where)
            self._file.forget_intent(where)
        if data is None:
            return None
        intent = Record.read(data)
        if self._named.get(_name(intent)) == where:
            del self._named[_name(intent)]
        return intent

    def _commit(self, place: _Place, sequence: int, record: Record) -> None:
        intent, name = self._end(record), _said(record)
        if record.replayed_of is not None:
            return
        changes, complete = changes_of(record)
        resolved = place.kind == "resolved"
        if record.position is None:
            if resolved:
                self._file.note(OPEN, _unplaced(place, name, sequence))
            return
        if record.position > MAX_POSITION:
            raise RecordError(f"position {record.position} is beyond {MAX_POSITION}")
        if _is_hidden(intent, record):
            self._note_digest(place, changes)
            return
        self._add(
            Step(
                record.position,
                name,
                sequence,
                place.operation,
                place.collection,
                tuple(one for one in changes if self._wanted.has(one.collection)),
                complete,
                b"" if intent is None else intent.pack(),
                record.facts.get("result"),
            ),
            final=not resolved,
        )

    def _add(self, step: Step, *, final: bool) -> None:
        if step.is_plain:
            if step.changes:
                self._file.add(_without_intent(step), final=final)
        elif self._concerns(step):
            self._file.add(step, final=final)

    def _concerns(self, step: Step) -> bool:
        """Whether what has to be carried out has to do with what is made."""
        return (
            step.operation not in CATALOG
            or step.collection == NO_COLLECTION
            or self._wanted.has(step.collection)
        )

    def _note_digest(self, place: _Place, changes: tuple[Change, ...]) -> None:
        names = {change.collection for change in changes}
        if place.collection != NO_COLLECTION:
            names.add(place.collection)
        self._file.add_digest(sorted(names))


def _name(record: Record) -> OutcomeName:
    return outcome_name(record.worker, record.principal, record.id, record.subject)


def _where(worker: str, number: int, **_rest: object) -> str:
    """Which intent it is, among all."""
    return f"{worker}.{number}"


def _said(record: Record) -> str:
    """The transmission, for people."""
    return f"{record.principal}.{record.id}"


def _place(subject: str) -> _Place | None:
    tokens = subject.split(".")
    is_audit = len(tokens) == _TOKENS and subject.startswith(f"{PREFIX}.audit.")
    return _Place(*tokens[-5:]) if is_audit else None


def _may_have_changed(record: Record) -> bool:
    """Whether an intent could have an effect; of a query only its text tells."""
    try:
        subject = CommandSubject.parse(record.subject)
        arguments = arguments_of(subject.operation, record)
    except (MallkuError, CannotRepeatError):
        return True
    return modifies(arguments) if isinstance(arguments, Aql) else True


def _is_hidden(intent: Record | None, outcome: Record) -> bool:
    """Whether hashes stand in the place of values; each of the two says so by itself."""
    marks = [*outcome.effects, intent.bound if intent is not None else {}]
    return any(mark.get("audit") == "digest" for mark in marks)


def _without_intent(step: Step) -> Step:
    return Step(
        step.position, step.name, step.sequence, step.operation, step.collection, step.changes
    )


def _unplaced(place: _Place, name: str, sequence: int) -> str:
    return (
        f"record {sequence}: {place.operation} on {place.collection} ({name}) was committed, and"
        " nobody recorded where among the others"
    )
