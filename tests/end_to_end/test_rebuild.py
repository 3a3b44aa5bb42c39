"""`audit rebuild` and `audit hash` against a real `up`: from its trail alone, the same database."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.files import load_digests
from tests.end_to_end.conftest import COMMAND, Up, clean_environment, run

DOCUMENTS = 300
KNOWS = {
    "edge_collection": "knows",
    "from_vertex_collections": ["rebuilt"],
    "to_vertex_collections": ["rebuilt"],
}


def call(up: Up, operation: str, collection: str, **arguments: Any) -> None:
    """One command of the operator."""
    who = ("--as", "operator", "--data", str(up.house))
    done = run("call", operation, collection, json.dumps(arguments), *who)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", autouse=True)
def lived(up: Up) -> None:
    """Documents that came, changed and went; an edge, an index, a graph, a query."""
    call(up, "create-collection", "rebuilt")
    call(up, "create-collection", "knows", edge=True)
    documents = [{"_key": f"k{n}", "n": n, "half": n / 2} for n in range(DOCUMENTS)]
    call(up, "insert-many", "rebuilt", documents=documents, silent=True)
    call(up, "insert", "rebuilt", document={"n": -1})
    call(up, "create-index", "rebuilt", fields=["n"], unique=True)
    call(up, "update-match", "rebuilt", filters={"n": 7}, body={"more": [1.5, None, "ü"]})
    call(up, "delete", "rebuilt", document="k9")
    edge = {"_from": "rebuilt/k1", "_to": "rebuilt/k2"}
    call(up, "insert", "knows", document=edge)
    call(up, "create-graph", "@", name="friends", edge_definitions=[KNOWS])
    query = "FOR d IN rebuilt FILTER d.n < 5 UPDATE d WITH {low: true} IN rebuilt"
    call(up, "aql", "@", query=query)


def rebuild(up: Up, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One rebuild out of this gateway's trail."""
    return run(*_rebuild(up, folder), *arguments)


def _rebuild(up: Up, folder: Path) -> tuple[str, ...]:
    into, state = f"embedded:{folder / 'again'}", str(folder / "work.sqlite")
    return ("audit", "rebuild", "--into", into, "--data", str(up.house), "--state", state)


def store_of(up: Up) -> str:
    """What the workers write to."""
    return f"embedded:{up.house / 'store'}"


def test_the_trail_alone_makes_the_same_database(up: Up, tmp_path: Path) -> None:
    """Documents under the same keys, field by field; indexes and graphs; nothing is left behind."""
    done = rebuild(up, tmp_path, "--compare-with", store_of(up), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["whole"], said["same"], said["differences"]) == (True, True, [])
    assert said["documents"]["rebuilt"] == DOCUMENTS
    assert said["documents"]["knows"] == 1
    assert not (tmp_path / "work.sqlite").exists()


def test_people_are_told_in_words(up: Up, tmp_path: Path) -> None:
    """And what is not empty is refused by name."""
    done = rebuild(up, tmp_path, "--compare-with", store_of(up))
    assert "commits were put into the target" in done.stdout
    assert "field by field" in done.stdout
    again = rebuild(up, tmp_path)
    assert again.returncode == 1
    assert "not empty" in again.stderr
    assert "rebuilt" in again.stderr


def test_an_export_is_enough(up: Up, tmp_path: Path) -> None:
    """Where the streams are gone, a copy of them will do."""
    exported = run(
        "audit", "export", "--to", str(tmp_path / "trail"), "--data", str(up.house), "-q"
    )
    assert exported.returncode == 0, exported.stderr
    into, state = f"embedded:{tmp_path / 'again'}", str(tmp_path / "work.sqlite")
    done = run(
        *("audit", "rebuild", "--into", into, "--state", state),
        *("--export", str(tmp_path / "trail"), "--compare-with", store_of(up), "--json"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["same"] is True


def test_what_differs_is_listed_and_ends_with_1(up: Up, tmp_path: Path) -> None:
    """The past is not the present: each document that changed since is named."""
    shown = run(
        "audit",
        "replay",
        "--outcome",
        "done",
        "--operation",
        "insert-many",
        "--json",
        "--collection",
        "rebuilt",
        "--data",
        str(up.house),
    )
    sequence = json.loads(shown.stdout.splitlines()[0])["sequence"]
    only = ("--collections", "rebuilt,knows", "--until", str(sequence))
    done = rebuild(up, tmp_path, *only, "--compare-with", store_of(up), "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["whole"] is True
    found = set(said["differences"])
    assert {"rebuilt/k9: only in the target", "rebuilt/k7: differs"} <= found
    assert any(line.startswith("index of rebuilt") for line in found)
    assert "graph friends: missing" in found


def test_a_killed_rebuild_goes_on(up: Up, tmp_path: Path) -> None:
    """Killed while it reads, then while it writes: given again with --resume it ends the same."""
    killed = _kill(up, tmp_path, (tmp_path / "work.sqlite").exists)
    assert killed
    refused = rebuild(up, tmp_path)
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    target = tmp_path / "again" / "mallku.sqlite"
    _kill(up, tmp_path, target.exists, "--resume")
    resume = ("--resume",) if (tmp_path / "work.sqlite").exists() else ()
    done = rebuild(up, tmp_path, *resume, "--compare-with", store_of(up), "--json")
    if resume:
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["same"] is True


def _kill(up: Up, folder: Path, when: Callable[[], bool], *arguments: str) -> bool:
    """Begin a rebuild and kill it as soon as that holds; False when it was quicker."""
    command = [*COMMAND, *_rebuild(up, folder), *arguments]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())
    while process.poll() is None and not when():
        time.sleep(0.002)
    process.kill()
    return process.wait() != 0


def test_nothing_is_there_to_go_on_with(up: Up, tmp_path: Path) -> None:
    """--resume without a beginning is a mistake, and says so."""
    done = rebuild(up, tmp_path, "--resume")
    assert done.returncode == 1
    assert "nothing to go on with" in done.stderr


def test_a_value_is_hashed_as_records_have_it(up: Up) -> None:
    """By the key in the house, or a named one; a number in any spelling."""
    digests = load_digests(up.house / "digest.key")
    house = ("--data", str(up.house))
    assert run("audit", "hash", "ana", *house).stdout.strip() == digests.of("ana")
    for text in ("5", "5.0", "5e0"):
        assert run("audit", "hash", text, *house).stdout.strip() == digests.of(5)
    named = run("audit", "hash", "5.0", "--string", "--key-file", str(up.house / "digest.key"))
    assert named.stdout.strip() == digests.of("5.0") != digests.of(5)
    assert (up.house / "digest.key").stat().st_mode & 0o777 == 0o600
    nowhere = run("audit", "hash", "x", "--data", str(up.folder))
    assert nowhere.returncode == 1
    assert "--key-file" in nowhere.stderr
