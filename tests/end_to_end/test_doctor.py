from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Up, end, run

KINDS = {
    *("caller", "door", "inspector", "auditor", "administrator"),
    *("worker:bus", "worker:records"),
}


@pytest.fixture(scope="module")
def tls_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A gateway where everybody has to show a certificate."""
    started = Up.start(tmp_path_factory.mktemp("tls"), "--port", "0", "--tls")
    try:
        yield started.ready()
    finally:
        end(started)


def test_a_running_gateway_is_proven(up: Up) -> None:
    """Every kind of role, no hole, nothing untried, exit code 0; and it goes on with its work."""
    done = run("doctor", "--data", str(up.house), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert {each["kind"] for each in said["findings"]} == KINDS
    assert said["counts"]["HOLE"] == said["counts"]["not tried"] == 0
    assert {each["principal"] for each in said["wider"]} >= {"mallku", "operator"}
    assert up.call("list-collections").returncode == 0


def test_what_was_tried_left_no_record(up: Up) -> None:
    """The trail holds nothing of it: no command came through to a worker."""
    before = _log(up)
    assert run("doctor", "--data", str(up.house)).returncode == 0
    diff = run("policy", "diff", str(up.house / "policy.yaml"), "--data", str(up.house), "--json")
    assert json.loads(diff.stdout)["decided"] == before


def _log(up: Up) -> int:
    diff = run("policy", "diff", str(up.house / "policy.yaml"), "--data", str(up.house), "--json")
    decided: int = json.loads(diff.stdout)["decided"]
    return decided


def test_the_table_says_what_was_tried(up: Up) -> None:
    """A line for each role; with `--subjects` tables, all that is wider and why, every subject."""
    brief = run("doctor", "--data", str(up.house))
    assert brief.returncode == 0
    assert len(brief.stdout.splitlines()) < 40
    assert "administrator" in brief.stdout
    done = run("doctor", "--data", str(up.house), "--subjects")
    assert done.returncode == 0
    assert "delete or purge a stream" in done.stdout
    assert "$JS.API.STREAM.PURGE.MALLKU_AUDIT" in done.stdout
    assert "Where the broker's lock is wider than the worker's, and why" in done.stdout
    assert "mallku.v1.cmd.mallku.*.*.*" in done.stdout


def test_with_tls_too(tls_up: Up) -> None:
    """The house's certificates are shown, without a word on the command line."""
    done = run("doctor", "--data", str(tls_up.house), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"].startswith("tls:")


def test_any_gateway_with_credentials_as_files(tls_up: Up) -> None:
    """URL, policy, certificates and credentials on the command line; who is missing is named."""
    house = tls_up.house
    url = tls_up.env_file.read_text().splitlines()[0].partition("=")[2]
    mallku = house / "principals" / "mallku"
    done = run(
        "doctor",
        *("--url", url, "--policy", str(house / "adopted.yaml"), "--json"),
        *("--tls-ca", str(house / "tls" / "ca.pem")),
        *("--tls-cert", str(mallku / "tls.pem"), "--tls-key", str(mallku / "tls.key")),
        *("--credentials", f"mallku={mallku / 'nats.nk'}"),
        *("--credentials", f"worker:records={house / 'workers' / 'worker-1' / 'records.nk'}"),
    )
    assert done.returncode == 2, done.stderr
    said = json.loads(done.stdout)
    missing = {each["name"] for each in said["findings"] if each["title"] == "connects"}
    assert missing == {
        *("operator", "http_door", "auditor", "inspector", "administrator", "worker:bus")
    }
    tried = [each for each in said["findings"] if each["name"] == "mallku"]
    assert {each["verdict"] for each in tried} == {"ok", "not tried"}
    assert said["counts"]["HOLE"] == 0


def test_a_wrong_certificate_is_exit_code_2(tls_up: Up, tmp_path: Path) -> None:
    """Nothing can be tried without TLS where the server asks for it; a coded line says so."""
    house = tls_up.house
    url = tls_up.env_file.read_text().splitlines()[0].partition("=")[2]
    key = house / "principals" / "mallku" / "nats.nk"
    done = run(
        "doctor",
        *("--url", url, "--policy", str(house / "adopted.yaml")),
        *("--credentials", f"mallku={key}"),
    )
    assert done.returncode == 2
    assert "certificate" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
