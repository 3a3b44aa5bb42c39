"""`audit verify` and `audit prove` as people and machines call them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.trust import Trust
from tests.end_to_end.conftest import Up, run
from tests.support.made_trail import ISSUER, key_of

ANCHORS = "memory_anchors"


@pytest.fixture(scope="module", autouse=True)
def anchors(up: Up) -> None:
    """A collection with one document in it."""
    assert up.call("create-collection", ANCHORS).returncode == 0


@pytest.fixture
def receipt(up: Up, tmp_path: Path) -> Path:
    """A receipt that `call` kept."""
    path = tmp_path / "receipt.json"
    kept = ("--receipt-file", str(path))
    done = up.call("insert", ANCHORS, '{"document": {"kind": "khipu"}}', *kept)
    assert done.returncode == 0, done.stderr
    return path


def _audit(up: Up, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = run("audit", *arguments, "--data", str(up.house), "--json")
    assert len(done.stdout.splitlines()) == 1, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_trail_of_a_running_gateway_verifies(up: Up, receipt: Path, tmp_path: Path) -> None:
    """Exit code 0, and one line that says what was read; again, only what is new."""
    state = ("--state", str(tmp_path / "trail.state"))
    code, report = _audit(up, "verify", *state)
    assert (code, report["clean"], report["findings"]) == (0, True, [])
    assert report["signatures"] >= 2
    read = report["last"]
    up.call("count", ANCHORS)
    code, report = _audit(up, "verify", *state, "--against", str(receipt), "--jobs", "2")
    assert (code, report["clean"], report["first"]) == (0, True, read + 1)
    code, report = _audit(up, "verify", *state, "--from-start", "--no-signatures")
    assert (code, report["first"], report["signatures"]) == (0, 1, 0)


def test_a_verified_trail_is_said_in_words(up: Up) -> None:
    """What was read, and under how many checkpoints it stands."""
    done = run("audit", "verify", "--data", str(up.house))
    assert done.returncode == 0, done.stdout
    assert "the trail verifies" in done.stdout
    assert "checkpoints of 2 workers" in done.stdout


def test_a_receipt_is_proven_and_checked_offline(up: Up, receipt: Path, tmp_path: Path) -> None:
    """With the trust file alone, far from any gateway."""
    proof = tmp_path / "proof.json"
    code, proven = _audit(up, "prove", str(receipt), "--out", str(proof), "--with-record")
    assert (code, proven["verified"]) == (0, True)
    trust = shutil.copy(up.house / "trust.json", tmp_path / "trust.json")
    offline = ("--trust-file", str(trust), "--json")
    done = run("audit", "verify", "--receipt", str(proof), *offline)
    shown = json.loads(done.stdout)
    assert (done.returncode, shown["verified"]) == (0, True)
    assert shown["record"]["principal"] == "mallku"
    assert shown["checkpoint"]["worker"] == shown["receipt"]["worker"]
    words = run("audit", "verify", "--receipt", str(proof), "--trust-file", str(trust))
    assert "the receipt holds" in words.stdout
    assert "It does not prove" in words.stdout


def test_a_receipt_without_proof_says_what_is_missing(up: Up, receipt: Path) -> None:
    """It was given; that the record stands in the trail is still to be shown."""
    code, shown = _audit(up, "verify", "--receipt", str(receipt))
    assert (code, shown["checkpoint"]) == (0, None)
    assert any("audit prove" in line for line in shown["not_proven"])


def test_a_receipt_that_does_not_hold(up: Up, receipt: Path, tmp_path: Path) -> None:
    """By another trust file it proves nothing: exit code 1, and why."""
    others = tmp_path / "others.json"
    others.write_text(Trust.of(ISSUER, key_of("another issuer").public).to_json())
    code, shown = _audit(up, "verify", "--receipt", str(receipt), "--trust-file", str(others))
    assert (code, shown["verified"]) == (1, False)
    assert "reply:" in shown["reason"]


def test_a_file_that_is_no_receipt(up: Up, tmp_path: Path) -> None:
    """Nothing could be judged: exit code 2, and the file's name."""
    path = tmp_path / "other.json"
    path.write_text("{}")
    done = run("audit", "verify", "--receipt", str(path), "--data", str(up.house))
    assert done.returncode == 2
    assert "other.json" in done.stderr


def test_a_gateway_that_does_not_run(tmp_path: Path) -> None:
    """Exit code 2: that nothing was found there says nothing of the trail."""
    done = run("audit", "verify", "--data", str(tmp_path))
    assert done.returncode == 2
    assert "no gateway runs" in done.stderr


def test_the_environment_that_up_wrote_is_enough(up: Up) -> None:
    """It is a caller's, and means the auditor of the same house."""
    done = run("audit", "verify", "--env-file", str(up.env_file), "--json")
    assert (done.returncode, json.loads(done.stdout)["clean"]) == (0, True)


def test_a_receipt_is_refused_before_anything_is_sent(up: Up, receipt: Path) -> None:
    """Reads have none, and a file that is there is never overwritten."""
    read = up.call("count", ANCHORS, "--receipt-file", "r.json")
    assert (read.returncode, "no receipt" in read.stderr) == (1, True)
    again = up.call("insert", ANCHORS, '{"document": {}}', "--receipt-file", str(receipt))
    assert again.returncode == 1
    assert str(receipt) in again.stderr.replace("\n", "")
