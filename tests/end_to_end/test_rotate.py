"""`audit rotate` against a real `up`: everything that reads the trail goes on over the seam."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.conftest import Up, run


def test_everything_reads_a_rotated_trail_as_one(up: Up, tmp_path: Path) -> None:
    """Verify, prove, history, trace, custody and rebuild, from either side of the seam."""
    house = ("--data", str(up.house))
    receipt, state = tmp_path / "before.json", tmp_path / "trail.state"
    assert up.call("create-collection", "rotated").returncode == 0
    document = '{"document": {"_key": "k1", "side": "before"}}'
    assert up.call("insert", "rotated", document, "--receipt-file", str(receipt)).returncode == 0
    assert run("audit", "verify", *house, "--state", str(state)).returncode == 0

    shown = run("audit", "rotate", *house, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    made = json.loads(shown.stdout)
    assert made["stream"] != made["sealed"]

    changed = '{"document": {"_key": "k1", "side": "behind"}}'
    assert up.call("update", "rotated", changed).returncode == 0
    for more in ((), ("--state", str(state))):
        shown = run("audit", "verify", *house, *more)
        assert shown.returncode == 0, shown.stdout
    assert run("audit", "prove", str(receipt), *house).returncode == 0
    assert run("audit", "verify", *house, "--receipt", str(receipt)).returncode == 0
    assert run("audit", "verify", *house, "--against", str(receipt)).returncode == 0
    history = run("audit", "history", "rotated/k1", *house)
    assert "before → behind" in history.stdout.replace('"', "")
    for operation in ("insert", "update"):
        done = run(
            "audit", "replay", *house, "--operation", operation, "--json"
        ).stdout.splitlines()
        last = json.loads(done[-1])
        traced = run("trace", last["record"]["id"], *house, "--json")
        assert traced.returncode == 0, traced.stderr
        [attempt] = json.loads(traced.stdout)["attempts"]
        assert [each["kind"] for each in attempt["records"]] == ["intent", "done"]
        assert attempt["records"][-1]["sequence"] == last["sequence"]
        assert (last["sequence"] > made["last"]) == (operation == "update")
    kept = run("audit", "custody", *house, "--json")
    assert kept.returncode == 0
    streams = [each["stream"] for each in json.loads(kept.stdout)]
    assert streams[-3:] == [made["sealed"], made["stream"], "MALLKU_CHECKPOINTS"]
    again = f"embedded:{tmp_path / 'again'}"
    rebuilt = run("audit", "rebuild", *house, "--into", again, "--collections", "rotated")
    assert rebuilt.returncode == 0, rebuilt.stdout
    said = run("audit", "replay", *house, "--operation", "rotate", "--json")
    facts = json.loads(said.stdout.splitlines()[-1])["record"]["facts"]
    assert (facts["sealed"], facts["last"]) == (made["sealed"], made["last"])


def test_where_nothing_runs_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """The house is named, and how to start a gateway in it."""
    shown = run("audit", "rotate", "--data", str(tmp_path / "nowhere"))
    assert shown.returncode != 0
    assert "mallku-gateway up" in shown.stderr
