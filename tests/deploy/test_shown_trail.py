"""What people see of the trail: lines, tables, pace, and what is not shown to anybody."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len

from mallku_client.trail import Selection
from mallku_contracts.audit import Record
from mallku_contracts.errors import ConfigurationError, InvalidSubject
from mallku_contracts.governed import Kind, adopted, refused
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import Verb, about_gateway
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.choosing import Chosen, with_intents
from mallku_deploy.auditing.described import describe_entry
from mallku_deploy.auditing.hiding import HIDDEN, Hiding
from mallku_deploy.auditing.lines import MAX_OPEN, Line, Lines
from mallku_deploy.auditing.pacing import Pace
from mallku_deploy.auditing.sampling import (
    BURST,
    SAMPLES_PER_S,
    TROUBLE_BURST,
    TROUBLES_PER_S,
    Sampler,
)
from mallku_deploy.auditing.table import MIN_WIDTH, Table, fit, took
from tests.deploy.shown_trail import HIDING, START_MS, command, effect, made

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRETS = ("Calle Sol", "99999", "s3cret")


def _line(**values: Any) -> Line:
    known: dict[str, Any] = {"principal": "mallku", "operation": "insert", "target": "people/k"}
    known |= {"sequence": 1, "time": START_MS, "kind": "done"}
    return Line(**(known | values))


# Lines


@pytest.mark.parametrize(
    ("operation", "arguments", "target"),
    [
        ("get", {"document": "k1"}, "people/k1"),
        ("get", {"document": "people/k1"}, "people/k1"),
        ("insert", {"document": {"_key": "k2", "salary": 1}}, "people/k2"),
        ("insert", {"document": {"name": "x"}}, "people"),
        ("get-many", {"documents": ["a", "b", "c"]}, "people/a +2"),
        ("insert-many", {"documents": [{"n": 1}, {"n": 2}]}, "people/… +1"),
        ("find", {"filters": {"kind": "khipu", "age": 3}}, "people?kind,age"),
        ("count", {}, "people"),
        ("drop-index", {"index": "by_age"}, "people by_age"),
        ("count", b"\xc1", "people"),
        ("count", b"", "people"),
        ("find", [1, 2], "people"),
    ],
)
def test_a_line_says_what_a_command_was_about(
    operation: str, arguments: object, target: str
) -> None:
    """The document's key, how many more there are, or what was filtered by; never a value."""
    intent = command(1, "intent", operation, arguments=arguments, id="a")
    outcome = command(2, "done", operation, id="a")
    lines = Lines(Hiding(None))
    assert [lines.add(*intent).target, lines.add(*outcome).target] == [target, target]


def test_what_was_touched_says_more_than_what_was_asked() -> None:
    """A key that the store made is known by its effect; batches and queries by their first."""
    lines = Lines(Hiding(None))
    lines.add(*command(1, "intent", arguments={"document": {"n": 1}}, id="a"))
    done = command(2, "done", id="a", effects=(effect("k9", {}),), steps={"open": 40, "x": 2})
    shown = lines.add(*done)
    assert (shown.target, shown.took_us, shown.sequence) == ("people/k9", 42, 2)
    query = command(3, "done", "aql", None, effects=(effect("a", {}), effect("b", None)))
    assert lines.add(*query).target == "people/a +1"
    counted = command(4, "done", "aql", None, effects=({"omitted": 7_000},))
    assert lines.add(*counted).target == "mallku (7000 documents)"


def test_queries_and_transactions_are_shown_by_what_they_say() -> None:
    """The text in one line; the steps with verb and collection."""
    lines = Lines(Hiding(None))
    asked = {"query": "FOR p IN people\n   FILTER p.age > 3\n RETURN p"}
    query = lines.add(*command(1, "intent", "aql", None, arguments=asked))
    assert query.target == "FOR p IN people FILTER p.age > 3 RETURN p"
    steps = [
        {"operation": "insert", "collection": "people", "arguments": {}},
        {"operation": "delete", "collection": "voices", "arguments": {}},
    ]
    several = command(2, "intent", "transaction", None, arguments={"steps": steps})
    assert lines.add(*several).target == "2 steps: insert people, delete voices"


def test_refusals_and_resolutions_say_why() -> None:
    """The error's code, what was found out, and how many one record stands for."""
    lines = Lines(Hiding(None))
    denied = lines.add(*command(1, "denied", code="permission_denied", count=57, id=""))
    assert (denied.detail, denied.count, denied.target) == ("permission_denied", 57, "people")
    resolved = lines.add(*command(2, "resolved", resolution="not-applied"))
    assert resolved.detail == "not-applied"


def test_the_gateways_own_records_have_lines_too() -> None:
    """Policies that were taken or refused, workers that start."""
    lines = Lines(Hiding(None))
    subjects: dict[CommandSubject, tuple[str, dict[str, Any], str]] = {
        adopted(Kind.POLICY, 4): ("done", {"policy": 4}, "policy 4"),
        refused(Kind.POLICY): ("denied", {"reason": "no signature"}, "policy: no signature"),
        about_gateway(Verb.START): ("done", {"facts": {"store": "embedded"}}, "w1 store=embedded"),
    }
    for subject, (kind, fields, target) in subjects.items():
        record = Record(kind, "w1", 1, START_MS, "", "_gateway", "", **fields)
        assert lines.add(*made(1, record, subject)).target == target


def test_intents_without_outcome_are_counted_within_bounds() -> None:
    """What waits for its outcome is remembered, and not for ever."""
    lines = Lines(Hiding(None))
    intent = command(1, "intent", "count", arguments={})
    for number in range(MAX_OPEN + 10):
        lines.add(intent[0], replace(intent[1], id=str(number)))
    assert lines.open_commands == MAX_OPEN
    lines.add(*command(2, "done", "count", id=str(MAX_OPEN)))
    assert lines.open_commands == MAX_OPEN - 1


def test_a_subject_that_is_none_has_no_names() -> None:
    """Whatever stands in the stream has a line."""
    _, record = command(1, "done")
    line = Lines(Hiding(None)).add(TrailEntry(1, "a.b", START_MS, b""), record)
    assert (line.principal, line.operation) == ("?", "?")


# Tables


def test_rows_fit_a_narrow_terminal_and_use_a_wide_one() -> None:
    """Columns stay in place, whatever stands in them; only the last may be longer."""
    lines = [
        _line(),
        _line(target="x" * 300, principal="p" * 64, operation="create-collection"),
        _line(target="人" * 50, took_us=1_234_567_890),
        _line(kind="denied", detail="idempotency_conflict", took_us=12),
    ]
    for width in (20, MIN_WIDTH, 120):
        table = Table(width)
        rows = [table.format(line)[-1].plain for line in lines]
        begins = max(width, MIN_WIDTH) - 22
        assert {cell_len(row[: row.rindex(" ") + 1]) for row in rows[:3]} == {begins}
        assert all(cell_len(row) <= max(width, MIN_WIDTH) for row in rows)
        header = table.header().plain
        assert header.index("OUTCOME") == begins


def test_the_date_is_said_when_it_changes() -> None:
    """Once for each day of the stream's clock, in UTC."""
    table = Table(80)
    times = [START_MS, START_MS + 1_000, START_MS + 86_400_000]
    shown = [[text.plain[:10] for text in table.format(_line(time=time))] for time in times]
    assert shown[0] == ["2026-11-24", "00:21:45 m"]
    assert shown[1] == ["00:21:46 m"]
    assert shown[2][0] == "2026-11-25"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (_line(), "done"),
        (_line(kind="denied", detail="busy"), "✗ busy"),
        (_line(kind="denied", detail="replayed", count=1_234), "✗ replayed x1,234"),
        (_line(kind="failed", detail="timeout"), "! timeout"),
        (_line(kind="resolved", detail="committed"), "↻ committed"),
    ],
)
def test_outcomes_are_told_apart_without_colours(line: Line, said: str) -> None:
    """A sign stands before everything that went wrong."""
    assert Table(80).format(line)[-1].plain.endswith(f" {said}")


def test_nothing_in_a_record_drives_the_terminal() -> None:
    """Line breaks, escapes and directions of writing become dots; markup stays text."""
    hostile = "a\x1b[2J\n\r\u202eb[red]c[/]\x07"
    row = Table(120).format(_line(target=hostile))[-1].plain
    assert row.isprintable()
    assert "[red]c[/]" in row
    assert fit("\x1b\x1b", 2) == "··"


def test_durations_take_seven_columns() -> None:
    """From a microsecond to an hour."""
    texts = [took(value) for value in (None, 1, 808, 9_987, 12_345, 999_499, 1_500_000, 10**10)]
    assert texts[:5] == ["", "0.00 ms", "0.81 ms", "10.0 ms", "12.3 ms"]
    assert texts[5:] == ["999 ms", "1.5 s", "10000 s"]


# Pace


def test_a_replay_keeps_the_distances() -> None:
    """The original speed, a multiple of it, and no wait at all; who is late catches up."""
    original, double, most = (Pace.read(text) for text in ("original", "2", "max"))
    assert [pace.wait_s(START_MS, 100.0) for pace in (original, double, most)] == [0, 0, 0]
    later = START_MS + 3_000
    assert [pace.wait_s(later, 101.0) for pace in (original, double, most)] == [2.0, 0.5, 0.0]
    assert original.wait_s(later, 110.0) == 0.0
    assert original.wait_s(START_MS + 12_000, 110.0) == 2.0


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf", "1e9"])
def test_a_speed_that_is_none_is_named(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigurationError, match="--speed"):
        Pace.read(text)


# What is chosen


def test_times_and_sequences_become_a_selection() -> None:
    """A time, or how long ago; names go to the server."""
    chosen = Chosen(since="10m", until="2026-11-24T11:59:00Z", principals=["mallku"])
    selection = chosen.selection(NOW)
    now_ms = int(NOW.timestamp() * 1_000)
    assert (selection.since_ms, selection.until_ms) == (now_ms - 600_000, now_ms - 60_000)
    assert selection.subjects() == ("mallku.v1.audit.mallku.*.*.*.*",)
    assert Chosen().selection(NOW) == Selection()
    assert Chosen(first=5, last=7).selection(NOW) == Selection(first=5, last=7)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"since": "yesterday"}, ConfigurationError),
        ({"since": "1h", "first": 3}, ConfigurationError),
        ({"since": "1h", "until": "2h"}, ConfigurationError),
        ({"follow": True, "until": "1h"}, ConfigurationError),
        ({"follow": True, "last": 9}, ConfigurationError),
        ({"outcomes": ["ok"]}, ConfigurationError),
        ({"collections": ["a*"]}, InvalidSubject),
    ],
)
def test_what_cannot_be_meant_is_said(wrong: dict[str, Any], error: type[Exception]) -> None:
    """Two beginnings, an end for what is followed, an unknown outcome, a glob."""
    with pytest.raises(error):
        Chosen(**wrong).selection(NOW)


def test_outcomes_are_read_with_their_intents() -> None:
    """An intent says what its outcome is about; without a choice everything comes anyway."""
    assert with_intents(Selection()) == Selection()
    assert with_intents(Selection(outcomes=("failed",))).outcomes == ("failed", "intent")
    assert with_intents(Selection(outcomes=("intent",))).outcomes == ("intent",)


# What is hidden


def _secrets(value: object) -> list[str]:
    text = json.dumps(value, default=str)
    return [secret for secret in SECRETS if secret in text]


STREET = {"home": {"street": "Calle Sol", "town": "Lima"}}
PAID = {"salary": 99999}
STEPS = [{"operation": "insert", "collection": "people", "arguments": {"document": PAID}}]
QUERY = "INSERT {salary: 99999, n: 's3cret', m: \"Calle Sol\"} INTO people"


@pytest.mark.parametrize(
    ("operation", "collection", "arguments"),
    [
        ("insert", "people", {"document": {"_key": "k", **PAID}}),
        ("update", "people2", {"document": STREET}),
        ("insert-many", "people", {"documents": [PAID, {"home": [STREET["home"]]}]}),
        ("find", "people", {"filters": {**PAID, "home.street": "Calle Sol"}}),
        ("update-match", "people", {"filters": STREET, "body": PAID}),
        ("upsert", "people", {"filters": {"a": 1}, "insert": PAID, "update": {"salary": "s3cret"}}),
        ("transaction", None, {"steps": STEPS}),
        ("aql", None, {"query": QUERY, "bind_vars": {"x": "Calle Sol", "@c": "people"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_hidden_fields_are_shown_nowhere(
    operation: str, collection: str | None, arguments: dict[str, Any]
) -> None:
    """Not in what was asked, not in what it is bound to, not in what became of it, not in lines."""
    assert _secrets(arguments)
    hiding = Hiding(HIDING)
    bound = {"set": {"salary": 99999}, "where": {"values": {"b0": 1}}}
    intent = command(1, "intent", operation, collection, arguments=arguments, bound=bound)
    new = {"_key": "k", "name": "Ana", "salary": 99999, "home": {"street": "Calle Sol"}}
    done = command(2, "done", operation, collection, effects=(effect("k", new),))
    shown = [describe_entry(entry, hiding) for entry, _ in (intent, done)]
    assert _secrets(shown) == []
    assert shown[1]["record"]["effects"][0]["new"] == {
        "_key": "k",
        "name": "Ana",
        "salary": HIDDEN,
        "home": {"street": HIDDEN},
    }
    lines = Lines(hiding)
    assert _secrets([lines.add(*intent).target, lines.add(*done).target]) == []


def test_what_no_rule_hides_is_shown() -> None:
    """Other fields, other collections, other databases, and everything without a policy."""
    hiding = Hiding(HIDING)
    document = {"salary": 1, "token": "t", "home": {"town": "Lima"}}
    assert hiding.veil(document, "mallku", "animals") == document
    assert hiding.veil(document, "mallku", "voices") == document
    assert hiding.veil(document, "sound", "voices") == document | {"token": HIDDEN}
    assert hiding.veil(document, "mallku", "people") == document | {"salary": HIDDEN}
    assert hiding.veil_query("RETURN 1", "mallku") == f"RETURN {HIDDEN}"
    assert Hiding(None).veil(document, "mallku", "people") == document
    assert Hiding(None).veil_query("RETURN 1", "mallku") == "RETURN 1"


@pytest.mark.parametrize(
    "query",
    [
        "FOR p IN people // don't\n FILTER p.n == 's3cret' RETURN p",
        "FOR p IN people FILTER p.`it's` == 's3cret' RETURN p",
        'FOR p IN people FILTER p.\xb4say"\xb4 == "s3cret" RETURN p',
        "FOR p IN people // who earns 99999\n RETURN p /* isn't Calle Sol",
    ],
)
def test_a_quote_in_a_comment_or_a_name_shows_nothing(query: str) -> None:
    """Strings begin where the language says, not at the first quote; comments hold values too."""
    shown = Hiding(HIDING).veil_query(query, "mallku")
    assert _secrets(query)
    assert (_secrets(shown), "people" in shown) == ([], True)


def test_a_described_message_says_where_it_stands() -> None:
    """Sequence, time, subject and hash of any message; what it says where it is a record."""
    entry, _ = command(7, "denied", code="busy", after_ms=250)
    shown = describe_entry(entry, Hiding(None))
    assert (shown["sequence"], shown["stored"]) == (7, "2026-11-24T00:21:45.250Z")
    assert shown["record"]["code"] == "busy"
    assert len(shown["hash"]) == 64
    junk = describe_entry(entry._replace(data=b"\xc1\xff"), Hiding(None))
    assert junk["unreadable"]["kind"] == "unknown"
    assert "record" not in junk


# What is shown of a fast trail


def test_successes_are_shown_while_one_can_read_along() -> None:
    """A burst is shown whole; beyond it some are, and the rest is counted by operation."""
    sampler = Sampler()
    shown = [sampler.shows(_line(), 50.0) for _ in range(BURST + 30)]
    shown += [sampler.shows(_line(operation="get"), 50.0) for _ in range(10)]
    assert sum(shown) == BURST
    assert shown[:BURST] == [True] * BURST
    assert sampler.summary().texts() == ["… 40 more done: insert 30, get 10"]
    assert sampler.summary().texts() == []
    second = sum(sampler.shows(_line(), 51.0) for _ in range(1_000))
    assert second == SAMPLES_PER_S


def test_troubles_are_shown_whatever_else_happens() -> None:
    """A thousand successes a second hide no refusal; a flood of refusals is summed up."""
    sampler = Sampler()
    trouble = _line(kind="denied", detail="permission_denied", principal="mallory")
    for number in range(1_000):
        sampler.shows(_line(), 1.0 + number / 1_000)
        if number % 100 == 0:
            assert sampler.shows(trouble, 1.0 + number / 1_000)
    flood = [sampler.shows(trouble, 2.0) for _ in range(1_000)]
    assert sum(flood) <= TROUBLE_BURST
    assert sampler.totals["denied"] == 1_010
    said = sampler.summary().texts()[-1]
    assert said.endswith(f"refused or failed: permission_denied of mallory {1_000 - sum(flood)}")
    assert sum(sampler.shows(trouble, 3.0) for _ in range(100)) == TROUBLES_PER_S


def test_a_record_of_many_refusals_counts_as_many() -> None:
    """In the totals, and where it is not shown."""
    sampler = Sampler()
    for _ in range(TROUBLE_BURST):
        sampler.shows(_line(kind="failed"), 1.0)
    assert not sampler.shows(_line(kind="denied", detail="busy", count=50), 1.0)
    assert sampler.summary().texts() == ["… 50 more refused or failed: busy of mallku 50"]
    assert sampler.totals == {"failed": TROUBLE_BURST, "denied": 50}


def test_everything_is_shown_when_that_is_asked_for() -> None:
    """Nothing is counted instead."""
    sampler = Sampler(everything=True)
    assert all(sampler.shows(_line(), 1.0) for _ in range(5 * BURST))
    assert sampler.summary().texts() == []
