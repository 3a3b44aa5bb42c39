from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mallku_broker.accounts import (
    SERVER_REPORT,
)
from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection import GatewayConnection
from mallku_broker.durability import (
    Fill,
    StreamState,
    apart_of,
    fill_of,
    judge,
    read_report,
    read_stream,
    servers_of,
)
from mallku_broker.events import NoResponders, RefusedByBroker
from mallku_broker.group_commit import GroupCommit
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import AUDIT
from mallku_contracts.durability import Durability
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB
from tests.support.nats import (
    ADMINISTRATOR,
    PATIENCE_S,
    WORKER_BUS,
    WORKER_RECORDS,
    NatsHouse,
    nats_house,
    until,
)

FILE = {"storage": "file", "num_replicas": 1}
THREE = {"storage": "file", "num_replicas": 3}
_INBOX = "MSG _INBOX_mallku_worker"
_STORED = re.compile(r"p?writev?(64)?\(\d+<[^>]*/MALLKU_AUDIT/msgs/")
_SYNCED = re.compile(r"f(data)?sync\(\d+<[^>]*/MALLKU_AUDIT/msgs/")
ALL = {"a": True, "b": True, "c": True}


@pytest.mark.parametrize(
    ("configuration", "synced", "level", "reason"),
    [
        (FILE, {"a": True}, Durability.FSYNC, "its server syncs every write"),
        (FILE, {"a": False}, Durability.FLUSH, "a does not sync every write"),
        (FILE, {"a": None}, Durability.FLUSH, "a does not say"),
        (FILE, {}, Durability.FLUSH, "0 of 1 servers are known"),
        (FILE | {"storage": "memory"}, {"a": True}, Durability.MEMORY, "in memory"),
        (FILE | {"persist_mode": "async"}, {"a": True}, Durability.MEMORY, "after it acknowledged"),
        (FILE | {"persist_mode": "default"}, {"a": True}, Durability.FSYNC, "syncs"),
        (THREE, ALL, Durability.QUORUM, "3 servers sync every write"),
        (THREE, ALL | {"b": False}, Durability.FLUSH, "b does not sync every write"),
        (THREE, ALL | {"b": None, "c": False}, Durability.FLUSH, "b does not say.*; c does not s"),
        (THREE, {"a": True}, Durability.FLUSH, "1 of 3 servers are known"),
        ({}, {"a": True}, Durability.MEMORY, "in memory"),
    ],
)
def test_a_level_needs_all_that_it_rests_on(
    configuration: Mapping[str, Any],
    synced: Mapping[str, bool | None],
    level: Durability,
    reason: str,
) -> None:
    """What is not said counts as not there; copies that are not synced are no quorum."""
    judged = judge(configuration, synced)
    assert judged.level is level
    assert re.search(reason, judged.reason)


def test_the_servers_are_the_leader_and_its_followers() -> None:
    """As STREAM.INFO names them; one without a leader has nobody to ask for it."""
    followers = {"leader": "a", "replicas": [{"name": "b"}, {"name": "c"}]}
    assert servers_of({"cluster": followers}) == ("a", "b", "c")
    assert servers_of({"cluster": {"replicas": [{"name": "b"}]}}) == ("b",)
    assert servers_of({"cluster": {"leader": "a", "replicas": None}}) == ("a",)
    assert servers_of({}) == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"server": {"name": "a"}, "data": {"config": {"sync_always": True}}}, True),
        ({"server": {"name": "a"}, "data": {"config": {"sync_always": False}}}, False),
        ({"server": {"name": "a"}, "data": {"config": {}}}, False),
        ({"server": {"name": "b"}, "data": {"config": {"sync_always": True}}}, None),
        ({"server": {"name": "a"}, "error": {"code": 503}}, None),
        ({"server": {"name": "a"}, "data": {"disabled": True}}, None),
        ({"server": {"name": "a"}, "data": {"config": None}}, None),
        ([], None),
    ],
)
def test_a_report_is_believed_only_as_far_as_it_is_one(body: Any, says: bool | None) -> None:
    """An answer without the configuration, or of another server, says nothing."""
    assert read_report(json.dumps(body).encode(), "a") is says


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"null", b"3"])
def test_junk_is_no_report(body: bytes) -> None:
    """Nor does it raise."""
    assert read_report(body, "a") is None


@pytest.mark.parametrize(
    ("used", "limit", "share", "alarming"),
    [(0, 100, 0.0, False), (79, 100, 0.79, False), (80, 100, 0.8, True), (9, 0, 0.0, False)],
)
def test_four_fifths_are_an_alarm(used: int, limit: int, share: float, alarming: bool) -> None:
    """A stream without a limit of its own is never nearly full."""
    fill = Fill(used, limit)
    assert (fill.share, fill.alarming) == (share, alarming)


def test_a_stream_without_limit_has_none() -> None:
    """The server writes -1 for it."""
    assert fill_of({"state": {"bytes": 7}, "config": {"max_bytes": -1}}) == Fill(7, 0)


async def _read(house: NatsHouse) -> StreamState:
    async with house.connection(WORKER_RECORDS) as connection:
        return await _ask(connection, AUDIT)


async def _ask(connection: GatewayConnection, stream: str) -> StreamState:
    async with RequestMultiplexer(connection, connection.inbox_prefix) as requests:
        return await read_stream(connection, requests, stream)


@pytest.mark.parametrize(("synced", "level"), [(False, Durability.FLUSH), (True, Durability.FSYNC)])
async def test_a_real_server_says_whether_it_syncs(
    tmp_path: Path, synced: bool, level: Durability
) -> None:
    """With a worker's own permissions, and no setting of ours: what the server was started with."""
    async with nats_house(tmp_path, sync_every_write=synced) as house:
        state = await _read(house)
        assert (state.durability.level, state.silent) == (level, ())
        assert state.fill == Fill(0, 16 * MIB)


async def test_a_server_that_lends_no_report_counts_as_one_that_does_not_sync(
    tmp_path: Path,
) -> None:
    """A broker of somebody else's making, without the import: `flush` is all that is declared."""
    async with nats_house(tmp_path, sync_every_write=True) as house:
        document = json.loads(house.server.configuration.to_text())
        del document["accounts"]["RECORDS"]["imports"]
        accounts = {"accounts": document["accounts"]}
        await house.server.reload(replace(house.server.configuration, extra=accounts))
        state = await _read(house)
        assert state.durability.level is Durability.FLUSH
        assert state.silent == ("mallku",)


async def test_a_stream_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A coded error, not a level."""
    async with nats_house(tmp_path, streams=False) as house:
        with pytest.raises(ConfigurationError, match="stream not found"):
            await _read(house)


@pytest.mark.parametrize("who", ["mallku", "auditor", "inspector", ADMINISTRATOR, WORKER_BUS])
async def test_the_report_is_for_workers_records_alone(house: NatsHouse, who: str) -> None:
    """Nobody else gets a word out of the system account by it."""
    async with (
        house.connection(who) as connection,
        RequestMultiplexer(connection, connection.inbox_prefix) as requests,
    ):
        with pytest.raises((RefusedByBroker, NoResponders)):
            await requests.request(SERVER_REPORT, b"", timeout=5)


@pytest.mark.parametrize("call", ["VARZ", "CONNZ", "ACCOUNTZ", "SUBSZ", "HEALTHZ", "STATSZ"])
async def test_no_other_report_is_lent(house: NatsHouse, call: str) -> None:
    """Of the system account's calls a worker reaches that one and no other."""
    async with (
        house.connection(WORKER_RECORDS) as connection,
        RequestMultiplexer(connection, connection.inbox_prefix) as requests,
    ):
        with pytest.raises(RefusedByBroker):
            await requests.request(f"$SYS.REQ.SERVER.PING.{call}", b"", timeout=5)


@asynccontextmanager
async def _group(house: NatsHouse) -> AsyncGenerator[GroupCommit]:
    async with (
        house.connection(WORKER_RECORDS) as connection,
        AcknowledgementMultiplexer(connection, expected_stream=AUDIT) as publisher,
        GroupCommit(publisher) as group,
    ):
        yield group


async def _publish(group: GroupCommit, records: int) -> None:
    subject = "mallku.v1.audit.mallku.db.anchors.insert.intent"
    await asyncio.gather(
        *(
            group.publish(subject, b"x", message_id=str(uuid4()), timeout=PATIENCE_S)
            for _ in range(records)
        )
    )


@asynccontextmanager
async def _system_calls(house: NatsHouse, path: Path) -> AsyncGenerator[Callable[[], list[str]]]:
    """What the server's threads ask the kernel for, one line each, without their ids."""
    traced = "trace=fsync,fdatasync,write,writev,pwrite64,pwritev"
    command = ["strace", "-f", "-y", "-e", traced, "-s", "64", "-o", str(path)]
    tracer = await asyncio.create_subprocess_exec(
        *command, "-p", str(house.server.pid), stderr=asyncio.subprocess.PIPE
    )
    assert tracer.stderr is not None
    said = await tracer.stderr.readline()  # that it is attached, or why it cannot be
    if b"attached" not in said:
        await tracer.wait()
        pytest.skip(f"the server cannot be watched here: {said.decode().strip()}")

    def read() -> list[str]:
        return [line.partition(" ")[2].strip() for line in path.read_text().splitlines()]

    try:
        yield read
    finally:
        tracer.terminate()
        await tracer.wait()


@pytest.mark.skipif(shutil.which("strace") is None, reason="system calls are watched by strace")
@pytest.mark.parametrize("records", [1, 40])
@pytest.mark.parametrize("synced", [False, True])
async def test_nothing_is_acknowledged_before_the_disk_has_it(
    tmp_path: Path, synced: bool, records: int
) -> None:
    """With `sync_interval: always` the stream's file is synced between writing and answering.

    So it is for one record and for a batch of them; without, the file is only written.
    """
    async with nats_house(tmp_path, sync_every_write=synced) as house, _group(house) as group:
        await _publish(group, 1)
        async with _system_calls(house, tmp_path / "calls") as read:
            await _publish(group, records)
            await until(lambda: any(_INBOX in call for call in read()))
            calls = read()
    answered = next(number for number, call in enumerate(calls) if _INBOX in call)
    stored = [place for place, call in enumerate(calls) if _STORED.match(call)]
    assert stored
    assert stored[-1] < answered
    between = calls[stored[-1] : answered]
    assert any(_SYNCED.match(call) for call in between) == synced


@pytest.mark.parametrize(
    ("told", "apart_ms"),
    [
        ("2026-01-31T12:00:00Z", 0.0),
        ("2026-01-31T11:59:59.123456789Z", 876.544),
        ("2026-01-31T13:00:00.5+01:00", -500.0),
        ("2026-01-31T12:00:00", None),
        ("", None),
        ("junk", None),
    ],
)
def test_how_far_clocks_are_apart(told: str, apart_ms: float | None) -> None:
    """The server's time, of nine digits too, against ours; what tells no time tells nothing."""
    noon_s = 1_769_860_800.0
    found = apart_of({"ts": told}, noon_s)
    assert found == (None if apart_ms is None else pytest.approx(apart_ms, abs=0.01))


async def test_a_real_server_tells_its_time(tmp_path: Path) -> None:
    """On one machine it is ours, to the tenth of a second."""
    async with (
        nats_house(tmp_path / "nats") as house,
        house.connection(WORKER_RECORDS) as records,
        RequestMultiplexer(records, records.inbox_prefix) as requests,
    ):
        state = await read_stream(records, requests, AUDIT)
    assert state.apart_ms is not None
    assert abs(state.apart_ms) < 100
