"""A verification goes on where another ended, and notices what was changed before that."""

from __future__ import annotations

from mallku_contracts.trail.findings import Kind
from tests.contracts.trail_verification.judging import OLD_MS, kinds, remarks
from tests.support.made_trail import MadeTrail, feed


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
