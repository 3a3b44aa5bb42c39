"""`store plan`, `apply` and `copy` as an administrator types them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mallku_deploy.cli import app
from mallku_workers.stores.copying import Credentials, Side, open_target, read_spec
from tests.support.simulated_arango import SimulatedArango
from tests.support.simulated_arango_users import Users

DECLARED = """\
databases:
  mallku:
    collections:
      people:
        indexes:
          - {name: by_age, fields: [age]}
users:
  looking: {access: read, password_file: looking.txt}
"""
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WAIT_S = 30.0


@pytest.fixture(autouse=True)
def _nobody_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine plays a part."""
    for name in os.environ:
        if name.startswith("MALLKU_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimulatedArango]:
    """A server with users and an empty database."""
    (tmp_path / "server").mkdir()
    simulated = SimulatedArango(tmp_path / "server")
    simulated.before = Users(simulated)
    yield simulated
    simulated.close()


def run(*arguments: object, given: str | None = None) -> Result:
    """The command's end; it never ends in a traceback."""
    done = CliRunner().invoke(app, ["store", *map(str, arguments)], input=given)
    assert "Traceback" not in done.output
    return done


def declare(folder: Path, text: str = DECLARED) -> Path:
    """A declaration in a file."""
    file = folder / "mallku.yaml"
    file.write_text(text)
    return file


def fill(folder: Path, count: int) -> None:
    """An embedded database with so many people."""

    async def work(side: Side) -> None:
        await side.ask("create-collection", "people")
        for start in range(0, count, 2_000):
            people = [
                {"_key": f"k{number:06}", "age": number, "text": "x" * 150}
                for number in range(start, min(start + 2_000, count))
            ]
            await side.ask("insert-many", "people", documents=people, silent=True)

    in_database(folder, work)


def in_database(folder: Path, work: Any) -> Any:
    """What `work` returns for the open database in a folder."""

    async def act() -> Any:
        async with open_target(read_spec(f"embedded:{folder}"), Credentials()) as side:
            return await work(side)

    return asyncio.run(act())


def test_exit_codes_say_whether_there_is_something_to_do(tmp_path: Path) -> None:
    """Plan: 2, then 0 after apply; the plan fits into 80 columns."""
    file, store = declare(tmp_path), tmp_path / "store"
    before = run("plan", file, "--directory", store)
    assert before.exit_code == 2
    assert "+ create" in before.stdout
    assert max(map(len, before.stdout.splitlines())) <= 80
    assert not store.exists()
    assert run("apply", file, "--directory", store, "--yes").exit_code == 0
    after = run("plan", file, "--directory", store)
    assert after.exit_code == 0
    assert "nothing to do" in after.stdout
    assert run("apply", file, "--directory", store).exit_code == 0


def test_a_store_is_named_as_for_a_copy(tmp_path: Path, server: SimulatedArango) -> None:
    """`embedded:DIR`, `arango:URL`; what is neither, and a database of one's own, are refused."""
    file, store = declare(tmp_path), tmp_path / "elsewhere"
    assert run("apply", file, "--store", f"embedded:{store}", "--yes").exit_code == 0
    assert run("plan", file, "--store", f"embedded:{store}").exit_code == 0
    assert (store / "mallku.sqlite").exists()
    assert run("plan", file, "--store", f"arango:{server.url}").exit_code == 2
    assert server.asked
    for wrong, said in (("mongo", "embedded:DIR"), (f"embedded:{store}#other", "no #database")):
        refused = run("plan", file, "--store", wrong)
        assert refused.exit_code == 1
        assert said in " ".join(refused.stderr.split())


def test_nothing_is_done_without_a_yes(tmp_path: Path) -> None:
    """Without --yes apply asks, and anything but a yes ends it with 2."""
    file, store = declare(tmp_path), tmp_path / "store"
    for answer in ("n\n", "\n"):
        assert run("apply", file, "--directory", store, given=answer).exit_code == 2
        assert not store.exists()
    assert run("apply", file, "--directory", store, given="y\n").exit_code == 0


def test_what_differs_has_to_be_named(tmp_path: Path) -> None:
    """A changed index stays, exit code 2 and the option that would change it; then it changes."""
    file, store = declare(tmp_path), tmp_path / "store"
    run("apply", file, "--directory", store, "--yes")
    declare(tmp_path, DECLARED.replace("[age]", "[age, name]"))
    blocked = run("apply", file, "--directory", store, "--yes")
    assert blocked.exit_code == 2
    assert "--drop index:mallku/people/by_age" in blocked.stderr
    named = ("--drop", "index:mallku/people/by_age")
    assert run("apply", file, "--directory", store, "--yes", *named).exit_code == 0
    assert json.loads(run("plan", file, "--directory", store, "--json").stdout)["pending"] is False


def test_mistakes_in_the_file_have_a_place(tmp_path: Path) -> None:
    """File, line and column; exit code 1; nothing was touched."""
    file = declare(tmp_path, DECLARED.replace("fields: [age]", "fields: []"))
    refused = run("plan", file, "--directory", tmp_path / "store")
    assert refused.exit_code == 1
    assert f"{file}:6:28: databases.mallku.collections.people.indexes.0.fields" in refused.stderr
    wrong = run("plan", declare(tmp_path), "--drop", "people")
    assert wrong.exit_code == 1
    assert "write KIND:NAME" in wrong.stderr


def test_arangodb_is_reached_as_workers_reach_it(
    tmp_path: Path, server: SimulatedArango, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's variables say where and who; the password is never shown."""
    (tmp_path / "root.txt").write_text("of root")
    (tmp_path / "root.txt").chmod(0o600)
    server.users["root"] = "of root"
    monkeypatch.setenv("MALLKU_WORKER_ARANGO_URL", server.url)
    monkeypatch.setenv("MALLKU_WORKER_STORE", "arango")
    file = declare(tmp_path)
    refused = run("plan", file)
    assert refused.exit_code == 1
    assert "does not believe" in refused.stderr
    monkeypatch.setenv("MALLKU_WORKER_ARANGO_PASSWORD_FILE", str(tmp_path / "root.txt"))
    assert run("plan", file).exit_code == 2
    done = run("apply", file, "--yes")
    assert done.exit_code == 0
    made = (tmp_path / "looking.txt").read_text().strip()
    assert server.users["looking"] == made
    assert made not in done.output
    assert "of root" not in done.output
    assert run("plan", file).exit_code == 0


def test_a_copy_is_compared_and_told(tmp_path: Path, server: SimulatedArango) -> None:
    """Embedded to ArangoDB and back by command: exit code 0, counts and digests, no state left."""
    fill(tmp_path / "a", 3_000)
    there = run("copy", "--from", f"embedded:{tmp_path / 'a'}", "--to", f"arango:{server.url}")
    assert there.exit_code == 0, there.output
    assert "3,000" in there.stdout
    assert "workers of both sides should be stopped" in there.stderr
    back = (f"arango:{server.url}#mallku", f"embedded:{tmp_path / 'b'}")
    done = run("copy", "--from", back[0], "--to", back[1], "--json")
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)
    assert found["same"]
    assert (found["source"], found["target"]) == (3_000, 3_000)
    assert found["source_digest"] == found["target_digest"]
    assert found["source_digest"][:16] in there.stdout
    assert list((tmp_path / "state").rglob("copy-*")) == []


def test_a_difference_ends_with_one_and_its_key(tmp_path: Path) -> None:
    """A document that only the target has is named, and the exit code is not 0."""
    fill(tmp_path / "a", 10)
    pair = ("--from", f"embedded:{tmp_path / 'a'}", "--to", f"embedded:{tmp_path / 'b'}")
    state = ("--state", tmp_path / "s.json")

    async def intrude(side: Side) -> None:
        await side.ask("create-collection", "people")
        await side.ask("insert", "people", document={"_key": "theirs"})

    in_database(tmp_path / "b", intrude)
    refused = run("copy", *pair, *state)
    assert refused.exit_code == 1
    assert "the target holds documents in people" in refused.stderr
    known = {"version": 1, "source": pair[1] + "#mallku", "target": pair[3] + "#mallku"}
    state[1].write_text(json.dumps({**known, "collections": {"people": {}}}))
    state[1].chmod(0o600)
    different = run("copy", *pair, *state)
    assert different.exit_code == 1
    assert "people/theirs" in ANSI.sub("", different.stderr)
    assert "only in the target" in different.stderr


def test_the_same_database_is_no_target(tmp_path: Path) -> None:
    """Nothing is copied into itself."""
    fill(tmp_path / "a", 1)
    one = f"embedded:{tmp_path / 'a'}"
    done = run("copy", "--from", one, "--to", f"{one}#mallku")
    assert done.exit_code == 1
    assert "the same database" in done.stderr


def test_a_killed_copy_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle; the same command copies the rest, each document once, and compares."""
    count = 40_000
    fill(tmp_path / "a", count)
    state = tmp_path / "s.json"
    command = [
        *(sys.executable, "-m", "mallku_deploy.entry", "store", "copy"),
        *("--from", f"embedded:{tmp_path / 'a'}", "--to", f"embedded:{tmp_path / 'b'}"),
        *("--state", str(state), "--json"),
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        copied = _wait_until_half_way(state, child)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert 0 < copied < count
    kept = json.loads(state.read_text())["collections"]["people"]
    assert kept["documents"] < count
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on with an earlier copy" in done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["source"], found["target"], found["same"]) == (count, count, True)
    assert not state.exists()


def _wait_until_half_way(state: Path, child: subprocess.Popen[bytes]) -> int:
    """How many documents were copied when some were and others were not."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and child.poll() is None:
        if state.exists():
            people = json.loads(state.read_text())["collections"].get("people", {})
            if people.get("documents"):
                return int(people["documents"])
        time.sleep(0.002)
    raise AssertionError("the copy was never seen half-way")
