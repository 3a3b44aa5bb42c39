from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.durability import fill_of
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT, StreamSettings
from mallku_client.collection import Collection
from mallku_contracts.errors import AuditUnavailable, OutcomePending, OutcomeUnknown
from mallku_contracts.limits import KIB, MIB
from mallku_deploy.demo.trail import Trail
from mallku_deploy.options import DurabilityKind
from mallku_deploy.server import connect_as
from tests.integration.load import Load
from tests.integration.world import EVENT_S, LOOK_S, World, running_world

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
STANDS_STILL_S = 1.0
"""Five times as long as a record waits for the trail, and two tries of an outcome as well."""

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
        done, refused, open_ = await _fill(anchors)
        assert done
        assert all(error.retryable for error in refused)
        assert len(done) <= _documents(world) <= len(done) + open_
        await _stream(world, max_bytes=64 * MIB)
        await anchors.insert({"_key": "after"}, timeout=10)
        trail = await world.trail()
        assert trail.ids("intent") == trail.ids("done", "failed")
        found = await anchors.get_many(sorted(done))
        assert len(found) == len(done)
        assert world.losses == []


async def _fill(anchors: Collection) -> tuple[set[str], list[AuditUnavailable], int]:
    """Insert until nothing goes any more: what was done, what was refused, and what is open.

    Open is what came to its effect, or may have, just before there was no room for its outcome.
    """
    done, refused, open_ = set[str](), list[AuditUnavailable](), 0
    number = 0
    while len(refused) < 4:
        number += 1
        try:
            await anchors.insert({"_key": f"k{number}", "text": "x" * 2_000}, timeout=1)
        except AuditUnavailable as error:
            refused.append(error)
        except (OutcomePending, OutcomeUnknown):
            open_ += 1
        else:
            assert not refused
            done.add(f"k{number}")
    return done, refused, open_


def _documents(world: World) -> int:
    """Documents in the store, read past the gateway: it answers nothing without a trail."""
    path = world.house.store / "mallku.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        statement = "SELECT documents FROM mallku_collections WHERE name = 'memory_anchors'"
        (count,) = database.execute(statement).fetchone()
    return int(count)


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
        trail = await _ended_trail(world)
        _check_receipts(load, trail.hashes)
        assert max(trail.ids("intent").values()) == 1
        assert max(trail.ids("done", "failed").values()) == 1
        assert world.losses == []


async def test_a_server_that_stands_still_with_groups_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP longer than a record waits: nobody waits for ever, and no end stays open.

    Whoever is told that it is done, or that it may be, finds out with the same key.
    """
    monkeypatch.setenv("MALLKU_WORKER_AUDIT_WAIT_MS", "200")
    async with _world(tmp_path / "house", "fsync") as world, world.client() as client:
        async with Load(client) as load:
            server = world.gateway.pids["nats-server"]
            os.kill(server, signal.SIGSTOP)
            await asyncio.sleep(STANDS_STILL_S)
            os.kill(server, signal.SIGCONT)
            await load.grown()
        for error in load.errors:
            assert isinstance(error, OutcomePending | OutcomeUnknown) or error.retryable
        anchors = client.collection("memory_anchors")
        await anchors.insert({"_key": "after"})
        keys = sorted(load.acknowledged)
        assert len(await anchors.get_many(keys)) == len(keys)
        trail = await _ended_trail(world)
        _check_receipts(load, trail.hashes)
        assert max(trail.ids("done", "failed").values()) == 1
        assert world.losses == []


async def _ended_trail(world: World) -> Trail:
    """The trail, once every intent has an end; what was not acknowledged ends with a refusal."""
    async with asyncio.timeout(EVENT_S):
        while True:
            trail = await world.trail(settle_s=0)
            ends = trail.ids("done", "failed", "denied")
            if trail.ids("intent").keys() <= ends.keys():
                return trail
            await asyncio.sleep(LOOK_S)


def _check_receipts(load: Load, hashes: dict[int, bytes]) -> None:
    """Every receipt names a record that stands in the trail, with the hash that it has there."""
    receipts = [answer.receipt for answer in load.answers if answer.receipt is not None]
    assert len(receipts) >= len(load.acknowledged) > 0
    for receipt in receipts:
        assert hashes[receipt["sequence"]] == receipt["hash"]
