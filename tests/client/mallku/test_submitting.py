"""Inserts whose result nobody reads, as durable jobs."""

from __future__ import annotations

import asyncio

import pytest

from mallku_client.mallku import (
    CollectionSecurityPolicy,
    SecuredDatabaseInterface,
    close_database,
    get_database,
)
from mallku_contracts.errors import InvalidKey, PermissionDenied
from tests.client.mallku.mallku_like import fresh
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

JOB_S = 10.0


async def until_there(db: SecuredDatabaseInterface, name: str, key: str) -> dict[str, object]:
    """The document, once a worker has carried the job out."""
    async with asyncio.timeout(JOB_S):
        while (found := db.collection(name).get(key)) is None:  # noqa: ASYNC110 - a worker's doing
            await asyncio.sleep(0.02)
    document: dict[str, object] = found
    return document


async def test_inserts_of_named_collections_go_as_jobs(
    db: SecuredDatabaseInterface, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes when the stream has it; the key is known at once, the revision is not."""
    name = fresh("journey_moments")
    monkeypatch.setenv("MALLKU_SUBMIT_COLLECTIONS", "progress_*, scratch_journey_moments_*")
    meta = db.collection(name).insert({"step": 1})
    assert (meta["_id"], meta["_rev"]) == (f"{name}/{meta['_key']}", "")
    assert (await until_there(db, name, meta["_key"]))["step"] == 1
    awaited = await db
    meta = await awaited.collection(name).insert({"_key": "mine", "step": 2})
    assert meta["_key"] == "mine"
    assert (await until_there(db, name, "mine"))["step"] == 2
    trail = await world.trail()
    assert any(
        record.subject == f"mallku.v1.job.mallku.mallku.{name}.insert" for record in trail.records
    )


async def test_who_may_not_make_collections_uses_those_that_are_there(
    db: SecuredDatabaseInterface, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable inserts, `create_collection` and its like need the right only where one is not."""
    name = fresh("jobs")
    async with world.client("mallku") as maker:
        await maker.create_collection(name)
    for variable, value in world.house.environment("narrow", world.gateway.url).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MALLKU_SUBMIT_COLLECTIONS", "scratch_*")
    assert db.collection(name).insert({"_key": "a", "n": 1})["_rev"] == ""
    assert (await until_there(db, name, "a"))["n"] == 1
    assert db.create_collection(name).name == name
    made = await db.create_secured_collection(name, CollectionSecurityPolicy(name, []))
    assert made.name == name
    missing = fresh("jobs")
    with pytest.raises(PermissionDenied, match="create-collection"):
        db.collection(missing).insert({"n": 1})
    with pytest.raises(PermissionDenied, match="create-collection"):
        db.create_collection(missing)


async def test_what_cannot_be_stored_is_no_job(
    db: SecuredDatabaseInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused here, as any insert."""
    monkeypatch.setenv("MALLKU_SUBMIT_COLLECTIONS", "scratch_*")
    with pytest.raises(InvalidKey):
        db.collection(fresh("jobs")).insert({"_key": "a b"})


async def test_other_inserts_do_not(
    db: SecuredDatabaseInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither other collections, nor inserts that ask for more than to be put in."""
    monkeypatch.setenv("MALLKU_SUBMIT_COLLECTIONS", "scratch_jobs_*")
    assert db.collection(fresh("other")).insert({"a": 1})["_rev"]
    assert db.collection(fresh("jobs")).insert({"a": 1}, return_new=True)["new"]["a"] == 1
    close_database()
    assert get_database() is not db
