"""Which intent a step gets, whatever ids callers choose."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.subjects import JOB, CommandSubject
from mallku_workers.rebuilding import Gathering, Identity, Wanted, WorkFile
from mallku_workers.rebuilding.gathering import UNRESOLVED
from tests.support.made_trail import INSERT, MadeTrail
from tests.workers.rebuilding.world import DATABASE

AS_JOB = replace(INSERT, channel=JOB)
WANTED = Wanted(DATABASE)


def _file(folder: Path) -> WorkFile:
    return WorkFile(folder / "work.sqlite", Identity("MALLKU_AUDIT", DATABASE, "there"))


def _gather(folder: Path, trail: MadeTrail) -> tuple[dict[int, Record], list[str]]:
    """The intent of each step by its position, and what is unresolved; begun anew at each record.

    So that every way to interrupt it is among them.
    """
    for stored in trail.records:
        with _file(folder) as file:
            gathering = Gathering(file, WANTED)
            gathering.take(stored)
            gathering.save()
    with _file(folder) as file:
        Gathering(file, WANTED).finish()
        steps = file.steps_behind(-1, "")
        return {step.position: Record.read(step.intent) for step in steps}, file.notes(UNRESOLVED)


def _end(trail: MadeTrail, intent: Record, how: str) -> None:
    """Its outcome, at the intent's own number as position; it does not say what was changed."""
    said: dict[str, Any] = {"position": intent.number, "effects": ({"omitted": 1},)}
    if how == "done":
        trail.end(intent, **said)
    else:
        trail.resolve(intent, "committed", by="w3", **said)


@pytest.mark.parametrize("how", ["done", "resolved"])
@pytest.mark.parametrize("places", [(INSERT, AS_JOB), (AS_JOB, INSERT)])
@pytest.mark.parametrize("last", ["first", "second"])
def test_a_job_and_a_command_under_one_id(
    tmp_path: Path, places: tuple[CommandSubject, CommandSubject], how: str, last: str
) -> None:
    """Under way at once in one worker, each outcome ends its own intent."""
    trail = MadeTrail()
    first = trail.intend("w1", place=places[0])
    second = trail.intend("w1", place=places[1], id=first.id)
    for intent in (first, second) if last == "second" else (second, first):
        _end(trail, intent, how)
    assert _gather(tmp_path, trail) == ({1: first, 2: second}, [])


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_jobs_under_one_id_in_several_workers(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Whether delivered again or another job: the outcome is of its own worker's intent."""
    trail = MadeTrail()
    trail.start("w2")
    trail.start("w3")
    trail.start("w3")
    first = trail.intend("w1", place=AS_JOB)
    intents = [
        first,
        trail.intend("w2", place=AS_JOB, id=first.id),
        trail.intend("w3", place=replace(AS_JOB, operation="upsert"), id=first.id),
    ]
    for number in order:
        _end(trail, intents[number], "done")
    assert _gather(tmp_path, trail) == (dict(enumerate(intents, 1)), [])


def test_what_is_in_doubt_is_ended_by_its_resolution_alone(tmp_path: Path) -> None:
    """A job is delivered again to the worker that does not know what became of it."""
    trail = MadeTrail()
    doubtful = trail.intend("w1", place=AS_JOB)
    again = trail.intend("w1", place=AS_JOB, id=doubtful.id)
    _end(trail, again, "done")
    steps, unresolved = _gather(tmp_path, trail)
    assert steps == {2: again}
    assert len(unresolved) == 1
    with _file(tmp_path) as file:
        file.remove()
    _end(trail, doubtful, "resolved")
    assert _gather(tmp_path, trail) == ({1: doubtful, 2: again}, [])
