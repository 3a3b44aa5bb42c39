"""What `aql` shows: rows for people and for programs, and where a query is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mallku_contracts.results import QueryStatistics
from mallku_deploy import rows
from mallku_deploy.caret import point_at
from mallku_deploy.cli import app
from mallku_deploy.commands.aql import account, announced

RUNNER = CliRunner()
WIDTH = 80


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal of 80 columns."""
    console = Console(width=WIDTH, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(rows, "out", console)
    return console


def shown(terminal: Console, values: list[Any], *, table: bool = False, lines: bool = False) -> str:
    """What stands on the terminal."""
    with terminal.capture() as captured:
        rows.rows_shower(as_json=lines, as_table=table)(values)
    return captured.get()


@pytest.mark.parametrize(
    ("text", "line", "column", "expected"),
    [
        ("RETURN x", 1, 8, "1 | RETURN x\n  |        ^"),
        ("FOR a IN b\n  FILTER\nRETURN a", 2, 3, "2 |   FILTER\n  |   ^"),
        ("RETURN", 1, 7, "1 | RETURN\n  |       ^"),
        ("RETURN", 9, 99, "1 | RETURN\n  |       ^"),
        ("\tRETURN x", 1, 9, "1 |  RETURN x\n  |         ^"),
        ("", 1, 1, "1 | \n  | ^"),
        ("RETURN \x1b[31m x", 1, 8, "1 | RETURN  [31m x\n  |        ^"),
    ],
)
def test_a_caret_stands_under_the_place(text: str, line: int, column: int, expected: str) -> None:
    """Tabs and what a terminal would obey take one column; behind the end is the end."""
    assert point_at(text, line, column) == expected


DID: QueryStatistics = {
    "writes_executed": 0,
    "writes_ignored": 0,
    "scanned_full": 0,
    "scanned_index": 0,
    "filtered": 0,
    "peak_memory": 142,
}


@pytest.mark.parametrize(
    ("rows_shown", "did", "told"),
    [
        (1, {}, "1 row"),
        (0, {}, "0 rows"),
        (2, {"scanned_full": 7, "filtered": 5}, "2 rows, 7 scanned, 5 filtered out"),
        (1, {"scanned_index": 1, "writes_executed": 1}, "1 row, 1 written, 1 found by index"),
        (3, {"peak_memory": 2_500_000}, "3 rows, memory used at most 2.5 MB"),
    ],
)
def test_what_a_query_did_is_told_in_one_line(
    rows_shown: int, did: dict[str, int], told: str
) -> None:
    """As people say it, and without what nobody would ask for."""
    statistics: Any = {**DID, **did}
    assert account(rows_shown, statistics) == told


@pytest.mark.parametrize(
    ("count", "full_count", "told"),
    [
        (None, None, None),
        (1, None, "1 row to come"),
        (10, None, "10 rows to come"),
        (3, 50, "3 rows to come, 50 without the last LIMIT"),
    ],
)
def test_how_many_rows_will_come_is_told_where_it_was_asked(
    count: int | None, full_count: int | None, told: str | None
) -> None:
    """With `--count`, and beside it with `--full-count`."""
    assert announced(count, full_count) == told


@pytest.mark.parametrize("column", [1, 40, 100, 199, 200])
def test_of_a_long_line_the_part_around_the_caret_is_shown(column: int) -> None:
    """Within the width, the caret under its character."""
    text = "".join(chr(ord("a") + n % 26) for n in range(200))
    line, caret = point_at(text, 1, column, WIDTH).splitlines()
    assert len(line) < WIDTH
    assert line[caret.index("^")] == text[column - 1]
    assert line.count("…") == (1 if column in {1, 40, 199, 200} else 2)


def test_programs_get_a_line_of_json_for_each_row(
    capsys: pytest.CaptureFixture[str], terminal: Console
) -> None:
    """When it is asked for, and when nobody looks."""
    values: list[Any] = [{"a": "é\n"}, [1, None], "x", 1.5, None]
    shown(terminal, values, lines=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == values


def test_people_get_a_table_of_maps(terminal: Console) -> None:
    """The key first, numbers to the right, what is missing as null."""
    text = shown(terminal, [{"n": 10, "_key": "a"}, {"_key": "b", "tags": ["x", 1]}])
    lines = [line.split() for line in text.splitlines()]
    assert lines == [["_key", "n", "tags"], ["a", "10", "null"], ["b", "null", '["x",', "1]"]]


def test_people_get_indented_json_of_everything_else(terminal: Console) -> None:
    """Rows that are no maps, and maps with more fields than fit."""
    assert shown(terminal, [[1, 2]]).split() == ["[", "1,", "2", "]"]
    wide = {f"field{n}": n for n in range(rows.MAX_TABLE_COLUMNS + 1)}
    assert json.loads(shown(terminal, [wide])) == wide


def test_a_table_keeps_to_its_terminal(terminal: Console) -> None:
    """However long the values are and however many; also rows that are no maps."""
    values: list[Any] = [{f"f{n}": "long " * 20 for n in range(20)}, 5, None]
    text = shown(terminal, values, table=True)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert shown(terminal, [], table=True) == ""


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "[bold]x[/]", "\u202egnp", "a\r\nb"])
def test_what_is_stored_cannot_speak_to_the_terminal(terminal: Console, hostile: str) -> None:
    """Neither escape sequences, nor markup, nor marks that turn the direction of writing."""
    for text in (
        shown(terminal, [{"a": hostile, hostile: 1}]),
        shown(terminal, [hostile], table=True),
        shown(terminal, [[hostile]]),
    ):
        assert not set("\x1b\x9b\u202e\r") & set(text)
        assert "[bold]" in text or "bold" not in hostile


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("RETURN 1", "--bind", "{"), "not JSON"),
        (("RETURN 1", "--bind", "[1]"), "expected a JSON object"),
        (("RETURN 1", "--bind", "{}", "--bind-file", "x"), "either --bind or --bind-file"),
        (("RETURN 1", "--bind-file", "/nowhere/binds.json"), "/nowhere/binds.json"),
    ],
)
def test_what_was_typed_wrong_is_said_before_anything_is_sent(
    arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 1, one line, nothing on standard output."""
    done = RUNNER.invoke(app, ["aql", *arguments], env={"COLUMNS": "200"})
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
