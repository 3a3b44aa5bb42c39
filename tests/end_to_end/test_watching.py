"""`ps` and `health` as an operator types them, on a real `up`."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.end_to_end.conftest import Up, run, until


def test_an_operator_sees_every_worker(up: Up) -> None:
    """Verified names, the commands that were carried out, and where metrics are, for both forms."""
    assert up.call("create-collection", "watched").returncode == 0
    shown = run("ps", "--once", "--every", "0.2", "--data", str(up.house))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "worker-1" in shown.stdout
    assert "worker-2" in shown.stdout
    assert "store embedded (flush)" in shown.stdout
    machine = run("ps", "--once", "--json", "--env-file", str(up.env_file))
    workers = [json.loads(line) for line in machine.stdout.splitlines()]
    assert [one["worker"] for one in workers] == ["worker-1", "worker-2"]
    assert all(one["verified"] for one in workers)
    assert sum(one["requests"] for one in workers) >= 1
    assert {one["http"] for one in workers} == {
        group["targets"][0] for group in json.loads((up.house / "prometheus.json").read_text())
    }
    assert all(f"http://{one['http']}/metrics" in up.said for one in workers)


def test_health_is_an_exit_code(own_up: Up) -> None:
    """0 while both are ready; 1, with how many answer, while one hangs; and per worker by HTTP."""
    fine = run("health", "--data", str(own_up.house))
    assert (fine.returncode, fine.stdout.count("ready")) == (0, 2)
    address = json.loads((own_up.house / "prometheus.json").read_text())[0]["targets"][0]
    assert run("health", "--http", address).returncode == 0
    pid = own_up.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        lame = run("health", "--data", str(own_up.house))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert lame.returncode == 1
    assert "1 of 2 workers answer" in lame.stdout
    until("both again", lambda: run("health", "--data", str(own_up.house)).returncode == 0)


def test_health_for_machines(up: Up) -> None:
    """One line of JSON with every part of every worker; more workers than there are is unfit."""
    shown = run("health", "--json", "--data", str(up.house))
    said = json.loads(shown.stdout)
    assert (said["ready"], said["expected"], len(said["workers"])) == (True, 2, 2)
    assert set(said["workers"][0]["parts"]) >= {"broker", "audit", "store", "policy", "clock"}
    assert run("health", "--workers", "3", "--data", str(up.house)).returncode == 1


def test_where_nothing_runs_both_say_so(tmp_path: Path) -> None:
    """The house is named, and how to start a gateway in it; nobody at an address is coded too."""
    for command in ("ps", "health"):
        shown = run(command, "--data", str(tmp_path / "nowhere"))
        assert shown.returncode == 1
        assert "nowhere" in shown.stderr
    shown = run("health", "--http", "127.0.0.1:1")
    assert shown.returncode == 1
    assert "gateway_unreachable" in shown.stderr
