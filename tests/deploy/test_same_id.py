"""Ids are callers' to choose: what has the same id is shown as what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing import versions
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Lines
from mallku_deploy.auditing.versions import History, Wanted
from tests.deploy.shown_trail import command, effect

Told = tuple[TrailEntry, Record]


def _on(channel: str, told: Told) -> Told:
    """The same as a job, or as a command."""
    entry, record = told
    return entry, replace(record, subject=record.subject.replace("cmd", channel))


def _write(sequence: int, rev: str, **more: Any) -> Told:
    """A commit to the document `people/k`."""
    effects = (effect("k", {"_key": "k", "_rev": rev}),)
    return command(sequence, "done", id="id", position=sequence, effects=effects, **more)


@pytest.mark.parametrize("channels", ["job, cmd", "cmd, job", "job, job"])
def test_nobody_hides_a_version_behind_an_id(channels: str) -> None:
    """A job and a command, or two jobs: each commit has its version in the history."""
    history = History(Wanted("mallku", "people", "k"))
    commits = [_write(2, "a"), _write(4, "b"), _write(4, "b")]  # the last one was written twice
    for channel, told in zip([*channels.split(", "), channels[-3:]], commits, strict=True):
        history.add(*_on(channel, told))
    assert [version.new_rev for version in history.versions()] == ["a", "b"]


def test_what_is_kept_under_one_id_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As what is kept under many."""
    monkeypatch.setattr(versions, "MAX_VERSIONS", 2)
    history = History(Wanted("mallku", "people", "k"))
    for number, rev in enumerate("abcde", 1):
        history.add(*_write(number, rev))
    assert [version.new_rev for version in history.versions()] == ["d", "e"]
    assert history.left_out == 3


def test_a_job_and_a_command_have_their_own_lines() -> None:
    """Each outcome is about what its own intent asked."""
    lines = Lines(Hiding(None))
    asked = [
        command(1, "intent", arguments={"document": {"_key": "a"}}, id="id"),
        command(2, "intent", arguments={"document": {"_key": "b"}}, id="id"),
        command(3, "failed", id="id"),
        command(4, "failed", id="id"),
    ]
    channels = ("job", "cmd", "job", "cmd")
    shown = [lines.add(*_on(*both)).target for both in zip(channels, asked, strict=True)]
    assert shown[:2] == shown[2:] == ["people/a", "people/b"]
