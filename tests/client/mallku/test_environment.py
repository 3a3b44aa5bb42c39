"""What the environment may say, and what a service is told when it says too little or too much."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from mallku_client.mallku import SecuredDatabaseInterface, close_database, get_database
from mallku_client.mallku.environment import CONNECT_TIMEOUT_S, read_environment
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MallkuError
from tests.client.mallku.mallku_like import POLICY, Activity, fresh
from tests.integration.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON_S = 5.0
"""Far below every timeout of a call; a loaded machine needs its share of it."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing."""
    for name in [name for name in os.environ if name.startswith(("MALLKU_", "ARANGO_"))]:
        monkeypatch.delenv(name)
    yield monkeypatch
    close_database()


REFUSED = [
    ({"MALLKU_DEV_MODE": "true", "MALLKU_PRODUCTION": "true"}, "DEV_MODE is refused"),
    ({"MALLKU_SKIP_DATABASE": "true", "MALLKU_PRODUCTION": "true"}, "would lose every document"),
    (
        {"MALLKU_API_GATEWAY_URL": "nats://a:1", "MALLKU_API_URL": "nats://b:1"},
        "name different gateways",
    ),
    ({"MALLKU_SKIP_DATABASE": "maybe"}, "expected true or false"),
]


@pytest.mark.parametrize(("variables", "why"), REFUSED)
async def test_what_does_not_go_together_is_refused(
    bare: pytest.MonkeyPatch, variables: dict[str, str], why: str
) -> None:
    """At once, when the database is asked for; the error lists what was found."""
    bare.setenv("MALLKU_DB_PASSWORD", "a secret")
    for name, value in variables.items():
        bare.setenv(name, value)
    with pytest.raises(ConfigurationError, match=why) as refused:
        get_database()
    assert "a secret" not in str(refused.value)
    if len(variables) > 1:
        assert all(f"{name}={value}" in str(refused.value) for name, value in variables.items())
        assert "MALLKU_DB_PASSWORD" in str(refused.value)


async def test_nothing_said_is_told_at_the_first_call(bare: pytest.MonkeyPatch) -> None:
    """The object can be had; a call says what to set, and lists what was found."""
    bare.setenv("ARANGO_HOST", "db")
    anchors = get_database().collection("memory_anchors")
    begin = monotonic()
    with pytest.raises(ConfigurationError, match="nothing says where the gateway is") as refused:
        anchors.insert({"a": 1})
    assert monotonic() - begin < SOON_S
    assert "found: ARANGO_HOST" in str(refused.value)


async def test_production_is_not_advised_what_it_refuses() -> None:
    """Only the gateway's address is asked for there."""
    with pytest.raises(ConfigurationError, match="set MALLKU_API_GATEWAY_URL") as refused:
        read_environment({"MALLKU_PRODUCTION": "true"}).refuse_nowhere()
    assert "MALLKU_DEV_MODE" not in str(refused.value)
    assert "MALLKU_SKIP_DATABASE" not in str(refused.value)


async def test_credentials_in_a_url_are_not_shown() -> None:
    """Neither user nor password."""
    urls = {"MALLKU_API_GATEWAY_URL": "nats://u:pw@a:1", "MALLKU_API_URL": "nats://b:1"}
    with pytest.raises(ConfigurationError) as refused:
        read_environment(urls)
    assert "pw" not in str(refused.value)


async def test_the_old_name_of_the_url_counts() -> None:
    """`MALLKU_API_URL`, where the new one is not set."""
    found = read_environment({"MALLKU_API_URL": "nats://b:1"})
    assert found.settings.url == "nats://b:1"
    assert found.settings.connect_timeout_s == CONNECT_TIMEOUT_S
    named = read_environment({"MALLKU_CONNECT_TIMEOUT": "3"})
    assert named.settings.connect_timeout_s == 3


async def test_without_a_database_nothing_is_sent_and_reads_are_empty(
    bare: pytest.MonkeyPatch,
) -> None:
    """`MALLKU_SKIP_DATABASE=true`: no socket is opened either."""
    bare.setenv("MALLKU_SKIP_DATABASE", "true")
    bare.setattr(socket, "socket", None)
    db = get_database()
    assert db._skip_database
    assert db._database is None
    notes = db.collection("memory_anchors")
    assert notes.insert({"_key": "a"})["_key"] == "a"
    assert notes.insert({"b": 1})["_key"]
    assert notes.get("a") is None
    assert (list(notes.all()), list(notes.find({"a": 1})), notes.count()) == ([], [], 0)
    assert (notes.update({"_key": "a", "n": 1})["_key"], notes.has("a")) == ("a", False)
    assert notes.delete("a")["_key"] == "a"
    assert len(notes.insert_many([{}, {}])) == 2
    assert notes.upsert({"a": 1}, {"a": 1}, update={})["type"] == "insert"
    assert notes.add_persistent_index(fields=["a"])["fields"] == ["a"]
    assert (db.collections(), db.has_collection("memory_anchors")) == ([], False)
    assert db.create_collection("x").name == "x"
    assert list(db.aql.execute("FOR d IN memory_anchors RETURN d")) == []
    awaited = await db
    assert await awaited.collection("memory_anchors").get("a") is None
    assert [row async for row in await awaited.aql.execute("RETURN 1")] == []
    assert await db.query("memory_anchors", {"a": 1}) == []
    secured = await db.get_secured_collection("reciprocity_activities_secured")
    meta = await secured.insert_secured(Activity(interaction_id="a", kind="k"))
    assert meta["_key"] == "a"
    assert await secured.get_secured("a", Activity) is None


async def test_none_in_the_place_of_a_database_is_the_same() -> None:
    """As Mallku's own interface had it."""
    db = SecuredDatabaseInterface(None)
    assert db._skip_database
    assert db.collection("memory_anchors").count() == 0


async def test_a_gateway_that_is_not_there_is_told_soon(
    bare: pytest.MonkeyPatch, world: World
) -> None:
    """The first call in under a second, those behind it at once; and it is asked again later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        for name, value in world.house.environment("mallku", world.gateway.url).items():
            bare.setenv(name, value)
        bare.setenv("MALLKU_API_GATEWAY_URL", f"nats://127.0.0.1:{port}")
        notes = get_database().collection("memory_anchors")
        begin = monotonic()
        with pytest.raises(GatewayUnreachable):
            notes.get("a")
        assert monotonic() - begin < SOON_S
        begin = monotonic()
        for _ in range(50):
            with pytest.raises(GatewayUnreachable):
                notes.insert({"a": 1})
        assert monotonic() - begin < SOON_S  # all of them
    bare.setenv("MALLKU_API_GATEWAY_URL", world.gateway.url)
    end = monotonic() + 5 * SOON_S
    while True:  # once the pause is over
        try:
            assert notes.count() >= 0
        except GatewayUnreachable:
            assert monotonic() < end
            await asyncio.sleep(0.05)
        else:
            break


async def test_a_gateway_that_goes_away_is_told_soon(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A connection that was there does not make anybody wait either."""
    async with running_world(tmp_path / "house", 1, policy=POLICY) as own:
        for name, value in own.house.environment("mallku", own.gateway.url).items():
            bare.setenv(name, value)
        notes = get_database().collection(fresh("going"))
        notes.insert({"_key": "a"})
    for call in (partial(notes.get, "a"), partial(notes.insert, {"_key": "b"}), notes.count):
        begin = monotonic()
        with pytest.raises(MallkuError):
            call()
        assert monotonic() - begin < SOON_S


@pytest.mark.timeout(120)
async def test_development_mode_starts_a_gateway(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`MALLKU_DEV_MODE=true` alone: the embedded gateway, with the same checks, kept on disk."""
    bare.setenv("MALLKU_DEV_MODE", "true")
    bare.setenv("MALLKU_DEV_DATA", str(tmp_path / "data"))
    db = get_database()
    db.collection("memory_anchors").insert({"_key": "a"})
    await db.initialize()
    secured = await db.get_secured_collection("reciprocity_activities_secured")
    model = Activity(interaction_id="x", kind="k")
    await secured.insert_secured(model)
    with pytest.raises(MallkuError, match="Direct access"):
        db._database.collection("reciprocity_activities_secured").insert({"plain": 1})
    close_database()
    again = get_database()
    await again.initialize()
    assert again.collection("memory_anchors").get("a")["_key"] == "a"
    kept = await again.get_secured_collection("reciprocity_activities_secured")
    assert await kept.get_secured("x", Activity) == model
