"""What a door may not carry does not pass it later either: in answers, in pages, in lists."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.dpop import API
from mallku_contracts.errors import PermissionDenied
from tests.client.http.stage import NARROW_DOOR, Holder, open_door, through
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(world: World) -> AsyncGenerator[SecuredDatabaseInterface]:
    """A service behind a door that may carry what is about `notes` alone."""
    async with open_door(world, NARROW_DOOR) as transport:
        prove = Holder.of(world, "mallku").prove
        yield through(world, transport, "mallku", prove, door=NARROW_DOOR)


async def test_old_answer_passes_a_door_as_far_as_its_ceiling(
    world: World, narrow: SecuredDatabaseInterface
) -> None:
    """What a service wrote over NATS a door tells of, without documents that it may not carry."""
    async with world.client("mallku") as native:
        for collection, shown in (("memory_anchors", False), ("notes", True)):
            await native.collection(collection).insert(
                {"salary": 1}, return_new=True, idempotency_key=f"ceiling-{collection}"
            )
            told = await narrow.outcome(f"ceiling-{collection}")
            assert told["state"] == "done"
            assert ("new" in told["result"]) is shown
            assert "new" in (await native.outcome(f"ceiling-{collection}"))["result"]
    with pytest.raises(PermissionDenied, match="no rule lets the door"):
        await narrow.collection("memory_anchors").get("any")


async def test_jobs_reply_passes_no_door_that_did_not_bring_it(
    world: World, narrow: SecuredDatabaseInterface
) -> None:
    """Neither the signed reply of a job over NATS nor what it read; its caller gets both."""
    async with world.client("mallku") as native:
        anchors = native.collection("memory_anchors")
        written = await anchors.submit.insert({"_key": "paid"}, return_new=True)
        await written.result(10.0)
        read = await native.submit.command("get", "memory_anchors", {"document": "paid"})
        await read.result(10.0)
        told = await narrow.outcome(written.idempotency_key)
        assert "reply" not in told
        assert "new" not in told["result"]
        with pytest.raises(PermissionDenied, match="not through this door"):
            await narrow.outcome(read.idempotency_key)
        for job in (written, read):
            assert "reply" in await native.outcome(job.idempotency_key)


async def test_pages_of_a_query_stay_on_the_side_that_asked_it(
    world: World, http: httpx.AsyncClient
) -> None:
    """A cursor that was opened over NATS has no pages behind a door, and stays as it was."""
    async with world.client("mallku") as native:
        await native.collection("memory_anchors").insert_many([{"n": n} for n in range(6)])
        text = "FOR a IN memory_anchors RETURN a.n"
        answer = await native.command("aql", None, {"query": text, "batch_size": 2})
        cursor = answer.result["cursor"]
        place = f"{API}/queries/{cursor['worker']}/{cursor['id']}"
        for attempt in (http.get(f"{place}/pages/2"), http.delete(place)):
            refused = await attempt
            assert (refused.status_code, refused.json()["code"]) == (410, "cursor_lost")


async def test_collections_beyond_a_door_are_not_listed_through_it(
    narrow: SecuredDatabaseInterface,
) -> None:
    """A name is told to whom something may be carried from there."""
    assert [info["name"] for info in await narrow.collections()] == ["notes"]
