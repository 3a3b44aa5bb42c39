"""The script for `nsc`, run by a shell; `nsc` itself is stood in for by what writes its words down.

Which options its commands have is from its manual, https://nats-io.github.io/nsc, and its source.
No real `nsc` runs here: whether it accepts the values is not shown.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mallku_broker.accounts import (
    CONFIRMATIONS,
    JOBS,
    MAX_AUDITORS_CONNECTIONS,
    MAX_CALLERS_CONNECTIONS,
    Account,
    Permissions,
    User,
)
from mallku_broker.mirror import keeper
from mallku_broker.nkeys import new_nkey
from mallku_broker.nsc import nsc_commands
from mallku_broker.permissions import worker_bus, worker_records

OPTIONS = {
    ("add", "account"): {"--name"},
    ("edit", "account"): {"--name", "--conns", "--js-disk-storage", "--js-streams"},
    ("describe", "account"): {"--name", "--field"},
    ("add", "export"): {
        *("--account", "--name", "--subject", "--service", "--response-type"),
        "--response-threshold",
    },
    ("add", "import"): {
        *("--account", "--name", "--src-account", "--remote-subject", "--local-subject"),
        "--share",
        "--service",
    },
    ("add", "user"): {
        *("--account", "--name", "--public-key", "--allow-pub", "--deny-pub", "--allow-sub"),
        "--deny-sub",
    },
}
SWITCHES = {"--service", "--share"}
RECORDS_KEY = "ARECORDS"
STAND_IN = f"""#!/bin/sh
printf '%s\\0' "$@" >> "$CALLS"
printf '\\n' >> "$CALLS"
if [ "$1" = describe ]; then echo '"{RECORDS_KEY}"'; fi
"""


def _users() -> list[User]:
    return [
        User("worker bus", new_nkey()[1], Account.MALLKU, worker_bus()),
        User("records", new_nkey()[1], Account.RECORDS, worker_records()),
        User("nobody", new_nkey()[1], Account.AUDITORS, Permissions()),
        User("keeper", new_nkey()[1], Account.KEEPERS, keeper("keeper")),
    ]


@pytest.fixture
def calls(tmp_path: Path) -> list[list[str]]:
    """The words of every call of `nsc` that the script makes, in order."""
    stand_in = tmp_path / "bin" / "nsc"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o700)
    heard = tmp_path / "calls"
    environment = {
        "PATH": f"{stand_in.parent}:{os.environ['PATH']}",
        "CALLS": str(heard),
    }
    done = subprocess.run(
        ["/bin/sh"],
        input=nsc_commands(_users()),
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\0")[:-1] for line in heard.read_text().splitlines()]


def _options(words: list[str]) -> dict[str, str]:
    """The options of a call, each with its value."""
    found: dict[str, str] = {}
    rest = iter(words[2:])
    for word in rest:
        found[word] = "" if word in SWITCHES else next(rest)
    return found


def test_every_call_is_one_that_nsc_knows(calls: list[list[str]]) -> None:
    """No command and no option is made up, and every option that needs a value has one."""
    for words in calls:
        assert _options(words).keys() <= OPTIONS[words[0], words[1]], words
        assert not [value for value in _options(words).values() if value.startswith("--")]


def test_what_is_imported_names_the_account_that_exports(calls: list[list[str]]) -> None:
    """The key of RECORDS is asked for and put in its place; subjects and kinds fit together."""
    exports = {
        _options(words)["--subject"]: "--service" in words
        for words in calls
        if words[:2] == ["add", "export"]
    }
    imports = [_options(words) for words in calls if words[:2] == ["add", "import"]]
    assert {each["--src-account"] for each in imports} == {RECORDS_KEY}
    assert {each["--remote-subject"]: "--service" in each for each in imports} == exports
    assert (exports[JOBS], exports[CONFIRMATIONS]) == (True, False)


def test_accounts_get_their_limits(calls: list[list[str]]) -> None:
    """As the server's own configuration has them."""
    edited = [_options(words) for words in calls if words[:2] == ["edit", "account"]]
    limits = {each["--name"]: each["--conns"] for each in edited if "--conns" in each}
    assert limits == {
        "MALLKU": str(MAX_CALLERS_CONNECTIONS),
        "AUDITORS": str(MAX_AUDITORS_CONNECTIONS),
    }


def test_users_come_with_their_lists_as_one_word_each(calls: list[list[str]]) -> None:
    """Names with blanks, subjects with `$` and `>` and queues arrive as they are."""
    users = [_options(words) for words in calls if words[:2] == ["add", "user"]]
    assert [each["--name"] for each in users] == ["worker bus", "records", "nobody", "keeper"]
    assert users[0]["--allow-sub"].split(",") == list(worker_bus().subscribe)
    assert users[1]["--allow-pub"].split(",") == list(worker_records().publish)
    assert (users[2]["--deny-pub"], users[2]["--deny-sub"]) == (">", ">")
