"""The text of nats-server's configuration, as the server reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker.accounts import (
    Account,
    Permissions,
    User,
    accounts_text,
)
from mallku_broker.conf import conf_text
from mallku_broker.nkeys import new_nkey
from mallku_broker.permissions import worker_bus, worker_records
from mallku_broker.server import find_server


def _users() -> list[User]:
    return [
        User("bus", new_nkey()[1], Account.MALLKU, worker_bus()),
        User("records", new_nkey()[1], Account.RECORDS, worker_records()),
        User("nobody", new_nkey()[1], Account.AUDITORS, Permissions()),
        User("see", new_nkey()[1], Account.MALLKU, Permissions(("a",), ("b.>",), ("> >",))),
    ]


def _checked(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What the server says of a configuration that includes the text."""
    (folder / "accounts.conf").write_text(text)
    whole = folder / "server.conf"
    whole.write_text('port: -1\njetstream { store_dir: "js" }\ninclude "accounts.conf"\n')
    command = [str(find_server()), "-c", str(whole), "-t"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_server_reads_what_is_printed(tmp_path: Path) -> None:
    """All accounts with users, exports, imports and limits, included in a file of one's own."""
    done = _checked(tmp_path, accounts_text(_users()))
    assert done.returncode == 0, done.stderr
    assert "is valid" in done.stderr


def test_the_server_would_say_so_if_it_were_wrong(tmp_path: Path) -> None:
    """A word in the wrong place is refused: the check above is one."""
    text = accounts_text(_users()).replace("publish {", "publishes {", 1)
    assert _checked(tmp_path, text).returncode != 0


def test_it_is_written_as_people_write_it() -> None:
    """Blocks and lists, one entry a line, nothing of JSON's commas."""
    text = conf_text({"a": {"b": ["x.>", "y q"], "c": [{"d": 1}], "e": [], "f": True}})
    assert text == (
        'a {\n  b: [\n    "x.>"\n    "y q"\n  ]\n  c: [\n    {\n      d: 1\n    }\n  ]\n'
        "  e: []\n  f: true\n}\n"
    )


@settings(deadline=None)
@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_no_text_becomes_syntax(value: str, key: str) -> None:
    """Whatever a name holds, it takes one line, and what follows stands on its own."""
    lines = conf_text({key: value, "after": 1}).split("\n")
    assert len(lines) == 3
    assert lines[1:] == ["after: 1", ""]


@pytest.mark.parametrize("word", ["true", "OFF", "12", "1k", "$HOME", "a b"])
def test_words_that_mean_something_stay_text(word: str) -> None:
    """Booleans, numbers, sizes and variables are quoted like all text."""
    assert conf_text({"a": word}) == f'a: "{word}"\n'
