from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from mallku_workers import heartbeat as heartbeat_module
from mallku_workers.heartbeat import Heartbeat

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe, closed at the end as far as it is open."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_lines_come_through(pipe: Pipe) -> None:
    """What is said is one line each."""
    heartbeat = Heartbeat(pipe[1], pytest.fail)
    heartbeat.say("ready w1")
    heartbeat.say("draining")
    assert os.read(pipe[0], 100) == b"ready w1\ndraining\n"


async def test_it_beats_until_it_is_cancelled(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, out of the event loop."""
    monkeypatch.setattr(heartbeat_module, "BEAT_S", 0.001)
    os.set_blocking(pipe[0], False)
    task = asyncio.ensure_future(Heartbeat(pipe[1], pytest.fail).beat())
    heard = b""
    async with asyncio.timeout(5):
        while heard.count(b"beat\n") < 3:
            await asyncio.sleep(0.001)
            try:
                heard += os.read(pipe[0], 100)
            except BlockingIOError:
                continue
    task.cancel()


def test_a_full_pipe_does_not_stop_the_worker(pipe: Pipe) -> None:
    """Who does not read for long misses lines; nobody waits for them."""
    heartbeat = Heartbeat(pipe[1], pytest.fail)
    for _ in range(50_000):
        heartbeat.say("beat")


def test_an_orphan_notices(pipe: Pipe) -> None:
    """When nobody reads any more the worker is told, once."""
    told: list[None] = []
    heartbeat = Heartbeat(pipe[1], lambda: told.append(None))
    os.close(pipe[0])
    heartbeat.say("beat")
    heartbeat.say("beat")
    assert len(told) == 1


def test_without_a_supervisor_nothing_is_said() -> None:
    """A worker that was started by hand has no pipe."""
    Heartbeat(None, pytest.fail).say("ready")
