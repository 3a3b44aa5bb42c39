"""What real workers write into their log while everything is tried, and what they never write."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_contracts.errors import MallkuError
from tests.integration.seeing import POLICY, lines
from tests.integration.world import LOOK_S, World, ask, running_world
from tests.support.simulated_caller import Sent

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLANTED = "planted-5f1e9c-never-to-be-seen"
PATIENCE_S = 10.0
LOOKING = "mallku.v1.cmd.mallku.mallku.memory_anchors.get"


class Log:
    """Everything that the workers wrote so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()

    @property
    def text(self) -> str:
        """As it stands there."""
        return self._path.read_text()

    def read(self) -> list[dict[str, Any]]:
        """Its lines."""
        return lines(self.text)

    @contextmanager
    def taking(self) -> Generator[None]:
        """Have processes that are started meanwhile write their standard error there."""
        before, file = os.dup(2), os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.dup2(file, 2)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(file)

    async def until(self, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Wait for so many lines with these fields."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [line for line in self.read() if fields.items() <= line.items()]
                if len(found) >= count:
                    return found
                await asyncio.sleep(LOOK_S)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """What workers write."""
    return Log(tmp_path / "log")


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> AsyncIterator[World]:
    """A gateway with one worker that writes what `info` lets through."""
    monkeypatch.setenv("MALLKU_WORKER_LOG_LEVEL", "info")
    async with AsyncExitStack() as stack:
        with log.taking():
            world = running_world(tmp_path / "house", 1, policy=POLICY)
            running = await stack.enter_async_context(world)
        yield running


def secrets_of(world: World) -> set[str]:
    """Every private thing in the house, as it would look in a log."""
    found = set[str]()
    for path in world.house.root.rglob("*"):
        if path.suffix not in {".pem", ".nk", ".jwt", ".key"} or not path.is_file():
            continue
        for line in path.read_text().splitlines():
            if len(line) > 20 and "-----" not in line:
                found.add(line.strip())
    return found


async def _refuse(connection: GatewayConnection, sent: Sent, **changes: Any) -> None:
    await ask(connection, sent, **changes)


async def _try_everything(world: World) -> None:
    """Refusals and failures of every kind, each with the planted text in it."""
    caller = world.caller()
    async with world.connection() as raw, world.client() as client:
        anchors = await client.create_collection("memory_anchors")
        await anchors.insert({"_key": "k1", "secret": PLANTED})
        for arguments in (
            {"document": {"_key": "k1", "secret": PLANTED}},
            {"document": {"_key": f"{PLANTED}/"}},
            {"document": PLANTED},
            {PLANTED: PLANTED},
        ):
            await _refuse(raw, caller.seal("insert", arguments))
        await _refuse(raw, caller.seal("insert", PLANTED.encode()))
        await _refuse(raw, caller.seal("get", {"document": PLANTED}, collection="nowhere"))
        await _refuse(
            raw, caller.seal("get", {"document": "k1"}, token=caller.token[:-4] + b"AAAA")
        )
        sent = caller.seal("get", {"document": "k1"})
        await _refuse(raw, sent)
        await _refuse(raw, sent)
        await _refuse(raw, sent, data=sent.data + PLANTED.encode())
        await _refuse(raw, sent, data=PLANTED.encode())
        for text in (
            f"RETURN '{PLANTED}' +",
            f"FOR a IN nowhere FILTER a.x == '{PLANTED}' RETURN a",
        ):
            with pytest.raises(MallkuError):
                await client.aql.execute(text)


async def test_each_refusal_is_a_line_and_no_success_is(own: World, log: Log) -> None:
    """A refused command has one line with its code and id; one that was done has none."""
    async with own.client() as client:
        anchors = await client.create_collection("memory_anchors")
        await anchors.insert({"_key": "k1", "kind": "khipu"})
        for _ in range(5):
            await anchors.get("k1")
        with pytest.raises(MallkuError):
            await client.collection("nowhere").insert({"kind": "khipu"})
    [line] = await log.until(event="command_failed")
    assert line["code"] == "collection_not_found"
    assert (line["principal"], line["operation"]) == ("mallku", "insert")
    assert (line["collection"], line["level"]) == ("nowhere", "info")
    assert len(line["id"]) == 36
    assert line["worker"]
    assert not [one for one in log.read() if one["event"] == "command_done"]


async def test_nothing_secret_is_ever_written(own: World, log: Log) -> None:
    """Even with every line let through: no document, no token, no key, whatever goes wrong."""
    os.kill(own.workers["worker-1"], signal.SIGUSR1)
    await log.until(event="log_level", level="error")
    await _try_everything(own)
    await log.until(event="command_refused", code="replayed")
    await log.until(5, event="command_refused")
    assert PLANTED not in log.text
    secrets = secrets_of(own)
    assert len(secrets) > 8
    assert not [secret for secret in secrets if secret in log.text]


async def test_the_level_follows_signals(own: World, log: Log) -> None:
    """SIGUSR1 lets successes through, with the time of each step; SIGUSR2 ends that."""
    pid = own.workers["worker-1"]
    async with own.client() as client:
        anchors = await client.create_collection("memory_anchors")
        os.kill(pid, signal.SIGUSR1)
        await log.until(event="log_level")
        await anchors.insert({"_key": "k1", "kind": "khipu"})
        [line] = await log.until(event="command_done", operation="insert")
        assert line["steps"]["execute"] > 0
        os.kill(pid, signal.SIGUSR2)
        await log.until(2, event="log_level")
        before = len([one for one in log.read() if one["event"] == "command_done"])
        await anchors.get("k1")
        with pytest.raises(MallkuError):
            await client.collection("nowhere").insert({})
        await log.until(event="command_failed")
        assert len([one for one in log.read() if one["event"] == "command_done"]) == before


async def test_a_flood_of_refusals_is_summed_up(own: World, log: Log) -> None:
    """Beyond fifty lines in a second the rest is a number, also when no refusal follows."""
    caller = own.caller()
    async with own.connection() as raw:
        sent = [caller.seal("truncate", {}) for _ in range(600)]
        for one in sent:
            raw.post("mallku.v1.cmd.mallku.mallku.memory_anchors.get", one.data, reply=one.reply)
        await log.until(event="refusals_left_out")
    refused = [one for one in log.read() if one["event"] == "command_refused"]
    assert len(refused) < 600
