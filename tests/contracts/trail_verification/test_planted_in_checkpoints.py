"""The verifier names checkpoints that are forged, missing, repeated or at odds with others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mallku_contracts.audit import record_hash
from mallku_contracts.trail import coverage
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.merkle import EMPTY_ROOT
from mallku_contracts.trail.verification import Extent, Verifier
from mallku_contracts.trust import Trust
from tests.contracts.trail_verification.judging import OLD_MS, altered, kinds, remarks, the
from tests.support.made_trail import (
    ISSUER,
    START_MS,
    STREAM,
    TRUST,
    MadeTrail,
    feed,
    key_of,
    worker_token,
)


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
