"""The verifier names what was edited, dropped, moved, cut off or put in between."""

from __future__ import annotations

from dataclasses import replace

from mallku_contracts.audit import record_hash
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.verification import Extent, Verifier
from tests.contracts.trail_verification.judging import altered, kinds, the
from tests.support.made_trail import INSERT, START_MS, STREAM, TRUST, MadeTrail, key_of


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
