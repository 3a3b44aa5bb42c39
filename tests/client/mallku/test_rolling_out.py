"""A rollout in front of Mallku's own interface, on a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mallku_client.mallku import CollectionSecurityPolicy, SecuredDatabaseInterface
from mallku_client.rollout import RolledOutDatabase, roll_out
from mallku_contracts.routes import Route
from tests.client.mallku.mallku_like import Activity, fresh

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Always:
    """Routes that all go one way."""

    def __init__(self, way: Route) -> None:
        self.default = way

    def route(self, collection: str) -> Route:
        """That way."""
        del collection
        return self.default


class Old:
    """The old way: what it holds, given as a driver gives it."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.documents = documents
        self.aql = self

    def collection(self, name: str) -> Old:
        """Itself, whatever the name."""
        del name
        return self

    def has_collection(self, name: str) -> bool:
        """It has all."""
        return bool(name)

    def get(self, key: str) -> dict[str, Any] | None:
        """A document by its key."""
        return next((each for each in self.documents if each["_key"] == key), None)

    def all(self) -> Iterator[dict[str, Any]]:
        """A cursor."""
        return iter(self.documents)

    def execute(self, query: str, bind_vars: Any = None) -> Iterator[dict[str, Any]]:
        """A cursor over everything."""
        del query, bind_vars
        return self.all()


def used(database: RolledOutDatabase, name: str) -> dict[str, int]:
    """What a shadow said of one call of each kind."""
    assert database.collection(name).get("a")["n"] == 0
    assert database.has_collection(name) is True
    assert len(list(database.collection(name).all())) == 2
    assert len(list(database.aql.execute(f"FOR d IN {name} RETURN d"))) == 2
    database.rollout.close()
    return database.rollout.report()[name]


@pytest.mark.parametrize("awaited", [False, True])
async def test_rows_are_compared_as_rows(db: SecuredDatabaseInterface, awaited: bool) -> None:
    """With either face: the same ones are equal, and others are told by their places."""
    name = fresh("rolled")
    db.collection(name).insert_many([{"_key": key, "n": n} for n, key in enumerate("ab")])
    documents = list(db.collection(name).all())
    gateway = await db if awaited else db
    routes = Always(Route.SHADOW)
    same = roll_out(legacy=Old(documents), gateway=gateway, routes=routes)
    assert used(same, name) == {"equal": 4}
    changed = [documents[0], {**documents[1], "n": "another"}]
    other = roll_out(legacy=Old(changed), gateway=gateway, routes=routes)
    assert used(other, name) == {"equal": 2, "different": 2}
    assert {each.paths for each in other.rollout.differences} == {("$[0].n",)}


async def test_a_rolled_out_database_may_be_awaited(db: SecuredDatabaseInterface) -> None:
    """Both ways are then as awaiting them gives them; what was compared is counted in one place."""
    name = fresh("rolled")
    db.collection(name).insert({"_key": "a", "n": 0})
    rolled = roll_out(legacy=Old([]), gateway=db, routes=Always(Route.GATEWAY))
    awaited = await rolled
    assert (await awaited.collection(name).get("a"))["n"] == 0
    assert await awaited.collection(name).get("nobody") is None
    assert await awaited.has_collection(name) is True
    assert awaited.rollout is rolled.rollout
    left = await roll_out(legacy=Old([{"_key": "a"}]), gateway=db, routes=Always(Route.LEGACY))
    assert left.collection(name).get("a") == {"_key": "a"}


async def test_collections_are_given_with_either_face(db: SecuredDatabaseInterface) -> None:
    """Made plainly they are used plainly, asked for by `await` they are awaited; secured too."""
    routes = Always(Route.GATEWAY)
    rolled = roll_out(legacy=Old([]), gateway=db, routes=routes)
    name = fresh("rolled")
    made = rolled.create_collection(name)
    made.insert({"_key": "a", "n": 1})
    asked = await rolled.get_collection(name)
    assert (await asked.get("a"))["n"] == 1
    assert (await (await made).get("a"))["n"] == 1
    rolled.register_collection_policy(
        CollectionSecurityPolicy("reciprocity_activities_secured", [Activity])
    )
    secured = await rolled.create_secured_collection("reciprocity_activities_secured")
    done = await secured.insert_secured(Activity(interaction_id="i1", kind="gift"))
    assert await secured.get_secured(done["_key"], Activity)
    routes.default = Route.LEGACY
    assert made.get("a") is None
