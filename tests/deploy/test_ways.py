"""How a command's way is drawn, and which records belong to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.audit import Record
from mallku_contracts.codec import pack
from mallku_contracts.identifiers import uuid7
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Lines
from mallku_deploy.ways.drawing import bar, described, draw
from mallku_deploy.ways.way import Found, Step, Way

NOW_MS = 1_800_000_000_000
FIRST, SECOND, OTHER = (uuid7(NOW_MS, number) for number in (1, 2, 3))
TOOK = {"admit": 100, "open": 0, "identify": 400}


def _found(sequence: int, kind: str, command: str, **fields: Any) -> Found:
    """A record as the trail would hold it; an intent carries its idempotency key."""
    if kind == "intent":
        signed_ms = fields.pop("signed_ms", NOW_MS)
        protected = pack({"idem": fields.pop("idem", command), "iat": signed_ms})
        fields["command"] = (protected, pack({"document": "k"}), b"", b"")
    record = Record(
        kind=kind,
        worker="w",
        number=sequence,
        time=NOW_MS + sequence,
        id=command,
        principal="mallku",
        subject="mallku.v1.cmd.mallku.mallku.khipu.get",
        steps=TOOK,
        **fields,
    )
    subject = f"mallku.v1.audit.mallku.mallku.khipu.get.{kind}"
    entry = TrailEntry(sequence, subject, NOW_MS + sequence, record.pack())
    return Found(entry, record, Lines(Hiding(None)).add(entry, record))


def _way(*found: Found, wanted: str = FIRST) -> Way:
    way = Way(wanted)
    for each in found:
        way.add(each)
    return way


def _drawn(way: Way) -> str:
    return "\n".join(line.plain for line in draw(way, 80))


@pytest.mark.parametrize(
    ("signed_ms", "said"),
    [
        (NOW_MS - 5, "5.50 ms before"),
        (NOW_MS, "less than 2 ms before"),
        (NOW_MS + 1, "less than 2 ms before"),
        (NOW_MS + 2, "clocks stand apart"),
    ],
)
def test_clocks_are_called_apart_when_they_are(signed_ms: int, said: str) -> None:
    """Both times are whole milliseconds, so that a quick command may seem to come before it."""
    drawn = _drawn(_way(_found(1, "intent", FIRST, signed_ms=signed_ms)))
    assert said in drawn


def test_records_of_other_commands_are_not_taken() -> None:
    """Neither those with another id, nor those with another key."""
    way = _way(
        _found(1, "intent", OTHER),
        _found(2, "intent", FIRST, idem="mine"),
        _found(3, "done", OTHER),
    )
    assert [attempt.id for attempt in way.attempts] == [FIRST]
    assert not way.is_over


def test_attempts_with_the_same_key_belong_together() -> None:
    """Their outcomes do too, in the order of the stream."""
    way = _way(
        _found(1, "intent", FIRST, idem="mine"),
        _found(2, "failed", FIRST, code="unavailable", number_of=501),
        _found(3, "intent", SECOND, idem="mine", attempt=2),
        _found(4, "done", SECOND, replayed_of=FIRST),
    )
    kinds = [[each.record.kind for each in attempt.records] for attempt in way.attempts]
    assert kinds == [["intent", "failed"], ["intent", "done"]]
    assert "unavailable" in _drawn(way)
    assert "nothing was done again" in _drawn(way)


def test_what_has_no_end_says_so_until_it_was_found_out() -> None:
    """An open intent, then what the reconciler says of it."""
    intent = _found(1, "intent", FIRST)
    assert "no outcome yet" in _drawn(_way(intent))
    resolves = {"worker": "w", "number": 1, "sequence": 1}
    told = _found(2, "resolved", FIRST, resolves=resolves, resolution="not-applied", reason="gone")
    way = _way(intent, told)
    assert way.is_over
    assert "not-applied: gone" in _drawn(way)
    assert described(way)["attempts"][0]["records"][1]["resolution"] == "not-applied"


def test_a_record_without_steps_is_drawn_too() -> None:
    """Records of older workers, or refusals before the first step: no bars, and no failure."""
    found = _found(1, "denied", FIRST, code="stale_command")
    bare = found._replace(
        record=Record.read(found.entry.data).__class__(
            **{
                **{
                    name: getattr(found.record, name)
                    for name in ("kind", "worker", "number", "time")
                },
                **{
                    name: getattr(found.record, name)
                    for name in ("id", "principal", "subject", "code")
                },
            }
        )
    )
    drawn = _drawn(_way(bare))
    assert "stale_command" in drawn
    assert "received" not in drawn


def test_what_would_drive_a_terminal_is_not_printed() -> None:
    """Step names come from records, which somebody may have forged."""
    found = _found(1, "done", FIRST)
    steps = {"\x1b[2J\nadmit": 5}
    forged = found._replace(
        record=Record(
            kind="done",
            worker="w",
            number=1,
            time=NOW_MS,
            id=FIRST,
            principal="mallku",
            subject=found.record.subject,
            steps=steps,
        )
    )
    drawn = _drawn(_way(forged))
    assert "\x1b" not in drawn


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12), st.integers(20, 200))
def test_bars_fit_their_room_and_are_seen(took: list[int], room: int) -> None:
    """However the times are spread: none is longer than the room, and none is invisible."""
    begin, steps = 0, list[Step]()
    for number in took:
        steps.append(Step("x", begin, number))
        begin += number
    for step in steps:
        drawn = bar(step, begin, room)
        assert len(drawn) <= room
        assert begin == 0 or drawn.strip()
