"""Misfortune of honest workers accuses nobody; a lie that is dressed up as it does."""

from __future__ import annotations

import pytest

from mallku_contracts.audit import record_hash
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import coverage, intents
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.tails import MAX_TAIL_AGE_MS
from mallku_contracts.trail.verification import Extent, Verifier
from tests.contracts.trail_verification.judging import OLD_MS, kinds, remarks
from tests.support.made_trail import START_MS, STREAM, TRUST, MadeTrail, feed, key_of


def test_a_time_to_come_makes_no_record_young(trail: MadeTrail) -> None:
    """Whoever forges a tail cannot date it so that it waits for its checkpoint for ever."""
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    now_ms = trail.now_ms
    trail.now_ms += OLD_MS
    trail.intend("ghost", key=key_of("mallory"))
    trail.now_ms = now_ms
    assert kinds(trail.verify()) == {Kind.UNCOVERED, Kind.OPEN}


def test_a_replay_that_a_rule_allowed_ends_nothing(trail: MadeTrail) -> None:
    """A worker that forgot a transmission refuses its replay late, while the command is at work."""
    intent = trail.intend("w1")
    place = CommandSubject.parse(intent.subject)
    trail.write("w1", "denied", place, id=intent.id, rule="service/documents", code="replayed")
    trail.end(intent)
    trail.checkpoint("w1")
    assert trail.verify().clean


def test_a_checkpoint_published_twice_is_no_offence(trail: MadeTrail) -> None:
    """Its acknowledgement was lost for longer than the server remembers: the same bytes again."""
    newest = trail.checkpoints[-1]
    trail.publish(newest.subject, newest.data)
    trail.command("w1")
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert remarks(report) == {Kind.COPY}


def test_many_outcomes_published_twice_are_no_offence(trail: MadeTrail) -> None:
    """After a long silence of the stream; each counts where it was acknowledged."""
    author = trail.author("w1")
    outcomes = [trail.command("w1")[1] for _ in range(12)]
    for outcome in outcomes:
        data = outcome.pack()
        stored = next(each for each in trail.records if each.data == data)
        sequence = len(trail.records) + 1
        trail.records.append(stored._replace(sequence=sequence))
        author.leaves[outcome.number] = (sequence, record_hash(data))
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert report.findings.counts[Kind.COPY] == len(outcomes)


def test_void_numbers_without_end_hide_no_late_one(
    trail: MadeTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replays by the thousand leave void numbers behind; an intent that is late is still one."""
    monkeypatch.setattr(coverage, "MAX_LATE_VOID", 4)
    never_came = []
    for _ in range(9):
        late = trail.intend("w1")
        never_came.append(trail.records.pop())
        trail.author("w1").leaves.pop(late.number)
        trail.author("w1").void.add(late.number)
    trail.command("w1")
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    trail.records.append(never_came[-1]._replace(sequence=len(trail.records) + 1))
    assert trail.verify(later_ms=OLD_MS).clean


@pytest.mark.parametrize("resumed", [False, True])
def test_a_slow_worker_says_late_what_was_resolved(
    trail: MadeTrail, monkeypatch: pytest.MonkeyPatch, *, resumed: bool
) -> None:
    """However many other commands ended meanwhile, before or after another verification."""
    monkeypatch.setattr(intents, "MAX_ENDED", 3)
    intent = trail.intend("w1")
    trail.resolve(intent, "committed")
    for _ in range(5):
        trail.command("w2")
    former = trail.verifier_after()
    read = len(trail.records) if resumed else 0
    trail.end(intent)
    verifier = trail.verifier(resume=former.resume() if resumed else None)
    feed(verifier, trail.records[read:], [])
    assert Kind.NO_INTENT not in verifier.finish(trail.now_ms).findings.counts


def test_two_receipts_of_one_place_cannot_both_hold(trail: MadeTrail) -> None:
    """Whoever answered with two stories is found out by whoever kept both, in either order."""
    told = [(bytes(32), "old"), (record_hash(trail.records[3].data), "new")]
    for story in (told, told[::-1]):
        verifier = trail.verifier()
        for digest, origin in story:
            verifier.expect_record(4, digest, origin)
        assert kinds(trail.verify(verifier=verifier)) == {Kind.EDITED}


def test_two_heads_of_one_number_cannot_both_hold(trail: MadeTrail) -> None:
    """Of the checkpoints that several have seen each is held against the one that stands there."""
    told = [(bytes(32), "state"), (trail.head("w1").hash, "witness")]
    for story in (told, told[::-1]):
        verifier = trail.verifier()
        for digest, origin in story:
            verifier.expect_checkpoint("w1", 1, digest, origin)
        assert kinds(trail.verify(verifier=verifier)) == {Kind.FORK}


@pytest.mark.parametrize("when", ["before", "after", "another verification"])
def test_only_an_intent_stands_under_a_void_number(trail: MadeTrail, when: str) -> None:
    """Void numbers are easily had; whoever may write into the stream forges nothing under them."""
    open_end = trail.intend("w1")
    effect = {"collection": "c", "key": "k", "old_rev": None, "new_rev": "1", "new": {"n": 1}}
    forged = trail.resolve(open_end, "committed", by="w2", effects=(effect,))
    stored = trail.records[-1]
    author = trail.author("w2")
    author.leaves.pop(forged.number)
    author.void.add(forged.number)
    former = trail.verifier_after()
    read = len(trail.records)
    trail.checkpoint("w1")
    if when == "after":
        trail.records.pop()
        trail.checkpoint("w2")
        trail.records.append(stored)
    else:
        trail.checkpoint("w2")
    if when != "another verification":
        assert Kind.INSERTED in kinds(trail.verify())
        return
    verifier = trail.verifier(resume=former.resume())
    feed(verifier, trail.records[read:], trail.checkpoints[1:])
    assert Kind.INSERTED in kinds(verifier.finish(trail.now_ms))


def test_a_worker_that_was_not_dead_covers_what_another_vouches_for(trail: MadeTrail) -> None:
    """Cut off for a while, it covers a part of its tail before the vouch for all of it stands."""
    author = trail.author("w1")
    _, first = trail.command("w1")
    trail.command("w1")
    vouch, newest = trail.vouch("w1"), author.number
    author.number = first.number
    trail.checkpoint("w1")
    author.number = newest
    trail.checkpoint("w2", vouches=(vouch,))
    trail.checkpoint("w1")
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert report.covered == report.records


def test_new_records_keep_no_old_one_young(trail: MadeTrail) -> None:
    """Whoever goes on forging, in the name of a worker without checkpoints, is found out."""
    trail.checkpoint("w2")
    place = CommandSubject.parse(trail.intend("w1").subject)
    trail.checkpoint("w1")
    for _ in range(3):
        trail.write("ghost", "denied", place, id=trail.new_id(), code="throttled")
        trail.now_ms += MAX_TAIL_AGE_MS - 1_000
    trail.write("ghost", "denied", place, id=trail.new_id(), code="throttled")
    assert Kind.UNCOVERED in kinds(trail.verify())


def test_a_beginning_that_is_said_to_be_there(trail: MadeTrail) -> None:
    """A manifest, or a server, that claims the first sequence has to show it."""
    extent = Extent(STREAM, START_MS - 1_000, 1, trail.records[-1].sequence)
    verifier = Verifier(extent, TRUST)
    feed(verifier, trail.records[1:], trail.checkpoints)
    gaps = [each for each in verifier.finish(trail.now_ms).findings.accusations if not each.worker]
    assert [(gap.kind, gap.sequence) for gap in gaps] == [(Kind.GAP, 1)]
