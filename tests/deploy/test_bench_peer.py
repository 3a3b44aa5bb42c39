"""The peer has every advantage that a worker has."""

from __future__ import annotations

import gc
import secrets
import socket
from collections.abc import Generator
from pathlib import Path

import pytest
import uvicorn

from mallku_contracts.keys import SEED_BYTES, SigningKey
from mallku_deploy.bench.policy import POLICY
from mallku_workers.collecting import COLLECT_AFTER
from tests.benchmarks.peer.__main__ import main


@pytest.fixture
def collector() -> Generator[None]:
    """Python's own settings afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_the_peer_is_searched_for_cycles_as_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it serves, the collector is set as a worker sets it."""
    found: list[tuple[object, bool]] = []

    def run(_server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        sockets[0].close()
        found.append((gc.get_threshold(), gc.get_freeze_count() > 0))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("tests.benchmarks.peer.__main__.Store", lambda _path: None)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    key = SigningKey(secrets.token_bytes(SEED_BYTES)).public.raw.hex()
    main(str(policy), str(tmp_path / "peer.sqlite"), key, "no")
    assert found == [(COLLECT_AFTER, True)]
