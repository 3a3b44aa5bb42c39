"""The commands of administrators against a real `up`, as people and machines see them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from mallku_broker.files import write_private_text
from tests.end_to_end.conftest import COMMAND, Up, clean_environment, run

ANCHORS = "memory_anchors"
WIDTH = 80


@pytest.fixture(scope="module", autouse=True)
def anchors(up: Up) -> None:
    """A collection, and a few commands on the trail."""
    assert up.call("create-collection", ANCHORS).returncode == 0
    for _ in range(3):
        assert up.call("count", ANCHORS).returncode == 0


def _narrow(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One run on a terminal of eighty columns."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=clean_environment() | {"COLUMNS": str(WIDTH)},
    )


def _in_force(up: Up) -> tuple[int, str]:
    text = (up.house / "adopted.yaml").read_text()
    version = next(line for line in text.splitlines() if line.startswith("version:"))
    return int(version.partition(":")[2]), text


def _next(up: Up, tmp_path: Path, *changes: tuple[str, str]) -> tuple[Path, int]:
    """The policy in force with a higher version and these changes, in a file."""
    version, text = _in_force(up)
    for old, new in (*changes, (f"version: {version}", f"version: {version + 1}")):
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "next.yaml"
    write_private_text(file, text)
    return file, version + 1


def test_a_push_says_which_worker_runs_what_since_when(up: Up, tmp_path: Path) -> None:
    """A table for people, one line of JSON for machines, exit code 0."""
    file, version = _next(up, tmp_path)
    shown = _narrow("policy", "push", str(file), "--data", str(up.house))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"version {version} is in force on 2 workers" in shown.stdout
    assert all(len(line) <= WIDTH for line in shown.stdout.splitlines())
    file, version = _next(up, tmp_path)
    told = run("policy", "push", str(file), "--data", str(up.house), "--json")
    (line,) = told.stdout.splitlines()
    answer = json.loads(line)
    assert (answer["kind"], answer["version"], answer["missing"]) == ("policy", version, [])
    assert len(answer["workers"]) == 2


def test_a_push_that_is_refused_says_where(up: Up, tmp_path: Path) -> None:
    """File, line and column of a fault; the version to write; exit code 1 for each."""
    file, _ = _next(up, tmp_path, ("roles:\n", "roless:\n"))
    refused = run("policy", "push", str(file), "--data", str(up.house))
    assert refused.returncode == 1
    assert f"{file}:" in refused.stderr
    version, _ = _in_force(up)
    stale = run("policy", "push", str(up.house / "adopted.yaml"), "--data", str(up.house))
    assert stale.returncode == 1
    assert f"version: {version + 1}" in stale.stderr


def test_a_push_without_a_gateway_says_how_to_name_one(tmp_path: Path) -> None:
    """Neither a data directory that runs nor an administrator's environment."""
    done = run("policy", "push", "policy.yaml", "--data", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "mallku-gateway up" in done.stderr


def test_a_diff_tells_by_its_exit_code(up: Up, tmp_path: Path) -> None:
    """0 where nothing changes, 3 where something does, with the commands and both rules."""
    same, _ = _next(up, tmp_path)
    found = _narrow("policy", "diff", str(same), "--data", str(up.house))
    assert (found.returncode, found.stderr) == (0, "")
    assert "every one the same" in found.stdout
    other, _ = _next(up, tmp_path, ("operations: [read, write]", "operations: [write]"))
    shown = _narrow("policy", "diff", str(other), "--data", str(up.house))
    assert shown.returncode == 3
    assert "newly refused: " in shown.stdout
    assert "service/documents → no rule" in shown.stdout
    assert all(len(line) <= WIDTH for line in shown.stdout.splitlines())
    told = run("policy", "diff", str(other), "--data", str(up.house), "--since", "1h", "--json")
    assert told.returncode == 3
    changes = json.loads(told.stdout)["changes"]
    assert {(one["operation"], one["direction"]) for one in changes} == {("count", "refused")}


def test_a_revocation_and_its_end(up: Up) -> None:
    """Refused with a code from the next command on, and no more once it is restored."""
    done = _narrow("keys", "revoke", "mallku", "--reason", "a test", "--data", str(up.house))
    assert (done.returncode, done.stderr) == (0, "")
    assert "revocation list version" in done.stdout
    assert "revoked 208" in up.call("count", ANCHORS).stderr
    assert run("keys", "revoke", "mallku", "--restore", "--data", str(up.house)).returncode == 0
    assert up.call("count", ANCHORS).returncode == 0


@pytest.mark.parametrize("more", [(), ("--reason", "why", "--restore")])
def test_a_revocation_is_one_or_the_other(up: Up, more: tuple[str, ...]) -> None:
    """Without a reason, or with one for a restoration, it was asked wrongly."""
    assert run("keys", "revoke", "mallku", *more, "--data", str(up.house)).returncode == 2


def test_the_lock_is_shown_in_every_form(up: Up) -> None:
    """A table with what is wider and why, a server's configuration, a script for nsc."""
    shown = _narrow("policy", "permissions", "--data", str(up.house))
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in ("mallku", "worker (records)", "publish", "subscribe", "wider", "NATS sees no"):
        assert word in shown.stdout
    assert all(len(line) <= WIDTH for line in shown.stdout.splitlines())
    conf = run("policy", "permissions", "--data", str(up.house), "--format", "conf")
    assert conf.stdout.startswith('system_account: "SYS"\naccounts {\n  MALLKU {\n')
    accounts = json.loads((up.house / "nats" / "nats-server.conf").read_text())["accounts"]
    keys = {user["nkey"] for account in accounts.values() for user in account["users"]}
    assert set(re.findall(r'nkey: "(U[A-Z2-7]{55})"', conf.stdout)) == keys
    script = run("policy", "permissions", "--data", str(up.house), "--format", "nsc").stdout
    checked = subprocess.run(["/bin/bash", "-n"], input=script, text=True, timeout=10, check=False)
    assert checked.returncode == 0
    assert script.count("nsc add user") == sum(len(each["users"]) for each in accounts.values())


def test_flags_are_checked_pushed_and_shown(up: Up, tmp_path: Path) -> None:
    """Signed and adopted like a policy; shown as they were written; nothing else changes."""
    house = ("--data", str(up.house))
    before = run("flags", "show", *house)
    assert (before.returncode, before.stdout) == (0, "")
    assert "flags push FILE" in before.stderr
    file = tmp_path / "flags.yaml"
    file.write_text("version: 1\ncollections:\n  '*': legacy\n  'a*': shadow\n")
    checked = run("flags", "check", str(file))
    assert checked.returncode == 0
    assert f"! {file}:4:3: collections.a*: never used: '*' comes before it" in checked.stdout
    pushed = run("flags", "push", str(file), *house, "--json")
    answer = json.loads(pushed.stdout)
    assert (answer["kind"], answer["version"], answer["missing"]) == ("flags", 1, [])
    assert len(answer["workers"]) == 2
    assert run("flags", "show", *house).stdout == file.read_text()
    values = json.loads(run("flags", "show", *house, "--json").stdout)
    assert values["collections"] == {"*": "legacy", "a*": "shadow"}
    again = run("flags", "push", str(file), *house)
    assert again.returncode == 1
    assert "version: 2" in again.stderr
    file.write_text("version: 2\ncolection: {}\n")
    refused = run("flags", "push", str(file), *house)
    assert refused.returncode == 1
    assert f"{file}:2:1: colection: there is no such key; did you mean 'collections'?" in " ".join(
        refused.stderr.split()
    )
    assert up.call("count", ANCHORS).returncode == 0
