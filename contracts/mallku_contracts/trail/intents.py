"""Every intent has an outcome, and only one: held against the records one by one.

What is kept is bounded: the intents that are open, and as many of those that ended, and of the
transmissions that were seen, as the limits below say.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mallku_contracts.audit import OutcomeName, Resolution, is_of_job, outcome_name
from mallku_contracts.governed import GATEWAY
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS, MAX_COMMAND_LIFE_MS
from mallku_contracts.trail.entry import Entry
from mallku_contracts.trail.findings import Findings, Kind
from mallku_contracts.trail.resume import Ended, Intent

UNDER_WAY_MS: Final = 300_000
"""An intent younger than this may still get its outcome: from its worker, or from the reconciler
once nothing of it can begin any more and its turn has come; milliseconds."""

MAX_ENDED: Final = 20_000
"""Ended intents that are remembered, so that a second outcome is known as one; and as many that
were resolved, for which a slow worker's own outcome may come long after."""

MAX_SEEN: Final = 200_000
"""Transmissions that are remembered, so that an answer from memory can be held against them."""

VOID: Final = "void"
"""How an intent ended whose number its worker declared void: nothing was executed."""

_AGREES: Final = {
    (Resolution.COMMITTED, "done"),
    (Resolution.NOT_APPLIED, "failed"),
    (Resolution.NOT_APPLIED, "denied"),
    (Resolution.NOT_APPLIED, VOID),
    (Resolution.POSSIBLY_ANSWERED, "done"),
    (Resolution.POSSIBLY_ANSWERED, "failed"),
    (Resolution.POSSIBLY_ANSWERED, "denied"),
    (Resolution.POSSIBLY_ANSWERED, VOID),
}
"""A resolution and an outcome of the worker's own that may both be true: "possibly" denies none."""

_Place = tuple[str, int]


class Intents:
    """Intents and their outcomes, as records bring them in the order of the stream."""

    def __init__(self, findings: Findings, since_ms: int = 0) -> None:
        self._findings = findings
        self._open: dict[_Place, Intent] = {}
        self._names: dict[OutcomeName, _Place] = {}
        self._pending: set[_Place] = set()
        self._ended: dict[_Place, Ended] = {}
        self._resolved: dict[_Place, Ended] = {}
        self._ended_names: dict[OutcomeName, _Place] = {}
        self._seen: set[int] = set()
        self._order: deque[tuple[int, int]] = deque()
        self._since_ms = since_ms
        self._begin_ms = 0

    def begin(self, time_ms: int) -> None:
        """The first record of all was written then; what ledgers know may be older."""
        self._begin_ms = time_ms

    def go_on(
        self, opened: tuple[Intent, ...], pending: tuple[_Place, ...], ended: tuple[Ended, ...]
    ) -> None:
        """Begin with what another verification knew."""
        for intent in opened:
            self._remember(intent)
        self._pending.update(pending)
        for each in ended:
            self._keep_ended(each)

    @property
    def open(self) -> tuple[Intent, ...]:
        """Intents without outcome, oldest first."""
        return tuple(self._open.values())

    @property
    def pending(self) -> tuple[_Place, ...]:
        """Which of them nobody can know about yet, by worker and number."""
        return tuple(self._pending)

    def ended(self, most: int) -> tuple[Ended, ...]:
        """The intents that ended last, and those that were resolved last: so many of each."""
        return tuple(self._resolved.values())[-most:] + tuple(self._ended.values())[-most:]

    def record(self, entry: Entry) -> None:
        """Take one more record."""
        if entry.kind == "intent":
            self._intend(entry)
        elif entry.kind == "resolved":
            self._resolve(entry)
        elif entry.principal != GATEWAY:
            if entry.kind != "denied":
                self._end(entry)
            elif entry.granted:
                self._deny(entry)

    def void(self, worker: str, number: int) -> None:
        """Nothing was executed under this number, says its worker."""
        intent = self._open.get((worker, number))
        if intent is not None:
            self._close(intent, VOID)
            return
        ended = self._how_ended((worker, number))
        if ended is not None and ended.how in ("done", "failed"):
            self._accuse_void(ended.intent, ended.how, ended.intent.sequence)

    def finish(self, now_ms: int) -> None:
        """Say which intents are open; `now_ms` is the auditor's clock, Unix milliseconds."""
        young = 0
        for place, intent in self._open.items():
            what = f"{intent.principal} asked {intent.subject} ({intent.id})"
            if place in self._pending:
                text = f"{what}: looked into, and nobody can know yet what became of it"
                self._findings.at(intent, Kind.PENDING, text)
            elif abs(now_ms - intent.time) <= UNDER_WAY_MS:  # a time to come makes nobody young
                young += 1
            else:
                age = (now_ms - intent.time) // 1_000
                self._findings.at(intent, Kind.OPEN, f"{what} {age} s ago: there is no outcome")
        if young:
            self._findings.note(Kind.UNDER_WAY, f"{young} intents may still get their outcome")

    def _intend(self, entry: Entry) -> None:
        is_job = is_of_job(entry.subject)  # which is intended each time that it is delivered
        mark = _mark(entry.principal, entry.id, is_job=is_job)
        if mark in self._seen and not is_job:
            text = f"{entry.principal}'s transmission {entry.id} has another intent before this one"
            self._findings.at(entry, Kind.TWO_INTENTS, text)
        self._see(mark, entry.time)
        self._remember(_intent(entry))

    def _see(self, mark: int, time_ms: int) -> None:
        self._seen.add(mark)
        self._order.append((mark, time_ms))
        if len(self._order) > MAX_SEEN:
            forgotten, self._since_ms = self._order.popleft()
            self._seen.discard(forgotten)

    def _remember(self, intent: Intent) -> None:
        place = (intent.worker, intent.number)
        self._open[place] = intent
        self._names[intent.name] = place

    def _end(self, entry: Entry) -> None:
        """A `done` or `failed`."""
        if entry.replayed_of:
            self._check_replay(entry)
        name = _name(entry)
        place = self._names.get(name)
        if place is not None:
            intent = self._open[place]
            if (intent.subject, intent.kid) != (entry.subject, entry.kid):
                text = f"{entry.id}: the intent was {intent.subject}, this is {entry.subject}"
                self._findings.at(entry, Kind.DIFFERS, text)
            self._close(intent, entry.kind)
        else:
            self._second(name, entry)

    def _second(self, name: OutcomeName, entry: Entry) -> None:
        """An outcome for which no intent is open."""
        place = self._ended_names.get(name)
        ended = None if place is None else self._how_ended(place)
        if ended is None:
            text = f"{entry.principal}'s {entry.id} is {entry.kind}, and was never intended"
            self._findings.at(entry, Kind.NO_INTENT, text)
            return
        if ended.how == VOID:
            self._accuse_void(ended.intent, entry.kind, entry.sequence)
        elif (ended.resolution, entry.kind) not in _AGREES:
            was = ended.resolution or ended.how
            text = f"{entry.principal}'s {entry.id} is {entry.kind}, after it was {was}"
            self._findings.at(entry, Kind.TWO_OUTCOMES, text)

    def _deny(self, entry: Entry) -> None:
        """A refusal after a rule allowed the command ends the intent that it had by then.

        Others name an id that nobody proved: anybody may send the bytes of a command again, or
        others with its id, while it is under way.
        """
        place = self._names.get(_name(entry))
        if place is not None:
            self._close(self._open[place], "denied")

    def _check_replay(self, entry: Entry) -> None:
        first = entry.replayed_of
        marks = {_mark(entry.principal, first, is_job=is_job) for is_job in (False, True)}
        if not marks.isdisjoint(self._seen):
            return
        slack = MAX_COMMAND_LIFE_MS + 2 * MAX_CLOCK_SKEW_MS
        unknown_ms = max(self._since_ms + slack, self._begin_ms + MAX_CLOCK_SKEW_MS)
        if is_uuid7(first) and uuid7_ms(first) <= unknown_ms:
            text = f"{entry.id} was answered from memory of {first}, which is not remembered here"
            self._findings.at(entry, Kind.UNCHECKED, text)
            return
        text = f"{entry.id} was answered from memory of {first}, which was never intended"
        self._findings.at(entry, Kind.REPLAY_OF_NOTHING, text)

    def _resolve(self, entry: Entry) -> None:
        if entry.resolves is None or not entry.resolution:
            self._findings.at(entry, Kind.RESOLVES_NOTHING, "the resolution does not say of what")
            return
        worker, number, sequence = entry.resolves
        intent = self._open.get((worker, number))
        if intent is None:
            self._resolve_again(entry, (worker, number))
        elif intent.sequence != sequence or (intent.subject, intent.principal) != (
            entry.subject,
            entry.principal,
        ):
            text = f"it names {worker} {number} at {sequence}, which is another command there"
            self._findings.at(entry, Kind.RESOLVES_NOTHING, text)
        elif entry.resolution == Resolution.PENDING:
            self._pending.add((worker, number))
        else:
            self._close(intent, "resolved", entry.resolution)

    def _resolve_again(self, entry: Entry, place: _Place) -> None:
        """A resolution of what is not open: late, said twice, or of nothing."""
        ended = self._how_ended(place)
        if ended is None:
            text = f"it names {place[0]} {place[1]}, where no intent is open"
            self._findings.at(entry, Kind.RESOLVES_NOTHING, text)
            return
        agrees = (
            entry.resolution in (Resolution.PENDING, ended.resolution)
            or (entry.resolution, ended.how) in _AGREES
        )
        if not agrees:
            was = ended.resolution or ended.how
            text = f"{place[0]} {place[1]} is resolved {entry.resolution}, after it was {was}"
            self._findings.at(entry, Kind.TWO_OUTCOMES, text)

    def _close(self, intent: Intent, how: str, resolution: str = "") -> None:
        place = (intent.worker, intent.number)
        del self._open[place]
        if self._names.get(intent.name) == place:
            del self._names[intent.name]
        self._pending.discard(place)
        self._keep_ended(Ended(intent, how, resolution))

    def _keep_ended(self, ended: Ended) -> None:
        place = (ended.intent.worker, ended.intent.number)
        kept = self._resolved if ended.how == "resolved" else self._ended
        kept[place] = ended
        self._ended_names[ended.intent.name] = place
        if len(kept) > MAX_ENDED:
            oldest = next(iter(kept))
            name = kept.pop(oldest).intent.name
            if self._ended_names.get(name) == oldest:
                del self._ended_names[name]

    def _how_ended(self, place: _Place) -> Ended | None:
        return self._ended.get(place) or self._resolved.get(place)

    def _accuse_void(self, intent: Intent, how: str, sequence: int) -> None:
        text = f"{intent.id} is {how}, and its worker declared number {intent.number} void"
        self._findings.note(
            Kind.VOID_EXECUTED,
            text,
            sequence=sequence,
            worker=intent.worker,
            number=intent.number,
        )


def _mark(principal: str, command: str, *, is_job: bool) -> int:
    return hash((principal, command, is_job))


def _name(entry: Entry) -> OutcomeName:
    return outcome_name(entry.worker, entry.principal, entry.id, entry.subject)


def _intent(entry: Entry) -> Intent:
    return Intent(
        entry.worker,
        entry.number,
        entry.sequence,
        entry.time,
        entry.principal,
        entry.id,
        entry.subject,
        entry.kid,
    )
