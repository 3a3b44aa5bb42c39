"""Which intents have no outcome: pure, fed with the trail's records in stream order.

An outcome ends the intent of the same name (`outcome_name`), as it does for whoever verifies the
trail; a refusal does so only once a rule had allowed the command, for anybody may send
a command's bytes again while it is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mallku_contracts.audit import (
    OutcomeName,
    Record,
    RecordError,
    Resolution,
    may_end_intent,
    outcome_name,
)
from mallku_contracts.governed import GATEWAY
from mallku_contracts.trail.stored import TrailEntry

MAX_OPEN: Final = 20_000
"""Intents without outcome that are known at a time; a later run looks at those beyond."""

_Place = tuple[str, int]


@dataclass(slots=True)
class OpenIntent:
    """An intent without outcome: where it stands, and whose it is.

    Attributes:
        worker, number: Of the record.
        sequence: Its place in the stream.
        time_ms: When the stream stored it, Unix milliseconds.
        name: What its outcome carries too.
        pending: Somebody looked into it before, and could not know yet.
    """

    worker: str
    number: int
    sequence: int
    time_ms: int
    principal: str
    id: str
    name: OutcomeName
    pending: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """What no other record has."""
        return self.worker, self.number


@dataclass(slots=True)
class Written:
    """What is known of one worker's records.

    Attributes:
        highest: The highest number.
        first: The lowest sequence that was read.
        last: The highest one.
        last_ms: When the stream stored that one, Unix milliseconds.
    """

    highest: int
    first: int
    last: int
    last_ms: int


@dataclass(slots=True)
class Intents:
    """Takes records one by one, and knows which intents are open.

    Attributes:
        read: The highest sequence that was taken.
        commands: How many records about commands there were.
        beyond: The sequence of the first intent that there was no room for; 0 for none.
        workers: What was read of each worker.
    """

    read: int = 0
    commands: int = 0
    beyond: int = 0
    workers: dict[str, Written] = field(default_factory=dict[str, Written])
    _open: dict[_Place, OpenIntent] = field(default_factory=dict[_Place, OpenIntent])
    _names: dict[OutcomeName, _Place] = field(default_factory=dict[OutcomeName, _Place])

    @property
    def open(self) -> list[OpenIntent]:
        """The intents without outcome, oldest first."""
        return list(self._open.values())

    def is_open(self, intent: OpenIntent) -> bool:
        """Whether nothing has ended it yet."""
        return intent.place in self._open

    def give_up(self, intent: OpenIntent) -> None:
        """Nothing will ever be known of this one."""
        self._end(intent.place)

    def take(self, entry: TrailEntry) -> None:
        """Take the next message of the stream; one that is no record ends nothing."""
        self.read = entry.sequence
        try:
            record = Record.read(entry.data)
        except RecordError:
            return
        self._note(record, entry)
        if record.principal == GATEWAY:
            return
        self.commands += 1
        if record.kind == "intent":
            self._intend(record, entry)
        elif record.kind == "resolved":
            self._resolve(record)
        elif record.kind != "denied" or may_end_intent(record):
            place = self._names.get(_name(record))
            if place is not None:
                self._end(place)

    def _note(self, record: Record, entry: TrailEntry) -> None:
        known = self.workers.get(record.worker)
        if known is None:
            known = Written(record.number, entry.sequence, entry.sequence, entry.time)
            self.workers[record.worker] = known
        known.highest = max(known.highest, record.number)
        known.last, known.last_ms = entry.sequence, entry.time

    def _intend(self, record: Record, entry: TrailEntry) -> None:
        if len(self._open) >= MAX_OPEN:
            self.beyond = self.beyond or entry.sequence
            return
        intent = OpenIntent(
            record.worker,
            record.number,
            entry.sequence,
            entry.time,
            record.principal,
            record.id,
            _name(record),
        )
        self._open[intent.place] = intent
        self._names[intent.name] = intent.place

    def _resolve(self, record: Record) -> None:
        named = record.resolves
        place = (named.get("worker", ""), named.get("number", 0))
        intent = self._open.get(place)
        if intent is None or intent.sequence != named["sequence"]:
            return
        if record.resolution == Resolution.PENDING:
            intent.pending = True
        else:
            self._end(place)

    def _end(self, place: _Place) -> None:
        intent = self._open.pop(place)
        if self._names.get(intent.name) == place:
            del self._names[intent.name]


def _name(record: Record) -> OutcomeName:
    return outcome_name(record.worker, record.principal, record.id, record.subject)
