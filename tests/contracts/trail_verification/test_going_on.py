"""A verification goes on where another ended, and notices what was changed before that."""

from __future__ import annotations

from mallku_contracts.audit import Record, record_hash
from mallku_contracts.trail.coverage import LATE_VOID_MS
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.resume import Resume
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


def _again(trail: MadeTrail, record: Record) -> None:
    """The same bytes once more; its worker was told of this place alone."""
    data = record.pack()
    stored = next(each for each in trail.records if each.data == data)
    sequence = len(trail.records) + 1
    trail.records.append(stored._replace(sequence=sequence))
    trail.author(record.worker).leaves[record.number] = (sequence, record_hash(data))


def _go_on(trail: MadeTrail, resume: Resume, read: int, seen: int) -> set[Kind]:
    verifier = trail.verifier(resume=resume)
    feed(verifier, trail.records[read:], trail.checkpoints[seen:])
    return kinds(verifier.finish(trail.now_ms))


def test_an_outcome_that_stands_twice_is_known_to_the_next_verification(trail: MadeTrail) -> None:
    """Both copies were read before the checkpoint that counts the second."""
    _again(trail, trail.command("w1")[1])
    first = trail.verifier()
    assert trail.verify(verifier=first).clean
    read, seen = len(trail.records), len(trail.checkpoints)
    trail.checkpoint("w1")
    assert _go_on(trail, first.resume(), read, seen) == set()


def test_a_vouch_may_count_either_copy_of_an_outcome(trail: MadeTrail) -> None:
    """Whichever the reconciler took: its root says which."""
    outcome = trail.command("w1")[1]
    vouch_of_first = trail.vouch("w1")
    _again(trail, outcome)
    vouch_of_last = trail.vouch("w1")
    assert vouch_of_first.root != vouch_of_last.root
    for vouch in (vouch_of_first, vouch_of_last):
        trail.checkpoint("w2", vouches=(vouch,))
        assert trail.verify(later_ms=OLD_MS).clean
        trail.checkpoints.pop()
        author = trail.author("w2")
        author.checkpoint, author.previous, author.covered = 0, bytes(32), 0


def test_a_ledger_may_know_more_than_a_new_stream(trail: MadeTrail) -> None:
    """The stream was made anew, the store was not: it answers from memory of what came before."""
    begin_ms = trail.now_ms
    trail.now_ms -= 600_000
    older = trail.new_id()
    trail.now_ms = begin_ms
    trail.end(trail.intend("w1"), replayed_of=older)
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert Kind.UNCHECKED in remarks(report)


def test_a_checkpoint_older_than_what_was_read_is_said_to_be_unchecked(trail: MadeTrail) -> None:
    """A witness's old checkpoint is held against nothing; that is said, and not passed over."""
    trail.command("w1")
    old = trail.head("w1")
    trail.checkpoint("w1")
    first = trail.verifier()
    assert trail.verify(verifier=first).clean
    second = trail.verifier(resume=first.resume())
    second.expect_checkpoint("w1", old.number, bytes(32), "witness")
    report = second.finish(trail.now_ms)
    assert report.clean
    assert report.findings.counts[Kind.UNCHECKED] == 1


def test_void_numbers_are_remembered_as_long_as_their_record_may_come(trail: MadeTrail) -> None:
    """What is kept between two verifications does not grow with every replay that ever was."""
    late = trail.intend("w1")
    trail.records.pop()
    trail.author("w1").leaves.pop(late.number)
    trail.author("w1").void.add(late.number)
    trail.checkpoint("w1")
    assert trail.verifier_after().resume().workers["w1"].void.keys() == {late.number}
    trail.now_ms += LATE_VOID_MS + 1_000
    trail.command("w2")
    assert not trail.verifier_after().resume().workers["w1"].void
