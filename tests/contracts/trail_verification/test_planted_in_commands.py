"""The verifier names intents and outcomes that do not belong together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.intents import UNDER_WAY_MS
from tests.contracts.trail_verification.judging import OLD_MS, kinds, remarks, the
from tests.support.made_trail import MadeTrail


def test_an_intent_without_outcome(trail: MadeTrail) -> None:
    """Too old to be under way, it is an open end."""
    intent = trail.intend("w1")
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert trail.verify(later_ms=UNDER_WAY_MS - 2).clean
    found = the(trail.verify(later_ms=UNDER_WAY_MS + 1), Kind.OPEN)
    assert (found.worker, found.number) == ("w1", intent.number)


def test_an_outcome_without_intent(trail: MadeTrail) -> None:
    """Something was executed that nobody announced."""
    intent = trail.intend("w1")
    trail.records.pop()
    author = trail.author("w1")
    author.leaves.pop(intent.number)
    author.void.add(intent.number)
    trail.end(intent)
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.NO_INTENT}


def test_two_outcomes(trail: MadeTrail) -> None:
    """One intent, done and failed."""
    intent, _ = trail.command("w1")
    trail.end(intent, "failed")
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.TWO_OUTCOMES}


def test_two_intents_of_one_transmission(trail: MadeTrail) -> None:
    """The same bytes were accepted by two workers."""
    intent, _ = trail.command("w1")
    again = trail.intend("w2", id=intent.id)
    trail.end(again)
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert kinds(trail.verify()) == {Kind.TWO_INTENTS}


def test_an_outcome_of_another_command(trail: MadeTrail) -> None:
    """The intent was an insert; its outcome says something else."""
    intent = trail.intend("w1")
    trail.end(replace(intent, subject="mallku.v1.cmd.mallku.mallku.memory_anchors.delete"))
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.DIFFERS}


@pytest.mark.parametrize("before", [True, False])
def test_a_void_number_that_was_executed(trail: MadeTrail, before: bool) -> None:
    """Declared void, and an outcome says that it was not; whichever comes first."""
    intent = trail.intend("w1")
    trail.author("w1").void.add(intent.number)
    if before:
        trail.end(intent)
        trail.checkpoint("w1")
    else:
        trail.checkpoint("w1")
        trail.end(intent)
        trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.VOID_EXECUTED}


def test_an_answer_from_memory_of_something(trail: MadeTrail) -> None:
    """A retry is answered from the ledger entry of the first attempt."""
    first, _ = trail.command("w1")
    retry = trail.intend("w2")
    trail.end(retry, replayed_of=first.id)
    trail.checkpoint("w2")
    assert trail.verify().clean


def test_an_answer_from_memory_of_nothing(trail: MadeTrail) -> None:
    """It names a transmission that never was, and that the trail is old enough to know."""
    trail.now_ms += 2 * MAX_CLOCK_SKEW_MS
    intent = trail.intend("w1")
    trail.end(intent, replayed_of=trail.new_id())
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.REPLAY_OF_NOTHING}


@pytest.mark.parametrize("found", ["committed", "not-applied", "possibly-answered"])
def test_a_resolved_intent(trail: MadeTrail, found: str) -> None:
    """A resolution is an outcome."""
    intent = trail.intend("w1")
    trail.checkpoint("w1")
    trail.resolve(intent, found)
    trail.checkpoint("w2")
    assert trail.verify(later_ms=OLD_MS).clean


def test_an_intent_of_which_nobody_can_know_yet(trail: MadeTrail) -> None:
    """`pending` is no outcome, and no offence; a later resolution ends it."""
    intent = trail.intend("w1")
    trail.checkpoint("w1")
    trail.resolve(intent, "pending")
    trail.checkpoint("w2")
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert remarks(report) == {Kind.PENDING}
    trail.resolve(intent, "committed")
    trail.checkpoint("w2")
    assert not trail.verify(later_ms=OLD_MS).findings.counts


def test_a_resolution_and_an_outcome_that_agree(trail: MadeTrail) -> None:
    """The worker lived after all, and says the same; two reconcilers say the same."""
    intent = trail.intend("w1")
    trail.resolve(intent, "committed")
    trail.end(intent)
    trail.resolve(intent, "committed", by="w3")
    trail.resolve(intent, "pending", by="w3")
    trail.checkpoint("w1")
    assert trail.verify().clean


@pytest.mark.parametrize("resolved_first", [True, False])
def test_a_resolution_and_an_outcome_that_contradict(
    trail: MadeTrail, resolved_first: bool
) -> None:
    """`not-applied` may only be said when it can no longer become untrue."""
    intent = trail.intend("w1")
    if resolved_first:
        trail.resolve(intent, "not-applied")
        trail.end(intent)
    else:
        trail.end(intent)
        trail.resolve(intent, "not-applied")
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.TWO_OUTCOMES}


def test_a_resolution_of_nothing(trail: MadeTrail) -> None:
    """It names a number that is no open intent, another sequence, or nothing at all."""
    intent = trail.intend("w1")
    trail.end(intent)
    trail.resolve(intent, "committed", resolves={"worker": "w1", "number": 1, "sequence": 1})
    other = trail.intend("w1")
    trail.resolve(
        other, "committed", resolves={"worker": "w1", "number": other.number, "sequence": 1}
    )
    trail.resolve(other, "committed", resolves={})
    trail.end(other)
    trail.checkpoint("w1")
    report = trail.verify()
    assert kinds(report) == {Kind.RESOLVES_NOTHING}
    assert report.findings.counts[Kind.RESOLVES_NOTHING] == 3
