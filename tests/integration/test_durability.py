from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.durability import fill_of
from mallku_broker.streams import AUDIT, StreamSettings, ask
from mallku_contracts.errors import AuditUnavailable, MallkuError, OutcomePending
from mallku_contracts.limits import KIB, MIB
from mallku_deploy.options import DurabilityKind
from mallku_deploy.server import connect_as
from tests.integration.load import Load
from tests.integration.world import World, running_world, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TINY = StreamSettings(
    audit_bytes=256 * KIB,
    checkpoint_bytes=MIB,
    job_bytes=8 * MIB,
    dead_bytes=MIB,
    result_bytes=MIB,
    rate_bytes=MIB,
    bucket_bytes=MIB,
)
BOTH = pytest.mark.parametrize("durability", ["flush", "fsync"])


@asynccontextmanager
async def _world(
    folder: Path, durability: DurabilityKind, streams: StreamSettings | None = None
) -> AsyncGenerator[World]:
    async with running_world(folder, durability=durability, streams=streams) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


async def _stream(world: World, **changes: Any) -> dict[str, Any]:
    """The audit stream as it is; with changes, as an administrator makes them."""
    connection = await connect_as(world.furnished, "administrator", world.gateway.url)
    try:
        info = await ask(connection, f"STREAM.INFO.{AUDIT}", {})
        if changes:
            configuration = info["config"] | changes
            info = await ask(connection, f"STREAM.UPDATE.{AUDIT}", configuration)
        return info
    finally:
        await connection.close()


@BOTH
async def test_workers_say_at_the_start_what_survives(
    tmp_path: Path, durability: DurabilityKind
) -> None:
    """What `up` was asked for is what server and store say of themselves, and what is recorded."""
    async with running_world(tmp_path / "house", durability=durability) as world:
        trail = await world.trail()
        starts = [each.facts for each in trail.administrative if each.subject == "" and each.facts]
        assert [each["durability"] for each in starts if "durability" in each] == [durability] * 2


async def test_below_what_is_required_no_worker_starts(own_world: World) -> None:
    """It ends with one coded line that names both parts, and serves nobody."""
    environment = dict(own_world.gateway._worker_specs()[0].environment)
    for wanted, code in (("fsync", 1), ("quorum", 1)):
        environment["MALLKU_WORKER_REQUIRE_DURABILITY"] = wanted
        ended = await asyncio.to_thread(_run_worker, environment)
        assert ended.returncode == code
        assert f"durability {wanted} is required" in ended.stderr
        assert "audit stream has flush (mallku does not sync every write)" in ended.stderr
        assert "the store flush" in ended.stderr
        assert ended.stderr.startswith("configuration")


async def test_a_store_that_keeps_less_than_the_stream_is_named(tmp_path: Path) -> None:
    """The server syncs, the store does not: what is declared is the store's."""
    async with running_world(tmp_path / "house", 1, durability="fsync") as world:
        environment = dict(world.gateway._worker_specs()[0].environment)
        environment["MALLKU_WORKER_STORE_SYNCHRONOUS"] = "NORMAL"
        ended = await asyncio.to_thread(_run_worker, environment)
        assert ended.returncode == 1
        assert "only flush is there: the audit stream has fsync" in ended.stderr
        assert "the store flush" in ended.stderr


def _run_worker(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "mallku_deploy.entry", "worker"]
    return subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@BOTH
async def test_a_full_trail_refuses_and_recovers(
    tmp_path: Path, durability: DurabilityKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room, no execution: typed, retryable, and nothing happens; with room all goes on.

    What was executed and could not be recorded is recorded then; no intent stays without outcome.
    """
    monkeypatch.setenv("MALLKU_WORKER_TRAIL_LOOK_S", "0.1")
    async with _world(tmp_path / "house", durability, TINY) as world, world.client() as client:
        anchors = client.collection("memory_anchors")
        done, pending = set[str](), set[str]()
        errors: list[MallkuError] = []
        for number in range(400):
            key = f"k{number}"
            try:
                await anchors.insert({"_key": key, "text": "x" * 2_000}, timeout=1)
                done.add(key)
            except OutcomePending:
                pending.add(key)
            except MallkuError as error:
                errors.append(error)
                if len(errors) > 3:
                    break
        assert done
        assert all(isinstance(error, AuditUnavailable) and error.retryable for error in errors)
        assert await _keys(world) == done | pending
        await _stream(world, max_bytes=64 * MIB)
        await anchors.insert({"_key": "after"}, timeout=10)
        trail = await world.trail()
        assert trail.ids("intent") == trail.ids("done", "failed")
        assert await anchors.count() == len(done | pending) + 1
        assert world.losses == []


async def _keys(world: World) -> set[str]:
    """The documents in the store, read past the gateway: it answers nothing without a trail."""
    import sqlite3

    with sqlite3.connect(f"file:{world.house.store / 'mallku.sqlite'}?mode=ro", uri=True) as db:
        return {key for (key,) in db.execute("SELECT key FROM documents")}


async def test_a_trail_that_fills_is_an_alarm_on_the_trail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past four fifths each worker says so once, while there still is room to say it."""
    monkeypatch.setenv("MALLKU_WORKER_TRAIL_LOOK_S", "0.1")
    async with _world(tmp_path / "house", "flush", TINY) as world, world.client() as client:
        anchors = client.collection("memory_anchors")
        while fill_of(await _stream(world)).share < 0.8:
            await anchors.insert({"text": "x" * 1_000})
        alarms: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while len(alarms) < 2:
                trail = await world.trail()
                alarms = [one.facts for one in trail.administrative if "advisory" in one.facts]
        for _ in range(3):
            await anchors.insert({"text": "x" * 1_000})
            await asyncio.sleep(0.2)
        trail = await world.trail()
        alarms = [one.facts for one in trail.administrative if "advisory" in one.facts]
        assert len(alarms) == 2
        for alarm in alarms:
            assert alarm["advisory"] == "filling"
            assert 0.8 * alarm["limit"] <= alarm["bytes"] < alarm["limit"] == 256 * KIB


async def test_a_server_that_is_killed_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """Kill -9 on nats-server under load, groups under way: nothing acknowledged is missing.

    Neither a document nor a record: every insert that was answered has its intent and its outcome
    on the trail, once.
    """
    async with _world(tmp_path / "house", "fsync") as world, world.client() as client:
        async with Load(client) as load:
            for _ in range(2):
                os.kill(world.gateway.pids["nats-server"], signal.SIGKILL)
                await load.grown(300)
        await load.check()
        trail = await world.trail()
        _check_receipts(load, trail.hashes)
        assert max(trail.ids("intent").values()) == 1
        assert trail.ids("intent") == trail.ids("done", "failed")
        assert world.losses == []


async def test_a_server_that_stands_still_with_groups_under_way(tmp_path: Path) -> None:
    """SIGSTOP longer than a record waits: typed refusals, and no open end afterwards."""
    async with _world(tmp_path / "house", "fsync") as world, world.client() as client:
        async with Load(client) as load:
            server = world.gateway.pids["nats-server"]
            os.kill(server, signal.SIGSTOP)
            await asyncio.sleep(2.5)
            os.kill(server, signal.SIGCONT)
            await load.grown(200)
        await load.check()
        trail = await world.trail()
        _check_receipts(load, trail.hashes)
        assert trail.ids("done").total() >= len(load.acknowledged)
        assert world.losses == []


def _check_receipts(load: Load, hashes: dict[int, bytes]) -> None:
    """Every receipt names a record that stands in the trail, with the hash that it has there."""
    receipts = [answer.receipt for answer in load.answers if answer.receipt is not None]
    assert len(receipts) >= len(load.acknowledged) > 0
    for receipt in receipts:
        assert hashes[receipt["sequence"]] == receipt["hash"]
