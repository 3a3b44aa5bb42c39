from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.connection import GatewayConnection
from mallku_broker.streams import (
    AUDIT,
    CHECKPOINTS,
    DEAD,
    JOBS,
    RATES,
    REDRIVEN,
    Drift,
    StreamDefinition,
    StreamSettings,
    apply,
    bring_about,
    compare,
    definitions,
    ensure,
)
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS, MAX_COMMAND_LIFE_MS, MIB
from tests.support.nats import ADMINISTRATOR, SMALL, NatsHouse, nats_house

WANTED = {definition.name: definition for definition in definitions(SMALL)}


def _changed(name: str, **changes: Any) -> StreamDefinition:
    return StreamDefinition(name, {**WANTED[name].configuration, **changes})


async def _found(connection: GatewayConnection, name: str) -> dict[str, Any]:
    answer = await connection.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)
    found: dict[str, Any] = json.loads(answer.data)["config"]
    return found


def test_every_stream_and_bucket_of_the_design_is_there() -> None:
    """The names are the ones that are written down; buckets are streams with a prefix."""
    buckets = {"mallku_policy", "mallku_keys", "mallku_flags", "mallku_results"}
    streams = {AUDIT, CHECKPOINTS, JOBS, DEAD, REDRIVEN, RATES}
    assert set(WANTED) == streams | {f"KV_{name}" for name in buckets}


@pytest.mark.parametrize("name", [AUDIT, CHECKPOINTS])
def test_the_trail_can_only_grow(name: str) -> None:
    """Nothing of the trail may be deleted, purged, expired or discarded for newer records."""
    configuration = WANTED[name].configuration
    assert configuration["deny_delete"]
    assert configuration["deny_purge"]
    assert configuration["discard"] == "new"
    assert configuration["max_age"] == 0
    assert not configuration["allow_rollup_hdrs"]
    assert configuration["storage"] == "file"


def test_ids_are_remembered_longer_than_a_command_can_live() -> None:
    """The duplicate window outlasts a command's life and the skew of both clocks."""
    window_ms = WANTED[AUDIT].configuration["duplicate_window"] / 1e6
    assert window_ms > MAX_COMMAND_LIFE_MS + 2 * MAX_CLOCK_SKEW_MS


async def test_what_is_missing_is_created_and_then_there_is_no_drift(tmp_path: Path) -> None:
    """The first call creates all streams as defined, field by field; the second changes nothing."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        assert await ensure(connection, WANTED.values()) == []
        before = {name: await _found(connection, name) for name in WANTED}
        for name, found in before.items():
            assert _differences(WANTED[name].configuration, found) == {}
        assert await ensure(connection, WANTED.values()) == []
        assert {name: await _found(connection, name) for name in WANTED} == before


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in wanted if name in found and found[name] != wanted[name]}


async def test_streams_and_their_data_outlive_the_server(tmp_path: Path) -> None:
    """After a stop and a start everything is there, and nothing has drifted."""
    async with nats_house(tmp_path) as house:
        await house.server.stop()
        await house.server.start()
        async with house.connection(ADMINISTRATOR) as connection:
            assert await ensure(connection, WANTED.values()) == []


async def test_drift_is_reported_field_by_field_and_not_repaired(tmp_path: Path) -> None:
    """A stream that somebody made otherwise is named with both values, and left as it is."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        other = _changed(AUDIT, deny_purge=False, max_bytes=8 * MIB, description="mine")
        await ensure(connection, [other])
        drifts = await ensure(connection, [WANTED[AUDIT]])
        assert drifts == [
            Drift(AUDIT, "max_bytes", 16 * MIB, 8 * MIB, safe=True),
            Drift(AUDIT, "deny_purge", expected=True, found=False, safe=False),
        ]
        assert str(drifts[0]) == f"{AUDIT}.max_bytes: expected {16 * MIB}, found {8 * MIB}"
        assert (await _found(connection, AUDIT))["max_bytes"] == 8 * MIB


async def test_apply_makes_the_safe_changes_alone(tmp_path: Path) -> None:
    """A limit is raised, what else differs stays, is reported, and is not lost on the way."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        other = _changed(AUDIT, deny_purge=False, max_bytes=8 * MIB, description="mine")
        await ensure(connection, [other])
        left = await apply(connection, WANTED[AUDIT])
        assert [drift.field for drift in left] == ["deny_purge"]
        found = await _found(connection, AUDIT)
        assert found["max_bytes"] == 16 * MIB
        assert found["description"] == "mine"


NEW_OF_JOBS = ("no_ack", "republish", "subject_transform")
"""What the stream of jobs did not have at first."""


async def test_a_stream_of_jobs_of_before_stops_to_answer(tmp_path: Path) -> None:
    """What is there is brought to answer nobody, and keeps its jobs; what is unsafe is left."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        wanted = WANTED[JOBS].configuration
        before = {k: v for k, v in wanted.items() if k not in {*NEW_OF_JOBS}}
        await ensure(connection, [StreamDefinition(JOBS, before)])
        other = _changed(AUDIT, deny_purge=False, max_bytes=8 * MIB)
        await ensure(connection, [other])
        async with house.connection("mallku") as caller:
            subject = "mallku.v1.job.mallku.db.anchors.insert"
            assert b'"seq":1' in (await caller.request(subject, b"kept", timeout=5)).data
        left = await bring_about(connection, WANTED.values())
        assert [(drift.stream, drift.field) for drift in left] == [(AUDIT, "deny_purge")]
        found = await _found(connection, JOBS)
        assert {name: found[name] for name in NEW_OF_JOBS} == {n: wanted[n] for n in NEW_OF_JOBS}
        answer = await connection.request(f"$JS.API.STREAM.INFO.{JOBS}", b"", timeout=5)
        assert json.loads(answer.data)["state"]["messages"] == 1
        assert await ensure(connection, [WANTED[JOBS]]) == []


async def test_apply_does_not_lower_a_limit(house: NatsHouse) -> None:
    """A smaller limit could cost data: it is reported as unsafe and not applied."""
    async with house.connection(ADMINISTRATOR) as connection:
        smaller = _changed(DEAD, max_bytes=MIB // 2)
        assert await apply(connection, smaller) == [
            Drift(DEAD, "max_bytes", MIB // 2, MIB, safe=False)
        ]
        assert (await _found(connection, DEAD))["max_bytes"] == MIB


@pytest.mark.parametrize(
    ("field", "expected", "found", "safe"),
    [
        ("max_bytes", 2, 1, True),
        ("max_bytes", -1, 1, True),
        ("max_bytes", 1, 2, False),
        ("max_bytes", 1, -1, False),
        ("max_age", 0, 5, True),
        ("max_age", 5, 0, False),
        ("duplicate_window", 5, 9, True),
        ("subjects", ["a"], ["b"], False),
        ("retention", "limits", "workqueue", False),
        ("deny_delete", True, False, False),
    ],
)
def test_a_change_is_safe_when_it_cannot_lose_anything(
    field: str, expected: Any, found: Any, safe: bool
) -> None:
    """Raising a limit is safe, lowering it is not; no limit is higher than any."""
    drifts = compare(StreamDefinition("S", {field: expected}), {field: found})
    assert [drift.safe for drift in drifts] == [safe]


def test_what_the_server_leaves_out_is_no_drift() -> None:
    """False, zero and empty are the same as absent."""
    wanted = StreamDefinition("S", {"sealed": False, "max_age": 0, "description": ""})
    assert compare(wanted, {}) == []


async def test_too_little_room_is_said(tmp_path: Path) -> None:
    """A stream larger than the server's store is refused with the server's words."""
    async with (
        nats_house(tmp_path, streams=False, max_store_bytes=10 * MIB) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        large = definitions(replace(SMALL, audit_bytes=100 * MIB))
        with pytest.raises(ConfigurationError, match=rf"STREAM\.CREATE\.{AUDIT}"):
            await ensure(connection, large)


async def test_whoever_may_not_look_is_told(
    house: NatsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without the API gets a typed error within the bound, and not a silent pass."""
    monkeypatch.setattr("mallku_broker.jetstream.API_TIMEOUT_S", 0.2)
    async with house.connection("mallku") as caller:
        with pytest.raises(GatewayUnreachable, match="may this user call it"):
            await ensure(caller, definitions(StreamSettings()))


async def test_a_stream_that_is_missing_cannot_be_changed(tmp_path: Path) -> None:
    """`apply` creates nothing."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        with pytest.raises(ConfigurationError, match=f"no stream {AUDIT}"):
            await apply(connection, WANTED[AUDIT])
