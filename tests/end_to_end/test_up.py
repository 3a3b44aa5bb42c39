from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import Up, end, run, until

STOP_S = 5.0


def _gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def _works(up: Up) -> bool:
    return up.call("list-collections").returncode == 0


def test_it_says_how_to_reach_it(up: Up) -> None:
    """URL, data directory and the way to use both stand on the screen; the env file has them."""
    url = up.env_file.read_text().splitlines()[0].removeprefix("MALLKU_API_GATEWAY_URL=")
    assert url in up.said
    assert str(up.house) in up.said
    assert "SecuredDatabaseInterface.connect()" in up.said
    assert up.env_file.stat().st_mode & 0o777 == 0o600


def test_no_process_shows_a_secret(up: Up) -> None:
    """Neither arguments nor what was said hold a key, a seed or a token."""
    secrets = [
        line
        for path in up.house.rglob("*")
        if path.suffix in {".pem", ".nk", ".jwt"}
        for line in path.read_text().splitlines()
        if not line.startswith("-----")
    ]
    assert len(secrets) > 10
    seen = up.said + " ".join(" ".join(child.cmdline()) for child in up.children())
    assert not [secret for secret in secrets if secret in seen]


def test_a_worker_never_sees_the_issuers_key(up: Up) -> None:
    """The path of the issuer's key is not in any worker's environment."""
    for pid in up.workers():
        environment = psutil.Process(pid).environ()
        assert "MALLKU_WORKER_KEY_FILE" in environment
        assert not [value for value in environment.values() if "issuer.pem" in value]


def test_a_second_up_says_how_to_reach_the_first(up: Up, tmp_path: Path) -> None:
    """It writes the same environment, starts nothing, and ends well."""
    before = {child.pid for child in up.children()}
    second = run("up", "--data", str(up.house), "--env-file", str(tmp_path / "env"))
    assert second.returncode == 0, second.stderr
    assert "already running" in second.stdout
    assert (tmp_path / "env").read_text() == up.env_file.read_text()
    assert {child.pid for child in up.children()} == before


def test_a_second_up_that_asks_for_something_else_is_refused(up: Up) -> None:
    """Another number of workers is not what runs here: a coded error, exit code 1."""
    second = run("up", "--data", str(up.house), "--workers", "5")
    assert second.returncode == 1
    assert "configuration 802" in second.stderr
    assert str(up.house) in second.stderr


def test_a_second_up_that_asks_for_more_durability_is_refused(up: Up) -> None:
    """What runs here keeps less than was asked for; it is said, and nothing changes."""
    second = run("up", "--data", str(up.house), "--durability", "fsync")
    assert second.returncode == 1
    assert "2 workers and durability flush" in second.stderr


def test_durability_reaches_server_store_and_workers(tmp_path: Path) -> None:
    """`--durability fsync`: the server syncs what it acknowledges, and workers insist on it."""
    up = Up.start(tmp_path, "--port", "0", "--durability", "fsync")
    try:
        up.ready()
        server = json.loads((up.house / "nats" / "nats-server.conf").read_text())
        assert server["jetstream"]["sync_interval"] == "always"
        for pid in up.workers():
            environment = psutil.Process(pid).environ()
            assert environment["MALLKU_WORKER_REQUIRE_DURABILITY"] == "fsync"
            assert environment["MALLKU_WORKER_STORE_SYNCHRONOUS"] == "FULL"
        assert up.call("create-collection", "memory_anchors").returncode == 0
        assert up.call("insert", "memory_anchors", '{"document": {}}').returncode == 0
    finally:
        end(up)


def test_a_port_that_is_taken_is_named(up: Up, tmp_path: Path) -> None:
    """A port that was asked for and is taken is an error that names it; nothing is left running."""
    port = up.env_file.read_text().splitlines()[0].rpartition(":")[2]
    other = run("up", "--data", str(tmp_path / "other"), "--port", port)
    assert other.returncode == 1
    assert f"port {port} is taken" in other.stderr


def test_a_killed_worker_is_replaced(own_up: Up) -> None:
    """Kill -9: the loss is said aloud, another worker comes, commands are answered throughout."""
    before = own_up.workers()
    os.kill(before[0], signal.SIGKILL)
    until("the loss is said", lambda: "was killed by SIGKILL" in own_up.said)
    until("a new worker", lambda: len(set(own_up.workers()) - set(before)) == 1)
    until("it is ready", lambda: own_up.said.count("is ready (pid") == 3)
    assert _works(own_up)


def test_a_hanging_worker_is_replaced(own_up: Up) -> None:
    """SIGSTOP: five seconds of silence, then it is killed and replaced."""
    before = own_up.workers()
    os.kill(before[0], signal.SIGSTOP)
    until("the silence is said", lambda: "was silent for 5 s" in own_up.said)
    until("it is ready", lambda: own_up.said.count("is ready (pid") == 3)
    assert before[0] not in own_up.workers()
    assert not psutil.pid_exists(before[0])


def test_a_killed_server_comes_back_with_its_data(own_up: Up) -> None:
    """Kill -9 on nats-server: said aloud, started again on the same port; documents are there."""
    assert own_up.call("create-collection", "khipu_blocks").returncode == 0
    own_up.call("insert", "khipu_blocks", '{"document": {"_key": "k1"}}')
    before = own_up.server()
    os.kill(before, signal.SIGKILL)
    until("it is back", lambda: "nats-server is ready" in own_up.said)
    assert own_up.server() != before
    until("commands are answered", lambda: _works(own_up))
    assert own_up.call("exists", "khipu_blocks", '{"document": "k1"}').stdout.strip() == "true"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_in_order_and_leaves_nothing(own_up: Up, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal: within five seconds all are gone, exit code 0."""
    pids = [child.pid for child in own_up.children()]
    begun = time.monotonic()
    own_up.process.send_signal(number)
    assert own_up.process.wait(STOP_S + 5) == 0
    assert time.monotonic() - begun < STOP_S
    assert _gone(pids)
    assert not (own_up.house / "running.json").exists()


def test_a_worker_that_hangs_does_not_hold_up_the_end(own_up: Up) -> None:
    """Also with a stopped worker Ctrl-C takes less than five seconds."""
    pids = [child.pid for child in own_up.children()]
    os.kill(own_up.workers()[0], signal.SIGSTOP)
    begun = time.monotonic()
    assert own_up.interrupt() == 0
    assert time.monotonic() - begun < STOP_S
    assert _gone(pids)


def test_children_die_with_their_parent(own_up: Up) -> None:
    """Kill -9 on `up` itself: workers and NATS server end too, and a new `up` moves in."""
    pids = [child.pid for child in own_up.children()]
    assert len(pids) == 3
    own_up.process.kill()
    own_up.process.wait()
    until("all are gone", lambda: _gone(pids))
    successor = Up.start(own_up.folder)
    try:
        until("it is ready again", lambda: own_up.said.count("Ctrl-C stops it") == 2)
        assert _works(successor)
    finally:
        end(successor)


def test_the_next_start_finds_everything(own_up: Up) -> None:
    """Documents, keys and the trail are there after a stop; tokens and keys are the same."""
    assert own_up.call("create-collection", "memory_anchors").returncode == 0
    own_up.call("insert", "memory_anchors", '{"document": {"_key": "a1"}}')
    secrets = {path: path.read_bytes() for path in own_up.house.rglob("*.pem")}
    assert own_up.interrupt() == 0
    again = Up.start(own_up.folder)
    try:
        until("it is ready again", lambda: own_up.said.count("Ctrl-C stops it") == 2)
        assert again.call("count", "memory_anchors").stdout.strip() == "1"
        assert {path: path.read_bytes() for path in again.house.rglob("*.pem")} == secrets
    finally:
        end(again)


def test_a_worker_that_cannot_start_ends_up_at_once(tmp_path: Path) -> None:
    """A policy that became unusable is named with its line, and nothing is left running."""
    house = tmp_path / "house"
    first = Up.start(tmp_path)
    try:
        first.ready()
    finally:
        end(first)
    policy = house / "policy.yaml"
    policy.write_text(policy.read_text().replace("version: 1", "version: one"))
    done = run("up", "--data", str(house), "--port", "0")
    assert done.returncode == 1
    assert "policy.yaml:4:1: version" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stop_while_starting_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C before it is ready: everything that was begun is taken back."""
    starting = Up.start(tmp_path / "early")
    try:
        server = starting.folder / "house" / "nats" / "nats-server.conf"
        until("the server starts", server.exists)
        pids = [child.pid for child in starting.children()]
        assert starting.interrupt() == 0
        assert _gone(pids)
    finally:
        end(starting)


def test_without_the_binary_the_extra_is_named(tmp_path: Path) -> None:
    """An installation without nats-server says what to install."""
    code = (
        "import mallku_broker.server as s, sys, pathlib\n"
        "s.shutil.which = lambda *a, **k: None\n"
        "sys.argv = ['mallku-gateway', 'up', '--data', sys.argv[1], '--port', '0']\n"
        "from mallku_deploy.entry import main\nsys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "house")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "mallku-gateway[embedded]" in done.stderr
