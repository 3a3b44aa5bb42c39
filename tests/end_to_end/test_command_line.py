from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mallku_broker.files import write_private_text
from tests.end_to_end.conftest import COMMAND, Up, clean_environment, run, until
from tests.support.natscli import BUILD_S, find_nats

ANCHORS = "memory_anchors"


@pytest.fixture(scope="module", autouse=True)
def anchors(up: Up) -> None:
    """A collection with one document in it."""
    assert up.call("create-collection", ANCHORS).returncode == 0
    document = json.dumps({"document": {"_key": "a1", "kind": "khipu", "weight": 3}})
    assert up.call("insert", ANCHORS, document).returncode == 0


def _sign(up: Up, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["-m", "mallku_deploy.entry", "sign", "--env-file", str(up.env_file), *arguments]
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        timeout=30,
        check=True,
        env=clean_environment(),
    )


def test_a_call_prints_the_result(up: Up) -> None:
    """JSON on standard output, one line for machines; nothing on standard error."""
    done = up.call("get", ANCHORS, '{"document": "a1"}', "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["weight"] == 3


def test_a_call_can_show_its_receipt(up: Up) -> None:
    """Stream, sequence and hash of the audit record stand beside the result."""
    done = up.call("insert", ANCHORS, '{"document": {}}', "--receipt", "--json")
    shown = json.loads(done.stdout)
    assert shown["receipt"]["stream"] == "MALLKU_AUDIT"
    assert len(shown["receipt"]["hash"]) == 64
    assert shown["replayed"] is False


def test_a_call_reads_its_arguments_from_standard_input(up: Up) -> None:
    """`-` takes the JSON from there."""
    done = run(
        "call",
        "--env-file",
        str(up.env_file),
        "get",
        ANCHORS,
        "-",
        "--json",
        stdin=b'{"document": "a1"}',
    )
    assert json.loads(done.stdout)["_key"] == "a1"


def test_a_refusal_is_one_coded_line(up: Up) -> None:
    """The broker's lock and the worker's: code, number and what was wrong; exit code 1."""
    for arguments, code in (
        (("truncate", ANCHORS), "permission_denied 301"),
        (("insert", "mallku_ledger", '{"document": {}}'), "reserved_name 302"),
        (("count", "nowhere"), "collection_not_found 420"),
    ):
        done = up.call(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert code in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_operator_speaks_with_its_own_key(up: Up) -> None:
    """`--as operator` may what `mallku` may not."""
    speak = ("--as", "operator", "--data", str(up.house))
    assert run("call", "create-collection", "scratch", *speak).returncode == 0
    assert run("call", "truncate", "scratch", *speak).returncode == 0
    assert run("call", "drop-collection", "scratch", *speak).stdout.strip() == "true"


def test_nobody_speaks_as_somebody_who_is_not_there(up: Up) -> None:
    """The error names who was asked for."""
    done = run("call", "count", ANCHORS, "--as", "inti", "--data", str(up.house))
    assert done.returncode == 1
    assert "'inti'" in done.stderr


def test_a_gateway_that_is_gone_is_said_quickly(up: Up, tmp_path: Path) -> None:
    """An error within the connect timeout that says what was tried."""
    env = tmp_path / "env"
    lines = up.env_file.read_text().splitlines()
    text = "\n".join(["MALLKU_API_GATEWAY_URL=nats://127.0.0.1:9", *lines[1:]])
    write_private_text(env, text + "\nMALLKU_CONNECT_TIMEOUT=1\n")
    done = run("call", "--env-file", str(env), "count", ANCHORS)
    assert done.returncode == 1
    assert "gateway_unreachable 801" in done.stderr
    assert "127.0.0.1:9" in done.stderr


def test_a_signed_command_is_decoded_and_verified(up: Up) -> None:
    """What `sign` writes, `decode --verify` believes; with one bit changed it does not."""
    envelope = _sign(up, "get", ANCHORS, '{"document": "a1"}').stdout
    trust = f"--trust-file={up.house / 'trust.json'}"
    whole = json.loads(run("decode", "--verify", trust, stdin=envelope).stdout)
    assert (whole["kind"], whole["verified"], whole["principal"]) == ("command", True, "mallku")
    broken = envelope[:-1] + bytes([envelope[-1] ^ 1])
    assert json.loads(run("decode", "--verify", trust, stdin=broken).stdout)["verified"] is False


def test_a_signed_command_can_be_text(up: Up) -> None:
    """`--base64` is the same envelope for tools that take no bytes."""
    text = _sign(up, "count", ANCHORS, "--base64").stdout
    shown = json.loads(run("decode", stdin=base64.b64decode(text)).stdout)
    assert shown["protected"]["op"] == "count"


@pytest.mark.timeout(BUILD_S + 60)
def test_nats_req_sends_a_signed_command_once(up: Up, tmp_path: Path) -> None:
    """The printed line works as it stands; the second time the same bytes are a replay."""
    path = os.pathsep.join([str(find_nats().parent), os.environ["PATH"]])
    file = tmp_path / "get.bin"
    line = _sign(up, "get", ANCHORS, '{"document": "a1"}', "-o", str(file)).stderr.decode()
    line = line.replace("--translate=mallku-gateway decode", f"--translate={_decode()}")
    answers = [
        subprocess.run(
            ["/bin/sh", "-c", line],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert json.loads(answers[0])["body"]["result"]["_key"] == "a1"
    assert json.loads(answers[1])["body"]["error"]["code"] == "replayed"


def _decode() -> str:
    return shlex.join([sys.executable, "-m", "mallku_deploy.entry", "decode"])


def test_the_tokens_of_the_house_are_believed(up: Up) -> None:
    """`token inspect` with the environment of `up` shows who the token is for."""
    house = up.house
    done = run(
        "token",
        "inspect",
        str(house / "principals" / "mallku" / "token.jwt"),
        "--trust-file",
        str(house / "trust.json"),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    claims = json.loads(done.stdout)["claims"]
    assert (claims["sub"], claims["roles"], claims["aud"]) == (
        "mallku",
        ["service"],
        "mallku-command",
    )


def test_the_policy_of_the_house_is_good(up: Up) -> None:
    """`policy check` reads the file that `up` wrote."""
    done = run("policy", "check", str(up.house / "policy.yaml"))
    assert done.returncode == 0, done.stderr
    assert "6 principals" in done.stdout


def test_the_demo_keeps_its_promises() -> None:
    """Exit code 0, every line with ✓, and the latencies of every operation."""
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") >= 20
    assert "promises were kept" in done.stdout
    for operation in ("insert", "get", "update", "find"):
        assert operation in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped in the middle, it takes its processes and its folder with it; exit code 130."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        demo = subprocess.Popen(
            [*COMMAND, "demo"],
            stdout=out,
            stderr=out,
            env=clean_environment() | {"TMPDIR": str(tmp_path)},
        )
    try:
        until("it has begun", lambda: "worker processes run" in log.read_text())
        pids = [child.pid for child in psutil.Process(demo.pid).children(recursive=True)]
        demo.send_signal(number)
        assert demo.wait(10) == 130, log.read_text()
    finally:
        demo.kill()
        demo.wait()
    assert pids
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert list(tmp_path.glob("mallku-demo-*")) == []
    assert "Traceback" not in log.read_text()
