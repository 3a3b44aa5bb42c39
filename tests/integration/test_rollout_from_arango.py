"""A rollout from the database's own driver to the gateway, over one database, by real flags.

The old way is python-arango with a password of its own, as Mallku had it; the gateway's workers use
the same (simulated) ArangoDB. What either did is read from the server's log of requests and from
the trail.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arango.client import ArangoClient
from arango.exceptions import DocumentInsertError

from mallku_broker.files import write_private_text
from mallku_client import sync
from mallku_client.mallku import close_database, get_database
from mallku_client.rollout import RolledOutDatabase, WatchedRoutes, roll_out
from mallku_contracts.routes import Route
from mallku_contracts.subjects import PREFIX, CommandSubject
from mallku_deploy.governing import push_flags
from tests.integration.world import World, running_world, until
from tests.support.simulated_arango import Asked, SimulatedArango

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUTES = (Route.LEGACY, Route.SHADOW, Route.GATEWAY, Route.SHADOW, Route.LEGACY)
"""To and fro: a rollout that is taken back."""

READS = 11
"""Questions of `look`."""


@dataclass
class Service:
    """A service that moves: its database over both ways, and what it can be asked."""

    world: World
    server: SimulatedArango
    routes: WatchedRoutes
    old: Any
    version: int = 0
    told: list[str] = field(default_factory=list)

    def database(self, old: Any = None, **options: Any) -> RolledOutDatabase:
        """Both ways as one."""
        return roll_out(
            legacy=old or self.old, gateway=get_database(), routes=self.routes, **options
        )

    async def switch(self, route: Route) -> None:
        """Push flags, and wait until this service heeds them."""
        self.version += 1
        file = self.world.house.root.parent / "flags.yaml"
        lines = f"{{version: {self.version}, collections: {{anchors: {route}}}}}"
        write_private_text(file, lines)
        await push_flags(file, self.world.administrator_settings())
        await until(f"{route} is heeded", partial(self._goes, route))

    def _goes(self, route: Route) -> bool:
        return self.routes.route("anchors") is route

    def by_the_driver(self) -> Counter[str]:
        """The requests with the old password, by their methods; queries are `POST` as well."""
        name = base64.b64encode(b"old:way").decode()
        return Counter(
            "query" if asked.path.startswith("/_api/cursor") else asked.method
            for asked in self.server.asked
            if asked.headers.get("authorization", "").endswith(name)
        )

    async def by_the_gateway(self) -> Counter[str]:
        """The commands about anchors on the trail, by their operations."""
        trail = await self.world.trail()
        return Counter(
            asked.operation
            for record in trail.records
            if record.kind == "done"
            and record.subject.startswith(f"{PREFIX}.")
            and (asked := CommandSubject.parse(record.subject)).collection in ("anchors", "@")
            and asked.principal == "mallku"
        )


def _without_limit(asked: Asked) -> None:
    """A count of null is no limit to ArangoDB; the driver says so of every collection it reads."""
    if asked.path == "/_api/cursor" and asked.method == "POST":
        asked.body["query"] = asked.body["query"].replace("LIMIT 0, null", "")


@pytest_asyncio.fixture(loop_scope="session")
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A gateway over an ArangoDB that the old driver reaches as well."""
    for name in [name for name in os.environ if name.startswith(("MALLKU_", "ARANGO_"))]:
        monkeypatch.delenv(name)
    server = SimulatedArango(
        tmp_path, users={"root": "", "old": "way"}, databases=("_system", "mallku", "elsewhere")
    )
    monkeypatch.setenv("MALLKU_WORKER_ARANGO_URL", server.url)
    server.before = _without_limit
    driver = ArangoClient(hosts=server.url)
    async with running_world(tmp_path / "house", 1, store="arango") as world:
        for name, value in world.house.environment("mallku", world.gateway.url).items():
            monkeypatch.setenv(name, value)
        asking = await asyncio.to_thread(sync.SecuredDatabaseInterface.connect)
        routes = WatchedRoutes(asking.describe_flags, look_s=0.05)
        old = driver.db("mallku", username="old", password="way")
        await asyncio.to_thread(old.create_collection, "anchors")
        yield Service(world, server, routes, old)
        routes.close()
        await asyncio.to_thread(asking.close)
        await asyncio.to_thread(close_database)
    driver.close()
    server.close()


def change(database: RolledOutDatabase, key: str) -> None:
    """Four writes, after which one more document is there."""
    anchors = database.collection("anchors")
    assert anchors.insert({"_key": key, "n": 1, "kept": {"a": 1}})["_key"] == key
    anchors.update({"_key": key, "n": 2})
    anchors.insert({"_key": f"{key}-gone"})
    anchors.delete(f"{key}-gone")


def look(database: RolledOutDatabase, key: str) -> None:
    """Each way to read once; the answers are the same whichever way they come."""
    anchors = database.collection("anchors")
    document = anchors.get(key)
    assert (document["n"], document["kept"]) == (2, {"a": 1})
    assert anchors.get("nobody") is None
    assert anchors.has(key)
    count = anchors.count()
    assert [each["_key"] for each in anchors.get_many([key, "nobody"])] == [key]
    assert (
        len(list(anchors.all())) == len(list(anchors.keys())) == len(list(anchors.ids())) == count
    )
    assert key in [each["_key"] for each in anchors.find({"n": 2})]
    assert database.has_collection("anchors")
    text = "FOR a IN @@c FILTER a.n == @n SORT a._key RETURN {key: a._key, n: a.n}"
    rows = list(database.aql.execute(text, bind_vars={"@c": "anchors", "n": 2}))
    assert {"key": key, "n": 2} in rows
    assert len(rows) == count


def compared(database: RolledOutDatabase) -> int:
    """How many comparisons are over."""
    return sum(database.rollout.report().get("anchors", {}).values())


async def test_a_service_moves_from_the_driver_and_back(service: Service) -> None:
    """Writes are done once, by whom the flag said; in shadow both are asked, and agree."""
    database = service.database()
    shadows = 0
    for number, route in enumerate(ROUTES):
        await service.switch(route)
        before = service.by_the_driver(), await service.by_the_gateway()
        await asyncio.to_thread(change, database, f"k{number}")
        await asyncio.to_thread(look, database, f"k{number}")
        shadows += READS * (route is Route.SHADOW)
        await until("all is compared", lambda: compared(database) == shadows)  # noqa: B023
        driver = service.by_the_driver() - before[0]
        gateway = await service.by_the_gateway() - before[1]
        old = route is not Route.GATEWAY
        written = (driver["POST"], driver["PATCH"], driver["DELETE"])
        assert written == ((2, 1, 1) if old else (0, 0, 0))
        assert (driver["query"] > 0) is (driver["GET"] > 0) is old
        commands = [gateway[each] for each in ("insert", "update", "delete")]
        assert commands == ([0, 0, 0] if old else [2, 1, 1])
        assert (gateway["aql"] > 0) is (gateway["count"] > 0) is (route is not Route.LEGACY)
    await asyncio.to_thread(database.rollout.close)
    assert database.rollout.report() == {"anchors": {"equal": 2 * READS}}
    found = await asyncio.to_thread(lambda: list(service.old.collection("anchors").all()))
    assert {(each["_key"], each["n"]) for each in found} == {(f"k{n}", 2) for n in range(5)}


async def test_what_the_driver_refuses_is_not_tried_again(service: Service) -> None:
    """A conflict of the old way is the caller's, as it was; the gateway does not hear of it."""
    await service.switch(Route.SHADOW)
    database = service.database()
    anchors = database.collection("anchors")
    await asyncio.to_thread(anchors.insert, {"_key": "a", "n": 1})
    with pytest.raises(DocumentInsertError) as refused:
        await asyncio.to_thread(anchors.insert, {"_key": "a", "n": 2})
    assert refused.value.error_code == 1210
    assert "insert" not in await service.by_the_gateway()
    await asyncio.to_thread(database.rollout.close)
    assert database.rollout.report() == {}


async def test_another_database_is_found_out_by_the_shadow(service: Service) -> None:
    """What differs is told by its place and no value; the caller has the old answer all along."""
    await service.switch(Route.SHADOW)
    other = ArangoClient(hosts=service.server.url)
    old = other.db("elsewhere", username="old", password="way")
    await asyncio.to_thread(old.create_collection, "anchors")
    for database, text in ((old, "secret words"), (service.old, "other words")):
        anchors = database.collection("anchors")
        await asyncio.to_thread(anchors.insert, {"_key": "a", "n": 1, "text": text})
        await asyncio.to_thread(anchors.insert, {"_key": "same", "n": 1})
    told: list[Any] = []
    database = service.database(old, same_database=False, on_difference=told.append)
    anchors = database.collection("anchors")
    assert (await asyncio.to_thread(anchors.get, "a"))["text"] == "secret words"
    assert (await asyncio.to_thread(anchors.get, "same"))["n"] == 1
    assert await asyncio.to_thread(lambda: len(list(anchors.all()))) == 2
    await asyncio.to_thread(database.rollout.close)
    other.close()
    assert database.rollout.report() == {"anchors": {"different": 2, "equal": 1}}
    assert {(each.operation, each.paths) for each in told} == {
        ("get", ("$.text",)),
        ("all", ("$[0].text",)),
    }
    assert "words" not in repr(told)


async def test_a_service_outlives_its_gateway_in_shadow(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is away is counted, and costs the caller neither answer nor wait."""
    await service.switch(Route.SHADOW)
    database = service.database()
    await asyncio.to_thread(change, database, "k")
    monkeypatch.setenv("MALLKU_API_GATEWAY_URL", "nats://127.0.0.1:1")
    begun = asyncio.get_running_loop().time()
    found = await asyncio.to_thread(database.collection("anchors").get, "k")
    took = asyncio.get_running_loop().time() - begun
    await asyncio.to_thread(database.rollout.close)
    assert found["n"] == 2
    assert took < 0.5  # the gateway is given up after 0.75 s and more
    assert database.rollout.report() == {"anchors": {"failed": 1}}
