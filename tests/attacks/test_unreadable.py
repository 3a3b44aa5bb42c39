"""Commands that are each within their limits, and would add up to what nobody can read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import InvalidDocument
from mallku_contracts.limits import MAX_CONTAINERS, MAX_DEPTH, MAX_MAP_ENTRIES
from tests.integration.test_rebuild import rebuilt
from tests.integration.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection]}
  updater:
    rules: [{id: shared, collections: [shared], operations: [update]}]
  inserter:
    rules: [{id: shared, collections: [shared], operations: [insert]}]
  asker:
    rules: [{id: shared, collections: [shared], operations: [aql, get, update]}]
principals:
  eve: {roles: [updater]}
  mallory: {roles: [inserter]}
  oscar: {roles: [asker]}
  victim: {roles: [service]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""
WIDE = MAX_MAP_ENTRIES - 1


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway of its own, with one document of the victim's."""
    async with running_world(tmp_path / "house", policy=POLICY) as world:
        async with world.client("victim") as victim:
            shared = await victim.create_collection("shared")
            await shared.insert({"_key": "k", "owner": "victim"})
        yield world


async def is_whole(world: World, victim: SecuredDatabaseInterface, folder: Path) -> None:
    """Everybody reads, no worker is accused, and the trail makes the same database again."""
    shared = victim.collection("shared")
    found: Any = await shared.get("k")
    assert found["owner"] == "victim"
    page: Any = (await victim.command("find", "shared", {})).result
    assert page["documents"]
    report = await world.verify()
    assert report.clean, report.findings
    again = await rebuilt(world, folder)
    assert again.good, (again.rebuilt, again.compared)


@pytest.mark.timeout(180)
async def test_updates_add_up_to_more_names_than_a_command_may_have(
    world: World, tmp_path: Path
) -> None:
    """Twenty-one times 4,999 names, 980 KB in all, by somebody who may `update` alone."""
    async with world.client("eve") as eve, world.client("victim") as victim:
        for start in range(0, 21 * WIDE, WIDE):
            names = {f"{name:x}": 0 for name in range(start, start + WIDE)}
            await eve.collection("shared").update({"_key": "k", **names}, silent=True)
        found: Any = await victim.collection("shared").get("k")
        assert len(found) > 21 * WIDE
        await is_whole(world, victim, tmp_path)


@pytest.mark.timeout(180)
async def test_a_page_fills_with_the_smallest_values(world: World, tmp_path: Path) -> None:
    """Empty arrays, as many as a command may have, in so many documents that they fill a page."""
    async with world.client("mallory") as mallory, world.client("victim") as victim:
        shared = mallory.collection("shared")
        for number in range(43):
            arrays: list[list[Any]] = [[]] * (MAX_CONTAINERS - 10)
            await shared.insert({"_key": f"a{number}", "a": arrays}, silent=True)
        await is_whole(world, victim, tmp_path)


@pytest.mark.timeout(180)
async def test_queries_nest_a_document_deeper_and_deeper(world: World, tmp_path: Path) -> None:
    """One level with every query, until the store refuses the version and keeps the one before."""
    deeper = "FOR d IN shared FILTER d._key == 'k' UPDATE d WITH {v: {v: d.v}} IN shared"
    async with world.client("oscar") as oscar, world.client("victim") as victim:
        for _ in range(2, MAX_DEPTH + 1):
            await oscar.aql.execute(deeper)
        with pytest.raises(InvalidDocument, match=f"{MAX_DEPTH} levels"):
            await oscar.aql.execute(deeper)
        await is_whole(world, victim, tmp_path)
