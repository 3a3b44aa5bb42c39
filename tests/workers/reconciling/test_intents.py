"""Which intents are open, whatever comes in the stream."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.audit import Record, Resolution
from mallku_contracts.governed import GATEWAY
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.reconciling import intents as module
from mallku_workers.reconciling.intents import Intents

SUBJECT = "mallku.v1.cmd.mallku.mallku.people.insert"
AS_JOB = "mallku.v1.job.mallku.mallku.people.insert"


class Stream:
    """Writes records one behind the other, as workers do."""

    def __init__(self) -> None:
        self.intents = Intents()
        self.numbers: dict[str, int] = {}

    def write(self, kind: str, id_: str = "a", worker: str = "w", **fields: Any) -> int:
        """One more record; its sequence."""
        number = self.numbers[worker] = self.numbers.get(worker, 0) + 1
        values: dict[str, Any] = {"principal": "mallku", "subject": SUBJECT, "rule": "r/1"}
        values |= fields
        record = Record(kind=kind, worker=worker, number=number, time=1, id=id_, **values)
        sequence = self.intents.read + 1
        self.intents.take(TrailEntry(sequence, SUBJECT, sequence, record.pack()))
        return sequence

    def resolve(self, sequence: int, resolution: Resolution, number: int = 1) -> None:
        """Close the intent of the worker `w` with this number."""
        named = {"worker": "w", "number": number, "sequence": sequence}
        self.write("resolved", worker="x", resolves=named, resolution=resolution.value)

    @property
    def open(self) -> list[str]:
        """The transmissions that are open."""
        return [intent.id for intent in self.intents.open]


@pytest.mark.parametrize("outcome", ["done", "failed", "denied"])
def test_an_outcome_ends_its_own_intent_alone(outcome: str) -> None:
    """Same worker, principal and transmission; others stay open."""
    stream = Stream()
    for name in ("a", "b"):
        stream.write("intent", name)
    stream.write("intent", "a", worker="other")
    stream.write(outcome, "a")
    assert stream.open == ["b", "a"]
    assert stream.intents.open[1].worker == "other"


@pytest.mark.parametrize("outcome", ["done", "failed", "denied"])
@pytest.mark.parametrize("subjects", [(SUBJECT, AS_JOB), (AS_JOB, SUBJECT)])
def test_a_job_does_not_end_a_command_of_its_id(outcome: str, subjects: tuple[str, str]) -> None:
    """Ids are callers' to choose: what a crash left open stays open, whichever came first."""
    for ends in subjects:
        stream = Stream()
        for subject in subjects:
            stream.write("intent", subject=subject)
        stream.write(outcome, subject=ends)
        [left] = stream.intents.open
        assert left.number == 2 - subjects.index(ends)


def test_a_refusal_before_any_rule_ends_nothing() -> None:
    """Anybody may send a command's bytes again; the refusal is not about its intent."""
    stream = Stream()
    stream.write("intent")
    stream.write("denied", rule=None)
    stream.write("denied", code="replayed")
    assert stream.open == ["a"]


def test_a_resolution_ends_the_intent_that_it_names() -> None:
    """Not one at another place; and `pending` leaves it open, but is remembered."""
    stream = Stream()
    sequence = stream.write("intent")
    stream.resolve(sequence + 1, Resolution.COMMITTED)
    assert stream.open == ["a"]
    stream.resolve(sequence, Resolution.PENDING)
    assert [intent.pending for intent in stream.intents.open] == [True]
    stream.resolve(sequence, Resolution.NOT_APPLIED)
    assert stream.open == []
    stream.resolve(sequence, Resolution.COMMITTED)


def test_records_about_the_gateway_and_junk_end_nothing() -> None:
    """They are read over; only their worker is noted."""
    stream = Stream()
    stream.write("intent")
    stream.write("done", "", worker="x", principal=GATEWAY)
    stream.intents.take(TrailEntry(9, SUBJECT, 9, b"junk"))
    assert stream.open == ["a"]
    assert stream.intents.read == 9
    assert stream.intents.commands == 1
    assert stream.intents.workers["x"].last == 2


def test_what_there_is_no_room_for_is_left_to_a_later_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that was not remembered is named, so that the floor does not pass it."""
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    stream = Stream()
    places = [stream.write("intent", name) for name in ("a", "b", "c", "d")]
    assert stream.open == ["a", "b"]
    assert stream.intents.beyond == places[2]
    stream.write("done", "a")
    assert stream.open == ["b"]


def test_what_is_given_up_is_not_open() -> None:
    """And a late outcome of it changes nothing."""
    stream = Stream()
    stream.write("intent")
    stream.intents.give_up(stream.intents.open[0])
    stream.write("done")
    assert stream.open == []
