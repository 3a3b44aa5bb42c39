"""What is vouched for of a dead worker's tail: each record once, where it stands last."""

from __future__ import annotations

from mallku_contracts.audit import Record
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.reconciling.tails import Coverage, Tail
from tests.support.made_trail import MadeTrail


def _taken(trail: MadeTrail) -> Tail:
    tail = Tail("w1", Coverage())
    for stored in trail.records:
        tail.take(Record.read(stored.data), stored)
    return tail


def test_of_an_outcome_that_stands_twice_the_last_counts() -> None:
    """It was published again because nobody heard of the first, as its worker would cover it."""
    trail = MadeTrail()
    _, outcome = trail.command("w1")
    trail.records.append(trail.records[-1]._replace(sequence=3))
    vouch = _taken(trail).vouch()
    assert vouch is not None
    assert (vouch.size, vouch.last, vouch.sequence) == (2, outcome.number, 3)


def test_another_record_under_a_number_counts_for_nothing() -> None:
    """Whoever forges one later does not get it vouched for."""
    trail = MadeTrail()
    trail.command("w1")
    honest = _taken(trail).vouch()
    forged = MadeTrail()
    forged.now_ms += 5
    forged.command("w1")
    for stored in forged.records:
        trail.records.append(TrailEntry(len(trail.records) + 1, *stored[1:]))
    assert _taken(trail).vouch() == honest
