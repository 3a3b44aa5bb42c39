"""`audit reconcile` against a real `up`, as people and machines see it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.conftest import Up, run


def test_an_operator_asks_and_is_told(up: Up) -> None:
    """One line of JSON for machines, words for people, exit code 0; each request is another one."""
    assert up.call("create-collection", "reconciled").returncode == 0
    asked = []
    for _ in range(2):
        shown = run("audit", "reconcile", "--data", str(up.house), "--json")
        assert (shown.returncode, shown.stderr) == (0, "")
        facts = json.loads(shown.stdout)
        assert facts["floor"] >= 1
        asked.append(facts["asked"])
    assert asked[1] > asked[0] > 0
    shown = run("audit", "reconcile", "--data", str(up.house))
    assert shown.returncode == 0
    assert "intents without outcome" in shown.stdout


def test_where_nothing_runs_there_is_nobody_to_ask(tmp_path: Path) -> None:
    """The house is named, and how to start a gateway in it."""
    shown = run("audit", "reconcile", "--data", str(tmp_path / "nowhere"))
    assert shown.returncode != 0
    assert "nowhere" in shown.stderr
    assert "mallku-gateway up" in shown.stderr
