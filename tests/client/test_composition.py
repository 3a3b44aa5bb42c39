"""A connection that cannot be completed leaves nothing behind."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mallku_client import MemoryTransport, SecuredDatabaseInterface, composition
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.client.world import World


def _history_of(world: World, history: Path, **changes: Any) -> Any:
    settings = world.settings.override(history_file=history, url="nats://127.0.0.1:9", **changes)
    return SecuredDatabaseInterface.connect(settings=settings)


DESCRIPTORS = Path("/proc/self/fd")


def _is_open(file: Path) -> bool:
    """Whether a descriptor of this process leads to the file; one may close while this looks."""
    for each in DESCRIPTORS.iterdir():
        with suppress(OSError):
            if each.readlink() == file:
                return True
    return False


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="this system does not list them")
async def test_nobody_there_leaves_no_descriptor(world: World, tmp_path: Path) -> None:
    """However often it is tried, with a history to be kept."""
    history = tmp_path / "history.jsonl"
    with pytest.raises(GatewayUnreachable):
        await _history_of(world, history, connect_timeout_s=0.1)
    assert not _is_open(history)
    with history.open("a"):
        assert _is_open(history)


class Opened:
    """Stands for connecting: the transports that were made, and which were closed again."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.made = 0
        self.closed = 0
        monkeypatch.setattr(composition, "_open_transport", self)

    async def __call__(self, *_: Any) -> MemoryTransport:
        """A transport that counts."""
        self.made += 1
        transport = MemoryTransport(self.world.gateway.handle)
        close = transport.close

        async def closing() -> None:
            self.closed += 1
            await close()

        transport.close = closing  # type: ignore[method-assign]  # counted
        return transport


async def test_what_stands_is_closed_when_the_rest_cannot_be_made(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history that cannot be written ends the connection that was made for it."""
    opened = Opened(world, monkeypatch)
    with pytest.raises(ConfigurationError, match="history file"):
        await _history_of(world, tmp_path / "missing" / "history.jsonl")
    assert (opened.made, opened.closed) == (1, 1)
    database = await _history_of(world, tmp_path / "history.jsonl")
    assert opened.closed == 1
    await database.close()
    assert (opened.made, opened.closed) == (2, 2)


async def test_a_missing_extra_is_told_before_anything_is_connected(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing without OpenTelemetry opens neither a connection nor a history."""
    opened = Opened(world, monkeypatch)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"mallku-gateway\[telemetry\]"):
        await _history_of(world, tmp_path / "history.jsonl", tracing=True)
    assert opened.made == opened.closed
    assert not (tmp_path / "history.jsonl").exists()
