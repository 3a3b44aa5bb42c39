"""A caller who gives two transmissions one id has no worker accused for it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.subjects import JOB, CommandSubject
from mallku_contracts.trail.findings import Kind
from tests.contracts.trail_verification.judging import OLD_MS, kinds
from tests.support.made_trail import INSERT, MadeTrail

AS_JOB = replace(INSERT, channel=JOB)
ORDERS = [
    order
    for order in permutations(["job", "command", "job ends", "command ends"])
    if order.index("job") < order.index("job ends")
    and order.index("command") < order.index("command ends")
]


def _write(trail: MadeTrail, order: tuple[str, ...], by: dict[str, str], ends: str) -> None:
    """A job and a command under one id; the command ends in `ends`."""
    open_: dict[str, Record] = {}
    command_id = trail.new_id()
    for step in order:
        what, _, is_end = step.partition(" ")
        if not is_end:
            place = AS_JOB if what == "job" else INSERT
            open_[what] = trail.intend(by[what], id=command_id, place=place)
        elif what == "command" and ends != "resolved":
            trail.end(open_[what], ends)
        elif what == "command":
            trail.resolve(open_[what], "not-applied")
        else:
            trail.end(open_[what])
    for worker in ("w1", "w2"):
        trail.checkpoint(worker)


@pytest.mark.parametrize("ends", ["done", "failed", "denied", "resolved"])
@pytest.mark.parametrize("other", ["w1", "w2"])
@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_a_job_and_a_command_under_one_id(
    trail: MadeTrail, order: tuple[str, ...], other: str, ends: str
) -> None:
    """Each outcome ends its own intent, whichever came first, in one worker or two."""
    _write(trail, order, {"job": "w1", "command": other}, ends)
    report = trail.verify(later_ms=OLD_MS)
    assert kinds(report) == set()
    assert report.clean


def test_a_job_does_not_hide_a_second_command(trail: MadeTrail) -> None:
    """Between two intents of one transmission, under its id: it is intended twice all the same."""
    intent, _ = trail.command("w1")
    trail.end(trail.intend("w1", id=intent.id, place=AS_JOB))
    trail.end(trail.intend("w2", id=intent.id))
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert kinds(trail.verify()) == {Kind.TWO_INTENTS}


def test_a_job_does_not_end_what_a_crash_left_open(trail: MadeTrail) -> None:
    """Its outcome under the same id, from the same worker, is not the command's."""
    command = trail.intend("w1")
    trail.end(trail.intend("w1", id=command.id, place=AS_JOB))
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert kinds(trail.verify(later_ms=OLD_MS)) == {Kind.OPEN}


@pytest.mark.parametrize("place", [AS_JOB, INSERT])
def test_what_a_job_did_is_remembered(trail: MadeTrail, place: CommandSubject) -> None:
    """An answer from memory may be of a job or of a command."""
    first = trail.intend("w1", place=place)
    trail.end(first)
    trail.end(trail.intend("w2"), replayed_of=first.id)
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    assert trail.verify().clean


def test_a_job_that_is_delivered_again_is_no_second_intent(trail: MadeTrail) -> None:
    """It has an intent for each time, in the same worker or another."""
    first = trail.intend("w1", place=AS_JOB)
    trail.end(first, "failed")
    for worker in ("w1", "w2"):
        trail.end(trail.intend(worker, id=first.id, place=AS_JOB))
        trail.checkpoint(worker)
    assert trail.verify(later_ms=OLD_MS).clean
