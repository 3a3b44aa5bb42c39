"""The verifier says nothing of a trail in order, and names everything that was planted in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.audit import Record, record_hash
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import coverage
from mallku_contracts.trail.digests import MARK
from mallku_contracts.trail.findings import REMARKS, Finding, Kind
from mallku_contracts.trail.intents import UNDER_WAY_MS
from mallku_contracts.trail.merkle import EMPTY_ROOT
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trail.tails import MAX_TAIL_AGE_MS
from mallku_contracts.trail.verification import Extent, Report, Verifier
from mallku_contracts.trust import Trust
from tests.support.made_trail import (
    INSERT,
    ISSUER,
    START_MS,
    STREAM,
    TRUST,
    MadeTrail,
    feed,
    key_of,
    worker_token,
)

OLD_MS = 10 * MAX_TAIL_AGE_MS


def kinds(report: Report) -> set[Kind]:
    """What was found that accuses somebody."""
    return set(report.findings.counts) - REMARKS


def remarks(report: Report) -> set[Kind]:
    """What was found that accuses nobody."""
    return set(report.findings.counts) & REMARKS


def the(report: Report, kind: Kind) -> Finding:
    """The one finding of this kind."""
    findings = [*report.findings.accusations, *report.findings.remarks]
    (found,) = [finding for finding in findings if finding.kind == kind]
    return found


def altered(stored: TrailEntry, **changes: Any) -> TrailEntry:
    """The same message with other fields in its record."""
    return stored._replace(data=replace(Record.read(stored.data), **changes).pack())


@pytest.fixture
def trail() -> MadeTrail:
    """Two workers; the first has written some commands and a checkpoint over them."""
    made = MadeTrail()
    made.start("w1")
    made.start("w2")
    for _ in range(5):
        made.command("w1")
    made.checkpoint("w1")
    return made


# A trail in order.


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


# The records themselves.


def test_a_message_that_is_no_record(trail: MadeTrail) -> None:
    """Junk in the stream is named with its place."""
    trail.records.append(TrailEntry(len(trail.records) + 1, "mallku.v1.audit.x", START_MS, b"?"))
    found = the(trail.verify(), Kind.MALFORMED)
    assert found.sequence == len(trail.records)


def test_a_record_under_a_subject_that_does_not_fit(trail: MadeTrail) -> None:
    """Moved to another collection's subject, it would hide from filters."""
    stored = trail.records[3]
    moved = stored.subject.replace("memory_anchors", "elsewhere")
    trail.records[3] = stored._replace(subject=moved)
    report = trail.verify()
    assert kinds(report) == {Kind.MISPLACED}
    assert the(report, Kind.MISPLACED).sequence == 4


def test_a_record_of_another_principal_about_the_gateway(trail: MadeTrail) -> None:
    """What is said in the gateway's name stands under the gateway's subjects."""
    start = trail.records[0]
    trail.records[0] = start._replace(subject=start.subject.replace("_gateway", "mallku"))
    assert kinds(trail.verify()) == {Kind.MISPLACED}


def test_an_altered_signature_of_a_caller(trail: MadeTrail) -> None:
    """One bit of a signature; the root says so too, and both name the record."""
    intent = Record.read(trail.records[2].data)
    assert intent.command is not None
    protected, body, signature, key = intent.command
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    trail.records[2] = altered(trail.records[2], command=(protected, body, flipped, key))
    report = trail.verify()
    assert kinds(report) == {Kind.SIGNATURE, Kind.EDITED}
    assert the(report, Kind.SIGNATURE).number == the(report, Kind.EDITED).number == intent.number
    assert Kind.SIGNATURE not in kinds(trail.verify(signatures=False))


def test_an_intent_without_a_signed_command(trail: MadeTrail) -> None:
    """Nobody asked for it, as far as anybody can see."""
    trail.records[2] = altered(trail.records[2], command=None)
    assert Kind.SIGNATURE in kinds(trail.verify())


def test_an_intent_that_must_not_be_copied(trail: MadeTrail) -> None:
    """Without body and signature nothing can be checked of them; that is counted, and no more."""
    intent = trail.intend("w1", bound={**MARK, "body": "hmac:0", "mutates": True})
    stored = trail.records.pop()
    assert intent.command is not None
    protected, _, _, key = intent.command
    hidden = altered(stored, command=(protected, b"", b"", key))
    trail.records.append(hidden)
    place = (hidden.sequence, record_hash(hidden.data))
    trail.author("w1").leaves[intent.number] = place
    trail.end(intent)
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert (report.hidden, report.signatures) == (1, 5)


def test_a_signature_that_was_left_out_without_reason(trail: MadeTrail) -> None:
    """Only where the record says that its collection must not be copied."""
    intent = Record.read(trail.records[2].data)
    assert intent.command is not None
    protected, _, _, key = intent.command
    trail.records[2] = altered(trail.records[2], command=(protected, b"", b"", key))
    assert Kind.SIGNATURE in kinds(trail.verify())


@pytest.mark.parametrize(
    "lie",
    [
        {"principal": "mallory"},
        {"id": "01999999-0000-7000-8000-000000000000"},
        {"attempt": 2},
        {"kid": "another"},
        {"subject": "mallku.v1.cmd.mallku.mallku.secrets.insert"},
        {"subject": "mallku.v1.cmd.mallku.mallku.memory_anchors.delete"},
    ],
)
def test_a_record_that_says_something_else_than_was_signed(
    trail: MadeTrail, lie: dict[str, Any]
) -> None:
    """Principal, id, attempt, key and subject are those of the signed bytes."""
    trail.records[2] = altered(trail.records[2], **lie)
    assert kinds(trail.verify()) & {Kind.MISMATCH, Kind.MISPLACED}
    assert Kind.EDITED in kinds(trail.verify())


# The stream.


def test_an_edited_outcome(trail: MadeTrail) -> None:
    """No signature covers it; its checkpoint's root does."""
    trail.records[3] = altered(trail.records[3], position=99)
    report = trail.verify()
    assert kinds(report) == {Kind.EDITED}
    assert "numbers 1-11" in the(report, Kind.EDITED).text


def test_an_edited_record_that_stands_alone_under_its_root(trail: MadeTrail) -> None:
    """With one record in the range there is no doubt which it is."""
    intent = trail.intend("w1")
    trail.checkpoint("w1")
    trail.end(intent)
    trail.checkpoint("w1")
    trail.records[-1] = altered(trail.records[-1], position=99)
    found = the(trail.verify(), Kind.EDITED)
    assert (found.sequence, found.number) == (len(trail.records), intent.number + 1)


def test_a_dropped_record(trail: MadeTrail) -> None:
    """Its number is on no record, and its sequence holds no message."""
    del trail.records[4]
    report = trail.verify()
    assert kinds(report) == {Kind.GAP, Kind.NO_INTENT}
    numbers = {finding.number for finding in report.findings.accusations}
    assert 4 in numbers


def test_a_dropped_record_in_a_republished_stream(trail: MadeTrail) -> None:
    """The others close up; those of later checkpoints stand one place earlier than they did."""
    intent = trail.intend("w1")
    trail.end(intent)
    trail.checkpoint("w1")
    del trail.records[1]  # w2's start, so that w1's numbers are complete
    trail.records = [
        stored._replace(sequence=place) for place, stored in enumerate(trail.records, 1)
    ]
    report = trail.verify()
    assert Kind.MOVED in kinds(report)


def test_two_records_that_changed_places(trail: MadeTrail) -> None:
    """Both are there, unaltered; only their places are not the ones that were covered."""
    one, two = trail.records[3], trail.records[4]
    trail.records[3] = two._replace(sequence=one.sequence)
    trail.records[4] = one._replace(sequence=two.sequence)
    report = trail.verify()
    assert kinds(report) == {Kind.REORDERED}
    assert "3, 4 stand in each other's place" in the(report, Kind.REORDERED).text


def test_a_cut_tail_is_seen_by_what_checkpoints_cover(trail: MadeTrail) -> None:
    """The checkpoint covers records behind the stream's end."""
    del trail.records[-2:]
    report = trail.verify()
    assert kinds(report) == {Kind.TRUNCATED}
    assert "ends at 10" in the(report, Kind.TRUNCATED).text


def test_a_cut_tail_is_seen_by_whoever_holds_a_receipt(trail: MadeTrail) -> None:
    """Cut off together with its checkpoint, a record is missed by whoever was given a receipt."""
    last = trail.records[-1]
    del trail.records[-2:]
    trail.checkpoints.clear()
    verifier = trail.verifier()
    verifier.expect_record(last.sequence, record_hash(last.data), "receipt r.json")
    report = trail.verify(verifier=verifier)
    assert kinds(report) == {Kind.TRUNCATED}
    assert "receipt r.json" in the(report, Kind.TRUNCATED).text


def test_a_receipt_of_another_record(trail: MadeTrail) -> None:
    """What was receipted is not what stands there."""
    verifier = trail.verifier()
    verifier.expect_record(4, bytes(32), "receipt r.json")
    found = the(trail.verify(verifier=verifier), Kind.EDITED)
    assert found.sequence == 4


def test_a_receipt_whose_record_is_no_more(trail: MadeTrail) -> None:
    """A deleted message leaves a hole that a receipt names."""
    gone = trail.records.pop(4)
    verifier = trail.verifier()
    verifier.expect_record(gone.sequence, record_hash(gone.data), "receipt r.json")
    report = trail.verify(verifier=verifier)
    assert any("receipt r.json" in finding.text for finding in report.findings.accusations)


def test_a_stream_shorter_than_it_was(trail: MadeTrail) -> None:
    """Somebody remembers how long it was."""
    verifier = trail.verifier()
    verifier.expect_sequence(len(trail.records) + 1, "state file s")
    assert kinds(trail.verify(verifier=verifier)) == {Kind.TRUNCATED}


def test_a_stream_whose_last_messages_were_deleted(trail: MadeTrail) -> None:
    """The server still counts them, and has none to show."""
    verifier = Verifier(Extent(STREAM, START_MS, 1, len(trail.records) + 2), TRUST)
    assert kinds(trail.verify(verifier=verifier)) == {Kind.GAP}


def test_a_stream_that_was_created_at_another_time(trail: MadeTrail) -> None:
    """Another stream under the same name, with the same records in it."""
    verifier = trail.verifier()
    verifier.expect_created(START_MS - 5_000, "state file s")
    assert kinds(trail.verify(verifier=verifier)) == {Kind.RECREATED}


def test_a_stream_younger_than_its_records(trail: MadeTrail) -> None:
    """Nobody has to remember anything: the first record was written before there was a stream."""
    verifier = Verifier(Extent(STREAM, START_MS + 3_600_000, 1, len(trail.records)), TRUST)
    assert kinds(trail.verify(verifier=verifier)) == {Kind.RECREATED}


def test_a_stream_without_its_beginning(trail: MadeTrail) -> None:
    """The first records are gone; nothing may delete any."""
    del trail.records[:2]
    assert Kind.BEGINNING in kinds(trail.verify())


def test_another_record_with_a_number_that_waits_for_its_checkpoint(trail: MadeTrail) -> None:
    """Two records cannot be one worker's same number; which one is true its checkpoint says."""
    intent = trail.intend("w1")
    trail.store(trail.records[3].subject, replace(trail.end(intent), position=99))
    true, forged = trail.records[-2:]
    trail.records[-2:] = [
        forged._replace(sequence=true.sequence),
        true._replace(sequence=forged.sequence),
    ]
    place = (forged.sequence, record_hash(true.data))
    trail.author("w1").leaves[intent.number + 1] = place
    trail.checkpoint("w1")
    report = trail.verify()
    assert kinds(report) == {Kind.REPEATED}
    assert the(report, Kind.REPEATED).sequence == len(trail.records)


def test_a_record_under_a_number_that_is_covered(trail: MadeTrail) -> None:
    """Forged later, with everything as it should be but the worker's checkpoints."""
    forged = replace(trail.intend("w1", key=key_of("mallory")), number=3)
    trail.records.pop()
    trail.author("w1").number -= 1
    trail.store(f"mallku.v1.audit.{'.'.join(str(INSERT).split('.')[3:])}.intent", forged)
    report = trail.verify()
    assert kinds(report) == {Kind.INSERTED}
    assert the(report, Kind.INSERTED).number == 3


def test_a_record_between_two_that_are_covered(trail: MadeTrail) -> None:
    """Inserted under a number of its own, it takes one that the worker gives out itself later."""
    forged = trail.intend("w1", key=key_of("mallory"))
    trail.author("w1").number -= 1
    trail.author("w1").leaves.pop(forged.number)
    trail.command("w1")
    trail.checkpoint("w1")
    assert Kind.REPEATED in kinds(trail.verify())


# Checkpoints.


def test_a_record_of_a_worker_that_nobody_knows(trail: MadeTrail) -> None:
    """Signed by a valid but foreign key, in the name of a worker with no checkpoint at all."""
    trail.checkpoint("w2")
    trail.intend("ghost", key=key_of("mallory"))
    assert trail.verify(later_ms=1_000).clean
    report = trail.verify(later_ms=OLD_MS)
    assert kinds(report) == {Kind.UNCOVERED, Kind.OPEN}
    assert "no checkpoint at all" in the(report, Kind.UNCOVERED).text


def test_records_that_no_checkpoint_covers_for_long(trail: MadeTrail) -> None:
    """A worker that died: its last records prove nothing until somebody vouches for them."""
    trail.checkpoint("w2")
    trail.command("w1")
    report = trail.verify(later_ms=OLD_MS)
    assert kinds(report) == {Kind.UNCOVERED}


def test_a_tail_that_another_worker_vouches_for(trail: MadeTrail) -> None:
    """It is covered, and reported as what it is."""
    trail.command("w1")
    trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert remarks(report) == {Kind.VOUCHED}
    assert report.covered == report.records


def test_a_vouched_tail_with_numbers_that_never_came(trail: MadeTrail) -> None:
    """A dead worker's records may have been lost on the way; the vouch says how many stand."""
    trail.intend("w1")
    trail.records.pop()
    author = trail.author("w1")
    author.leaves.pop(author.number)
    trail.command("w1")
    trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    assert trail.verify(later_ms=OLD_MS).clean


def test_a_vouched_tail_that_was_edited(trail: MadeTrail) -> None:
    """What is vouched for has a root too."""
    trail.command("w1")
    trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    trail.records[-1] = altered(trail.records[-1], position=99)
    assert kinds(trail.verify()) == {Kind.VOUCH}


def test_a_vouched_tail_that_was_cut(trail: MadeTrail) -> None:
    """The vouch names records behind the end."""
    trail.checkpoint("w2")
    trail.command("w1")
    trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    del trail.records[-1]
    report = trail.verify(later_ms=1_000)
    assert kinds(report) == {Kind.TRUNCATED}


def test_two_workers_that_vouch_for_different_tails(trail: MadeTrail) -> None:
    """The same numbers, another root: one of them lies."""
    trail.command("w1")
    vouch = trail.vouch("w1")
    trail.checkpoint("w2", vouches=(vouch,))
    trail.checkpoint("w3", vouches=(vouch,))
    assert trail.verify().clean
    trail.checkpoint("w3", vouches=(replace(vouch, root=bytes(32)),))
    assert kinds(trail.verify()) == {Kind.VOUCH}


def test_a_worker_that_was_taken_for_dead_and_lives(trail: MadeTrail) -> None:
    """Its own checkpoint over the same records counts more, and has to agree with them."""
    trail.command("w1")
    trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    trail.command("w1")
    trail.checkpoint("w1")
    report = trail.verify(later_ms=OLD_MS)
    assert report.clean
    assert not remarks(report)


def test_a_worker_that_writes_after_its_end(trail: MadeTrail) -> None:
    """The last checkpoint said that nothing follows."""
    trail.checkpoint("w1", final=True)
    trail.command("w1")
    assert kinds(trail.verify()) == {Kind.AFTER_END}


def test_a_checkpoint_after_the_end(trail: MadeTrail) -> None:
    """Neither does another checkpoint follow."""
    trail.checkpoint("w1", final=True)
    trail.checkpoint("w1")
    assert kinds(trail.verify()) == {Kind.AFTER_END}


def test_junk_among_the_checkpoints(trail: MadeTrail) -> None:
    """It is named with its place in its stream."""
    trail.publish("mallku.v1.checkpoint.w1", b"?")
    assert the(trail.verify(), Kind.CHECKPOINT).sequence == 2


def test_a_checkpoint_with_another_signature(trail: MadeTrail) -> None:
    """One bit of the message."""
    stored = trail.checkpoints[0]
    place = stored.data.rindex(trail.author("w1").token) - 10  # within the signature
    flipped = bytes([stored.data[place] ^ 1])
    data = stored.data[:place] + flipped + stored.data[place + 1 :]
    trail.checkpoints[0] = stored._replace(data=data)
    assert kinds(trail.verify()) == {Kind.CHECKPOINT}


def test_a_forged_checkpoint(trail: MadeTrail) -> None:
    """Whoever has a key that no trusted issuer knows makes no checkpoint."""
    key = key_of("mallory")
    trail.command("w1")
    trail.checkpoint("w1", key=key, kid=key.kid, token=worker_token(key, issuer=key))
    report = trail.verify()
    assert kinds(report) == {Kind.UNKNOWN_KEY}


def test_an_issuer_that_is_not_trusted(trail: MadeTrail) -> None:
    """The same trail, judged by somebody who trusts others."""
    others = Trust.of(ISSUER, key_of("other issuer").public)
    report = trail.verify(verifier=trail.verifier(others))
    assert kinds(report) == {Kind.UNKNOWN_KEY}


def test_a_token_that_was_over(trail: MadeTrail) -> None:
    """A checkpoint is judged at its own time: a retired key signs nothing any more."""
    author = trail.author("w1")
    old = worker_token(author.key, at_ms=START_MS - 10 * 3_600_000)
    trail.checkpoint("w1", token=old)
    assert kinds(trail.verify()) == {Kind.UNKNOWN_KEY}


def test_another_workers_key(trail: MadeTrail) -> None:
    """A trusted worker signs in the name of another."""
    other = trail.author("w2")
    trail.checkpoint("w1", key=other.key, token=other.token)
    report = trail.verify()
    assert kinds(report) == {Kind.FOREIGN_KEY}


def test_a_checkpoint_under_another_workers_subject(trail: MadeTrail) -> None:
    """Where it stands is part of what it says."""
    stored = trail.checkpoints[0]
    trail.checkpoints[0] = stored._replace(subject="mallku.v1.checkpoint.w2")
    assert kinds(trail.verify()) == {Kind.MISPLACED}


def test_a_checkpoint_about_another_stream(trail: MadeTrail) -> None:
    """A valid checkpoint of another trail proves nothing here."""
    trail.checkpoint("w1", stream="OTHER")
    assert kinds(trail.verify()) == {Kind.CHECKPOINT}


def test_an_old_checkpoint_again(trail: MadeTrail) -> None:
    """Replayed, byte for byte."""
    trail.command("w1")
    trail.checkpoint("w1")
    first = trail.checkpoints[0]
    trail.publish(first.subject, first.data)
    report = trail.verify()
    assert kinds(report) == {Kind.OLD_CHECKPOINT}
    assert the(report, Kind.OLD_CHECKPOINT).sequence == 3


def test_two_checkpoints_with_one_number(trail: MadeTrail) -> None:
    """A worker, or whoever has its key, tells two stories."""
    author = trail.author("w1")
    author.checkpoint, author.covered = 0, 0
    trail.checkpoint("w1", previous=bytes(32))
    assert kinds(trail.verify()) == {Kind.FORK}


def test_a_checkpoint_that_is_missing(trail: MadeTrail) -> None:
    """The next one does not follow its former; the records between are under none."""
    trail.command("w1")
    trail.checkpoint("w1")
    trail.command("w1")
    trail.checkpoint("w1")
    del trail.checkpoints[1]
    report = trail.verify()
    assert kinds(report) == {Kind.CHAIN}


def test_a_checkpoint_with_another_former_one(trail: MadeTrail) -> None:
    """The number follows, the hash does not."""
    trail.checkpoint("w1", previous=bytes([1]) * 32)
    assert kinds(trail.verify()) == {Kind.CHAIN}


def test_numbers_that_are_covered_twice(trail: MadeTrail) -> None:
    """A later checkpoint cannot tell another story of the same records."""
    trail.checkpoint("w1", first=1, last=0, size=0, root=EMPTY_ROOT, sequence=0)
    assert kinds(trail.verify()) == {Kind.CHAIN}


def test_a_checkpoint_that_another_worker_has_seen(trail: MadeTrail) -> None:
    """Cut off together with the records, checkpoints are missed by whoever saw their heads."""
    trail.command("w1")
    trail.checkpoint("w1")
    head = trail.head("w1")
    del trail.checkpoints[-1:]
    del trail.records[-2:]
    trail.author("w2").leaves[1] = (2, record_hash(trail.records[1].data))
    trail.checkpoint("w2", heads={"w1": head})
    report = trail.verify()
    assert kinds(report) == {Kind.CHECKPOINT_MISSING}
    assert the(report, Kind.CHECKPOINT_MISSING).number == 2


def test_a_checkpoint_that_a_witness_kept(trail: MadeTrail) -> None:
    """A witness outside of the broker has seen more, or something else."""
    verifier = trail.verifier()
    verifier.expect_checkpoint("w1", 2, bytes(32), "witness w.jsonl")
    assert kinds(trail.verify(verifier=verifier)) == {Kind.CHECKPOINT_MISSING}
    verifier = trail.verifier()
    verifier.expect_checkpoint("w1", 1, bytes(32), "witness w.jsonl")
    assert kinds(trail.verify(verifier=verifier)) == {Kind.FORK}


def test_a_head_that_was_another(trail: MadeTrail) -> None:
    """What another worker saw is compared also when it stands here already."""
    head = replace(trail.head("w1"), hash=bytes(32))
    trail.checkpoint("w2", heads={"w1": head})
    assert kinds(trail.verify()) == {Kind.FORK}


def test_a_checkpoint_that_promises_too_much_is_judged_in_time(
    trail: MadeTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that names a sequence far away does not make the verifier keep the whole trail."""
    monkeypatch.setattr(coverage, "MAX_WAITING_RECORDS", 13)
    trail.command("w1")
    trail.checkpoint("w1", sequence=2**60)
    for _ in range(10):
        trail.command("w2")
    trail.checkpoint("w2")
    verifier = Verifier(Extent(STREAM, START_MS, 1, 2**61), TRUST)
    feed(verifier, trail.records, trail.checkpoints)
    assert verifier.findings.counts == {Kind.CHECKPOINT: 1}


# Commands.


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
    """It names a transmission that never was."""
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


# Going on.


def test_a_verification_goes_on_where_another_ended(trail: MadeTrail) -> None:
    """Open intents, tails and heads are carried over, and only what is new is read."""
    intent = trail.intend("w1")
    first = trail.verifier()
    assert trail.verify(verifier=first).clean
    read, seen = len(trail.records), len(trail.checkpoints)
    trail.end(intent)
    trail.command("w2")
    trail.checkpoint("w1")
    trail.checkpoint("w2", heads={"w1": trail.head("w1")})
    second = trail.verifier(resume=first.resume())
    second.anchor(trail.records[read - 1].data)
    feed(second, trail.records[read:], trail.checkpoints[seen:])
    report = second.finish(trail.now_ms + OLD_MS)
    assert not report.findings.counts
    assert report.records == len(trail.records) - read
    assert second.resume().workers == trail.verifier_after().resume().workers


def test_a_verification_leaves_the_former_point_as_it_was(trail: MadeTrail) -> None:
    """A run that fails in the middle can be made again from the same point."""
    first = trail.verifier()
    trail.verify(verifier=first)
    point = first.resume()
    leaves = {worker: dict(known.leaves) for worker, known in point.workers.items()}
    read = len(trail.records)
    trail.checkpoint("w2")
    second = trail.verifier(resume=point)
    feed(second, trail.records[read:], trail.checkpoints[1:])
    assert {worker: known.leaves for worker, known in point.workers.items()} == leaves


def test_the_last_record_that_was_read_is_another_now(trail: MadeTrail) -> None:
    """A stream that was cut and filled up again is longer, and not the same."""
    first = trail.verifier()
    trail.verify(verifier=first)
    second = trail.verifier(resume=first.resume())
    second.anchor(trail.records[0].data)
    assert kinds(second.finish(trail.now_ms)) == {Kind.RECREATED}
    third = trail.verifier(resume=first.resume())
    third.anchor(None)
    assert kinds(third.finish(trail.now_ms)) == {Kind.RECREATED}


def test_what_was_answered_before_the_point_cannot_be_checked(trail: MadeTrail) -> None:
    """An answer from memory of something older than what was read accuses nobody."""
    old, _ = trail.command("w1")
    first = trail.verifier()
    trail.verify(verifier=first)
    read = len(trail.records)
    retry = trail.intend("w1")
    trail.end(retry, replayed_of=old.id)
    second = trail.verifier(resume=first.resume())
    feed(second, trail.records[read:], [])
    report = second.finish(trail.now_ms)
    assert report.clean
    assert Kind.UNCHECKED in remarks(report)


def test_every_kind_is_planted_here() -> None:
    """A kind of finding that no test brings about is one that nobody has seen work."""
    text = Path(__file__).read_text("utf-8")
    assert [kind.name for kind in Kind if f"Kind.{kind.name}" not in text] == []


def test_a_caller_may_have_several_keys(trail: MadeTrail) -> None:
    """Keys change; which ones signed in whose name is reported, for people to compare."""
    second: SigningKey = key_of("caller, later")
    trail.end(trail.intend("w1", key=second))
    trail.checkpoint("w1")
    assert trail.verify().keys["mallku"] == {trail.caller.kid, second.kid}
