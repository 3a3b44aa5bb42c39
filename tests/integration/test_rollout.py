"""A rollout over a real gateway: flags are pushed while a service works; nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.files import write_private_text
from mallku_client.rollout import RolledOutDatabase, WatchedRoutes, roll_out
from mallku_client.sync import SecuredDatabaseInterface
from mallku_contracts.routes import Route
from mallku_contracts.subjects import PREFIX, CommandSubject
from mallku_deploy.governing import push_flags
from tests.integration.world import World, running_world, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUTES = (Route.LEGACY, Route.SHADOW, Route.GATEWAY, Route.SHADOW, Route.LEGACY)
"""To and fro: a rollout that is taken back."""


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway of one's own; who speaks as `operator` stands for the old way."""
    async with running_world(tmp_path / "house") as world:
        async with world.client() as client:
            await client.create_collection("anchors")
        yield world


async def _switch(world: World, version: int, route: Route) -> None:
    file = world.house.root.parent / "flags.yaml"
    write_private_text(file, f"{{version: {version}, collections: {{anchors: {route}}}}}")
    await push_flags(file, world.administrator_settings())


def _goes(routes: WatchedRoutes, route: Route) -> bool:
    return routes.route("anchors") is route


def _use(database: RolledOutDatabase, key: str) -> None:
    anchors = database.collection("anchors")
    anchors.insert({"_key": key, "n": 1})
    assert anchors.get(key)["n"] == 1
    query = "FOR a IN @@c FILTER a.n == 1 RETURN a"
    assert list(database.aql.execute(query, bind_vars={"@c": "anchors"}))


async def test_each_act_is_done_once_whichever_way_is_switched_to(own: World) -> None:
    """Each insert is on the trail once, by who the flag said; in shadow, reads were by both."""
    ways = [
        await asyncio.to_thread(
            SecuredDatabaseInterface.connect, settings=own.client_settings(principal)
        )
        for principal in ("operator", "mallku")
    ]
    routes = WatchedRoutes(ways[1].describe_flags, look_s=0.05)
    database = roll_out(legacy=ways[0], gateway=ways[1], routes=routes)
    try:
        for version, route in enumerate(ROUTES, start=1):
            await _switch(own, version, route)
            await until(f"{route} is heeded", partial(_goes, routes, route))
            await asyncio.to_thread(_use, database, f"k{version}")
        await asyncio.to_thread(database.rollout.close)
    finally:
        routes.close()
        for way in ways:
            await asyncio.to_thread(way.close)
    assert database.rollout.report() == {"anchors": {"equal": 4}}
    trail = await own.trail()
    done = Counter(
        (asked.principal, asked.operation)
        for record in trail.records
        if record.kind == "done"
        and record.subject.startswith(f"{PREFIX}.")
        and (asked := CommandSubject.parse(record.subject)).collection == "anchors"
    )
    assert (done["operator", "insert"], done["mallku", "insert"]) == (4, 1)
    assert (done["operator", "get"], done["mallku", "get"]) == (4, 3)
