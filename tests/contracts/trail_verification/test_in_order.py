"""The verifier accuses nobody of a trail in order, whatever honest workers may do to it."""

from __future__ import annotations

import pytest

from mallku_contracts.audit import record_hash
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail.findings import Kind
from tests.contracts.trail_verification.judging import OLD_MS, kinds, remarks
from tests.support.made_trail import INSERT, MadeTrail, key_of


def test_a_trail_in_order_has_no_finding(trail: MadeTrail) -> None:
    """Two workers, several checkpoints, heads, a final one: nothing is found, all is covered."""
    trail.command("w2")
    trail.checkpoint("w2", heads={"w1": trail.head("w1")})
    trail.command("w1")
    trail.checkpoint("w1", heads={"w2": trail.head("w2")}, final=True)
    report = trail.verify(later_ms=OLD_MS)
    assert not report.findings.counts
    assert report.clean
    assert report.covered == report.records == len(trail.records)
    assert report.signatures == 7


def test_a_trail_that_is_being_written_has_no_accusation(trail: MadeTrail) -> None:
    """The newest records wait for a checkpoint, the newest intent for its outcome: no offence."""
    trail.intend("w1")
    report = trail.verify(later_ms=1_000)
    assert report.clean
    assert remarks(report) == {Kind.TAIL, Kind.UNDER_WAY}


def test_an_empty_trail_has_no_finding() -> None:
    """Before the first record there is nothing to say."""
    assert not MadeTrail().verify().findings.counts


def test_records_may_stand_in_another_order_than_their_numbers(trail: MadeTrail) -> None:
    """An outcome that had to be published again stands behind later ones; the leaf says where."""
    author = trail.author("w1")
    first, second = trail.intend("w1"), trail.intend("w1")
    one, two = author.leaves[first.number], author.leaves[second.number]
    last, former = trail.records[-1], trail.records[-2]
    trail.records[-2:] = [
        last._replace(sequence=former.sequence),
        former._replace(sequence=last.sequence),
    ]
    author.leaves[first.number] = (two[0], one[1])
    author.leaves[second.number] = (one[0], two[1])
    for intent in (first, second):
        trail.end(intent)
    trail.checkpoint("w1")
    assert trail.verify().clean


def test_a_void_number_needs_no_record_and_no_outcome(trail: MadeTrail) -> None:
    """What was published, never acknowledged and never executed may stand there or not."""
    trail.author("w1").void.add(trail.intend("w1").number)
    lost = trail.intend("w1")
    trail.author("w1").void.add(lost.number)
    trail.records.pop()
    trail.command("w1")
    trail.checkpoint("w1")
    assert trail.verify(later_ms=OLD_MS).findings.counts.keys() <= {Kind.UNCOVERED}  # of w2
    trail.checkpoint("w2")
    assert trail.verify(later_ms=OLD_MS).clean


@pytest.mark.parametrize("resolved_first", [False, True])
def test_possibly_answered_denies_no_void_number(trail: MadeTrail, *, resolved_first: bool) -> None:
    """The reconciler does not know what the worker knows: that a read was never carried out."""
    intent = trail.intend("w1")
    trail.author("w1").void.add(intent.number)
    if resolved_first:
        trail.resolve(intent, "possibly-answered")
    trail.checkpoint("w1")
    if not resolved_first:
        trail.resolve(intent, "possibly-answered")
    trail.checkpoint("w2")
    assert trail.verify().clean


def test_a_void_record_may_come_after_its_checkpoint(trail: MadeTrail) -> None:
    """Late on the wire, an intent lands behind the checkpoint that declared it void."""
    late = trail.intend("w1")
    trail.author("w1").void.add(late.number)
    stored = trail.records.pop()
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    trail.records.append(stored._replace(sequence=len(trail.records) + 1))
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert Kind.UNDER_WAY not in report.findings.counts


def test_an_outcome_published_twice_is_no_offence(trail: MadeTrail) -> None:
    """Its acknowledgement was lost for longer than the server remembers: the same bytes again.

    The worker covers the place that was acknowledged to it.
    """
    _, outcome = trail.command("w1")
    again = trail.records[-1]
    sequence = len(trail.records) + 1
    trail.records.append(again._replace(sequence=sequence))
    trail.author("w1").leaves[outcome.number] = (sequence, record_hash(again.data))
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert Kind.COPY in remarks(report)


def test_an_intent_published_twice_is_one(trail: MadeTrail) -> None:
    """Workers publish an intent once; whoever does it again is no worker."""
    trail.intend("w1")
    again = trail.records[-1]
    trail.records.append(again._replace(sequence=len(trail.records) + 1))
    assert kinds(trail.verify()) == {Kind.REPEATED}


def test_a_refusal_with_the_id_of_a_command_does_not_end_it(trail: MadeTrail) -> None:
    """Anybody may send a command's bytes again while it is under way; that is refused, no more."""
    intent = trail.intend("w1")
    place = CommandSubject.parse(intent.subject)
    trail.write("w1", "denied", place, id=intent.id, code="replayed", number_of=280)
    trail.write("w2", "denied", place, id=intent.id, code="invalid_signature", number_of=280)
    trail.end(intent)
    trail.checkpoint("w1")
    assert trail.verify().clean


def test_an_intent_that_was_not_acknowledged_ends_with_a_refusal(trail: MadeTrail) -> None:
    """It turned up in the stream after all; the refusal says that nothing was executed."""
    intent = trail.intend("w1")
    rule = {"rule": intent.rule, "policy": 1, "code": "audit_unavailable", "number_of": 601}
    trail.write("w1", "denied", INSERT, id=intent.id, kid=intent.kid, **rule)
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert trail.verify(later_ms=OLD_MS).clean


def test_refusals_of_unreadable_subjects_are_in_their_place(trail: MadeTrail) -> None:
    """They stand under `unknown`, with the principal whose refusals a summary counts."""
    unknown = CommandSubject("unknown", "unknown", "@", "unknown")
    trail.write("w1", "denied", unknown, subject="mallku.v1.cmd.junk")
    flood = CommandSubject("mallory", "unknown", "@", "unknown")
    trail.write("w1", "denied", flood, subject="", count=1_000)
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert report.kinds["denied"] == 1_001


def test_a_caller_may_have_several_keys(trail: MadeTrail) -> None:
    """Keys change; which ones signed in whose name is reported, for people to compare."""
    second: SigningKey = key_of("caller, later")
    trail.end(trail.intend("w1", key=second))
    trail.checkpoint("w1")
    assert trail.verify().keys["mallku"] == {trail.caller.kid, second.kid}
