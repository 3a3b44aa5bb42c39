"""`up --tls --encrypt-store`: what a person gets by asking for it in two words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Up, end, run, until

SECRET = "quipucamayoc" * 3


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A gateway with both, for this module."""
    flags = ("--port", "0", "--tls", "--encrypt-store", "--workers", "1")
    started = Up.start(tmp_path_factory.mktemp("protected"), *flags)
    try:
        yield started.ready()
    finally:
        end(started)


def _plain(folder: Path) -> list[Path]:
    files = [path for path in (folder / "nats").rglob("*") if path.is_file()]
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_env_file_is_enough(protected: Up) -> None:
    """With what was written there a client speaks TLS and shows a certificate of its own."""
    assert "tls://127.0.0.1" in protected.said
    assert "MALLKU_TLS_CA_FILE=" in protected.env_file.read_text()
    assert protected.call("create-collection", "memory_anchors").returncode == 0
    document = f'{{"document": {{"_key": "k1", "kind": "{SECRET}"}}}}'
    done = protected.call("insert", "memory_anchors", document)
    assert done.returncode == 0, done.stderr
    assert "eof_received" not in done.stderr


def test_without_the_certificate_it_says_so(protected: Up, tmp_path: Path) -> None:
    """A client without its own certificate is told that none was given."""
    path = tmp_path / "env"
    lines = protected.env_file.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not re.match("MALLKU_TLS_(CERT|KEY)", line)))
    path.chmod(0o600)
    refused = run("call", "--env-file", str(path), "list-collections")
    assert refused.returncode == 1
    assert "none was given" in refused.stderr


def test_streams_stay_encrypted_at_every_start(protected: Up, tmp_path: Path) -> None:
    """What was written is nowhere to be read, and the next start needs no flag to read it.

    A document in an unencrypted house is found by the same search.
    """
    assert _plain(protected.house) == []
    assert protected.interrupt() == 0
    (protected.folder / "log").unlink()
    again = Up.start(protected.folder, "--port", "0")
    try:
        again.ready()
        found = again.call("get", "memory_anchors", '{"document": "k1"}')
        assert SECRET in found.stdout
        assert _plain(again.house) == []
    finally:
        end(again)
    open_house = Up.start(tmp_path / "open", "--port", "0", "--workers", "1")
    try:
        open_house.ready()
        open_house.call("create-collection", "a")
        open_house.call("insert", "a", f'{{"document": {{"kind": "{SECRET}"}}}}')
        until("the record on disk", lambda: bool(_plain(open_house.house)))
    finally:
        end(open_house)


def test_a_plain_gateway_is_no_encrypted_one(tmp_path: Path) -> None:
    """Asking for protection where a gateway runs without it is refused, not shrugged off."""
    plain = Up.start(tmp_path, "--port", "0", "--workers", "1")
    try:
        plain.ready()
        for flag in ("--tls", "--encrypt-store"):
            second = run("up", "--data", str(plain.house), flag)
            assert second.returncode == 1
            assert "stop it first" in second.stderr
        assert not (plain.house / "streams.key").exists()
    finally:
        end(plain)
