"""The auditor's commands against a real gateway: replay, history, export, tail."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import COMMAND, Up, clean_environment, run, until

INTERRUPTED = 130
SECRET = "Calle del Sol 7"
HIDING = """
version: 2
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write], hide: [home.street]}
      - {id: shapes, collections: ["*"], operations: [create-collection, create-index]}
  operator:
    rules:
      - {id: everything, collections: ["*"], operations: [read, write, admin]}
principals:
  mallku: {roles: [service]}
  operator: {roles: [operator]}
  auditor: {kind: auditor}
  inspector: {kind: inspector}
  administrator: {kind: administrator}
"""


def ask(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of an auditor of this gateway."""
    return run(*arguments, "--data", str(up.house))


def call(up: Up, operation: str, arguments: dict[str, Any], *, code: int = 0) -> None:
    """One command of the service."""
    done = up.call(operation, "people", json.dumps(arguments))
    assert done.returncode == code, done.stderr


@pytest.fixture(scope="module", autouse=True)
def people(up: Up, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A document with three versions and a removal, and an insert that failed."""
    policy = tmp_path_factory.mktemp("policy") / "hiding.yaml"
    policy.write_text(HIDING)
    assert up.call("create-collection", "people").returncode == 0
    home = {"street": SECRET, "town": "Lima"}
    call(up, "insert", {"document": {"_key": "ana", "age": 3, "home": home}})
    call(up, "get", {"document": "ana"})
    call(up, "update", {"document": {"_key": "ana", "age": 4}})
    call(up, "insert", {"document": {"_key": "ana"}}, code=1)
    call(up, "replace", {"document": {"_key": "ana", "name": "Ana"}})
    call(up, "insert", {"document": {"_key": "ines", "age": 5, "home": home}})
    call(up, "delete", {"document": "ana"})
    pushed = run("policy", "push", str(policy), "--data", str(up.house))
    assert pushed.returncode == 0, pushed.stderr


def replayed(up: Up, *arguments: str) -> list[dict[str, Any]]:
    """The records of a replay."""
    done = ask(up, "audit", "replay", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_replay_is_the_trail_in_order(up: Up) -> None:
    """Every record, with its place and its hash; intents hold what was asked."""
    records = replayed(up)
    assert [one["sequence"] for one in records] == list(range(1, len(records) + 1))
    intents = [one["record"] for one in records if one["record"]["kind"] == "intent"]
    assert [one["subject"].split(".")[-1] for one in intents if one["principal"] == "mallku"] == [
        *("create-collection", "insert", "get", "update", "insert", "replace", "insert", "delete")
    ]
    assert intents[2]["command"]["body"]["document"] == "ana"


def test_the_server_selects_what_is_replayed(up: Up) -> None:
    """By operation, outcome, principal, sequence and time."""
    failed = replayed(up, "--outcome", "failed")
    assert [one["record"]["code"] for one in failed] == ["unique_violation"]
    writes = replayed(up, "--operation", "update", "--operation", "replace", "--outcome", "done")
    assert [one["record"]["effects"][0]["key"] for one in writes] == ["ana", "ana"]
    adopted = replayed(up, "--principal", "_gateway", "--operation", "adopt")
    assert {one["record"]["policy"] for one in adopted} == {1, 2}
    at = writes[0]["sequence"]
    assert [one["sequence"] for one in replayed(up, "--from", str(at), "--to", str(at))] == [at]
    since = replayed(up, "--since", writes[0]["stored"], "--until", writes[1]["stored"])
    places = [one["sequence"] for one in since]
    assert places[0] <= at
    assert places[-1] >= writes[1]["sequence"]
    assert replayed(up, "--collection", "nothing") == []


def test_what_the_policy_hides_is_shown_by_no_command(up: Up, tmp_path: Path) -> None:
    """The policy in force hides it now, also in what was recorded before; the export has it all."""
    shown = [
        ask(up, "audit", "replay").stdout,
        ask(up, "audit", "replay", "--table").stdout,
        ask(up, "audit", "history", "people/ana").stdout,
        ask(up, "audit", "history", "people/ana", "--json").stdout,
        ask(up, "audit", "history", "people/ines", "--at", "0s").stdout,
    ]
    assert all(shown)
    assert SECRET not in "".join(shown)
    assert json.loads(shown[-1])["home"] == {"street": "<hidden>", "town": "Lima"}
    before = tmp_path / "before.yaml"
    before.write_text(HIDING.replace(", hide: [home.street]", ""))
    plain = ask(up, "audit", "history", "people/ines", "--at", "0s", "--policy", str(before))
    assert json.loads(plain.stdout)["home"]["street"] == SECRET


def test_the_table_has_a_line_for_each_command(up: Up) -> None:
    """With what it was about, and what became of it."""
    done = ask(up, "audit", "replay", "--principal", "mallku", "--table")
    header, date, *lines = [line.split() for line in done.stdout.splitlines()]
    assert header[:3] == ["TIME", "UTC", "WHO"]
    assert len(date) == 1
    assert [(words[2], words[3], words[-1]) for words in lines] == [
        ("create-col…", "people", "done"),
        ("insert", "people/ana", "done"),
        ("get", "people/ana", "done"),
        ("update", "people/ana", "done"),
        ("insert", "people/ana", "unique_violation"),
        ("replace", "people/ana", "done"),
        ("insert", "people/ines", "done"),
        ("delete", "people/ana", "done"),
    ]
    nothing = ask(up, "audit", "replay", "--outcome", "denied", "--table")
    assert (nothing.stdout, nothing.returncode) == ("", 0)
    assert "nothing" in nothing.stderr


def test_a_documents_history_is_told(up: Up) -> None:
    """Who, when, by which rule, what changed; oldest first."""
    done = ask(up, "audit", "history", "people/ana", "--json")
    versions = [json.loads(line) for line in done.stdout.splitlines()]
    assert [version["operation"] for version in versions] == [
        "insert",
        "update",
        "replace",
        "delete",
    ]
    assert {(version["principal"], version["rule"]) for version in versions} == {
        ("mallku", "service/documents")
    }
    assert versions[1]["changes"] == [{"what": "changed", "path": ["age"], "old": 3, "new": 4}]
    assert [version["state"] for version in versions][-1] == "removed"
    assert all(version["follows"] for version in versions)
    text = ask(up, "audit", "history", "people/ana").stdout
    assert "~ age: 3 → 4" in text
    assert '+ name: "Ana"' in text


def test_a_document_is_shown_as_it_was(up: Up) -> None:
    """At the time of each of its versions, and not before or after."""
    done = ask(up, "audit", "history", "people/ana", "--json")
    stored = [json.loads(line)["stored"] for line in done.stdout.splitlines()]
    then = ask(up, "audit", "history", "people/ana", "--at", stored[1])
    assert json.loads(then.stdout)["age"] == 4
    gone = ask(up, "audit", "history", "people/ana", "--at", stored[3])
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "removed by mallku" in gone.stderr
    never = ask(up, "audit", "history", "people/nobody")
    assert never.returncode == 1
    assert "knows no version" in never.stderr


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_export_verifies_offline(up: Up, tmp_path: Path, form: str) -> None:
    """With the trust file alone, and nobody to ask; an altered one does not."""
    folder, trust = tmp_path / "trail", tmp_path / "trust.json"
    done = ask(up, "audit", "export", "--to", str(folder), "--format", form, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] > 16
    shutil.copy(up.house / "trust.json", trust)
    verify = ("audit", "verify", "--export", str(folder), "--trust-file", str(trust))
    verified = run(*verify)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    again = ask(up, "audit", "export", "--to", str(folder), "--format", form, "--json")
    assert again.returncode == 0, again.stderr
    part = next(folder.glob("audit-*"))
    part.write_bytes(part.read_bytes()[:-1])
    assert run(*verify).returncode == 2


@contextmanager
def following(
    up: Up, folder: Path, *arguments: str
) -> Generator[tuple[Path, subprocess.Popen[bytes]]]:
    """A command that goes on until it is stopped, and the file with what it says."""
    said = folder / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--data", str(up.house)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
        )
    try:
        yield said, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize(
    "command", [("audit", "replay", "--follow", "--json"), ("tail", "-n", "200")]
)
def test_what_happens_is_followed_until_ctrl_c(
    up: Up, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """What is written from now on is shown within a moment; then it ends in order."""
    with following(up, tmp_path, *command) as (said, process):
        until("it says something", lambda: b"ines" in said.read_bytes())
        call(up, "get", {"document": "followed"})
        until("what happened is shown", lambda: b"followed" in said.read_bytes())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == INTERRUPTED
    assert b"Traceback" not in said.read_bytes()


def test_tail_shows_what_is_asked_for(up: Up, tmp_path: Path) -> None:
    """Failures alone, of which none is left out; what came before is counted from the end."""
    with following(up, tmp_path, "tail", "-n", "0", "--outcome", "failed") as (said, process):
        until("it follows", lambda: b"OUTCOME" in said.read_bytes())
        for _ in range(3):
            call(up, "insert", {"document": {"_key": "ines"}}, code=1)
            call(up, "get", {"document": "ines"})
        until("failures", lambda: said.read_bytes().count(b"! unique_violation") == 3)
        process.send_signal(signal.SIGINT)
        process.wait(10)
    lines = said.read_text().splitlines()
    assert not [line for line in lines if " get " in line]
    assert "seen: 3 failed" in said.read_text()


def test_original_speed_takes_as_long_as_it_took(up: Up) -> None:
    """A stretch of the trail, at its own pace and at a quarter of it."""
    call(up, "get", {"document": "a"})
    call(up, "get", {"document": "b"})
    records = replayed(up, "--operation", "get", "--outcome", "intent")[-2:]
    first, last = (datetime.fromisoformat(one["stored"]) for one in records)
    stretch = ("--from", str(records[0]["sequence"]), "--to", str(records[1]["sequence"]))
    for speed, times in (("original", 1), ("0.25", 4)):
        started = time.monotonic()
        assert len(replayed(up, *stretch, "--speed", speed)) >= 2
        assert time.monotonic() - started >= times * (last - first).total_seconds()


def test_who_has_read_enough_ends_it(up: Up) -> None:
    """A reader that closes its end, as `head` does: no error, no traceback."""
    with subprocess.Popen(
        [*COMMAND, "audit", "replay", "--json", "--follow", "--data", str(up.house)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        call(up, "get", {"document": "last"})
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_the_environment_of_up_leads_to_its_auditor(up: Up) -> None:
    """Whoever sourced it can read the trail of that gateway: the auditor's key lies beside."""
    done = run("audit", "replay", "--env-file", str(up.env_file), "--outcome", "failed", "--json")
    assert done.returncode == 0, done.stderr
    assert "unique_violation" in done.stdout


def test_a_caller_gets_no_answer_about_the_trail(up: Up, tmp_path: Path) -> None:
    """With the service's key alone there is nothing to read, and that is said."""
    key, env = tmp_path / "nats.nk", tmp_path / "env"
    shutil.copy(up.house / "principals" / "mallku" / "nats.nk", key)
    lines = up.env_file.read_text().splitlines()
    others = [line for line in lines if not line.startswith("MALLKU_NATS_CREDENTIALS")]
    env.touch(mode=0o600)
    env.write_text("\n".join([*others, f"MALLKU_NATS_CREDENTIALS={key}"]) + "\n")
    done = run("audit", "replay", "--env-file", str(env))
    assert (done.returncode, done.stdout) == (1, "")
    assert "kind auditor" in " ".join(done.stderr.split())
