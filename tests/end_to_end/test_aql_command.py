"""`mallku-gateway aql` against a real gateway: rows as they come, errors with their place."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import COMMAND, Up, clean_environment, run

ENDLESS = "FOR i IN 1..100000000 RETURN i"
INTERRUPTED = 130


@pytest.fixture(scope="module", autouse=True)
def anchors(up: Up) -> None:
    """Ten anchors."""
    assert up.call("create-collection", "memory_anchors").returncode == 0
    documents = json.dumps({"documents": [{"_key": f"a{n}", "n": n} for n in range(10)]})
    assert up.call("insert-many", "memory_anchors", documents).returncode == 0


def ask(up: Up, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """One query."""
    return run("aql", "--env-file", str(up.env_file), *arguments, stdin=stdin)


def test_rows_are_lines_of_json(up: Up) -> None:
    """In order, over several pages; what the query did is told beside them."""
    done = ask(up, "FOR a IN memory_anchors SORT a.n RETURN a.n", "--batch-size", "3", "--count")
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == list(range(10))
    assert "10 rows to come" in done.stderr
    assert "10 rows, 10 scanned" in done.stderr


def test_values_come_from_an_argument_or_a_file(up: Up, tmp_path: Path) -> None:
    """And the query from standard input."""
    text = "FOR a IN @@c FILTER a.n == @n RETURN a._key"
    binds = json.dumps({"@c": "memory_anchors", "n": 7})
    (tmp_path / "binds.json").write_text(binds)
    for done in (
        ask(up, text, "--bind", binds),
        ask(up, "-", "--bind-file", str(tmp_path / "binds.json"), stdin=text.encode()),
    ):
        assert (done.returncode, done.stdout) == (0, '"a7"\n')


def test_warnings_and_plans_are_told_on_standard_error(up: Up) -> None:
    """A plan instead of rows where nothing is to be run."""
    warned = ask(up, "FOR a IN memory_anchors LIMIT 1 RETURN 1 / 0", "--profile")
    assert warned.stdout == "null\n"
    assert "warning 1562" in warned.stderr
    assert "loop over memory_anchors: full" in warned.stderr
    explained = ask(up, "FOR a IN memory_anchors REMOVE a IN memory_anchors", "--explain")
    assert json.loads(explained.stdout)["collection"] == "memory_anchors"
    assert ask(up, "RETURN LENGTH(memory_anchors)").stdout == "10\n"


def test_a_wrong_query_is_shown_with_its_place(up: Up) -> None:
    """Code, number and message, then the line with a caret under the offending text."""
    done = ask(up, "FOR a IN memory_anchors\n  FILTER a.n >>> 3\n  RETURN a")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("invalid_query 450 (ArangoDB 1501)")
    line, caret = done.stderr.splitlines()[-2:]
    assert line == "2 |   FILTER a.n >>> 3"
    assert line[caret.index("^") :].startswith(">")


def test_a_collection_that_is_not_there_is_shown_with_its_place(up: Up) -> None:
    """Under both numbers; the policy lets the asker read what is not there."""
    done = ask(up, "FOR a IN memory_anchors\nFOR b IN nobody RETURN b")
    assert done.returncode == 1
    assert done.stderr.startswith("collection_not_found 420 (ArangoDB 1203)")
    line, caret = done.stderr.splitlines()[-2:]
    assert line[caret.index("^") :].startswith("nobody")


def test_rows_are_counted_with_and_without_the_last_limit(up: Up) -> None:
    """`--full-count` says both."""
    done = ask(up, "FOR a IN memory_anchors LIMIT 1 RETURN a.n", "--full-count")
    assert "1 row to come, 10 without the last LIMIT" in done.stderr


def test_who_has_read_enough_ends_it(up: Up) -> None:
    """A reader that closes its end, as `head` does: no error, no traceback."""
    with subprocess.Popen(
        [*COMMAND, "aql", "--env-file", str(up.env_file), ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"1\n", b"2\n"]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


def test_ctrl_c_ends_it_in_order(up: Up) -> None:
    """It ends as shells have it, says so, and the next query runs as ever."""
    with subprocess.Popen(
        [*COMMAND, "aql", "--env-file", str(up.env_file), ENDLESS, "--batch-size", "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert b"stopped before the end" in process.stderr.read()
        assert process.wait(10) == INTERRUPTED
    assert ask(up, "RETURN 1").stdout == "1\n"
