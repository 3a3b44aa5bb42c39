"""A collection heeds the flag at each call, however it was obtained; policies hold both ways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from mallku_client.rollout import RolledOutCollection
from mallku_client.rollout.database import GIVE_COLLECTIONS
from mallku_contracts.routes import Route
from tests.client.two_ways import Way, World

ROUTES = (Route.LEGACY, Route.GATEWAY, Route.SHADOW)
GIVERS = sorted(GIVE_COLLECTIONS)


def _asked(world: World) -> tuple[int, int]:
    return world.legacy.asked.count("insert"), world.gateway.asked.count("insert")


async def _its_own() -> str:
    return "a collection of one side's own"


@pytest.mark.parametrize("method", GIVERS)
@pytest.mark.parametrize("keyword", [None, "name", "collection_name"])
def test_a_collection_that_was_given_heeds_every_switch(method: str, keyword: str | None) -> None:
    """Made or asked for on the way that its line says, it goes the way that its line says now."""
    world = World(Route.LEGACY, {method: "a collection of one side's own"})
    for route in ROUTES:
        world.routes.routes["c"] = route
        give: Callable[..., Any] = getattr(world.database, method)
        collection = give("c") if keyword is None else give(**{keyword: "c"})
        assert isinstance(collection, RolledOutCollection)
        assert collection.name == "c"
        before = _asked(world)
        for later, expected in zip(ROUTES, ((1, 0), (1, 1), (2, 1)), strict=True):
            world.routes.routes["c"] = later
            collection.insert({})
            assert (_asked(world)[0] - before[0], _asked(world)[1] - before[1]) == expected
    assert (world.legacy.asked.count(method), world.gateway.asked.count(method)) == (2, 1)


@pytest.mark.parametrize("method", GIVERS)
def test_what_was_awaited_is_awaited(method: str) -> None:
    """The side's own answer is waited for, and its failure told; tasks may be made of it."""
    world = World(Route.GATEWAY, {method: _its_own})

    async def use() -> None:
        collection = await asyncio.create_task(getattr(world.database, method)("c"))
        assert isinstance(collection, RolledOutCollection)
        for route, expected in ((Route.GATEWAY, (0, 1)), (Route.LEGACY, (1, 1))):
            world.routes.routes["c"] = route
            collection.insert({})
            assert _asked(world) == expected

    asyncio.run(use())


@pytest.mark.parametrize("method", GIVERS)
def test_what_cannot_be_given_is_refused_as_before(method: str) -> None:
    """With the error of the side that was asked, plainly or awaited."""

    async def refuse() -> None:
        raise KeyError("no policy")

    for answer in (KeyError("no policy"), refuse):
        world = World(Route.GATEWAY, {}, {method: answer})

        async def use(world: World = world) -> None:
            await getattr(world.database, method)("c")

        with pytest.raises(KeyError, match="no policy"):
            asyncio.run(use())


@pytest.mark.parametrize("default", Route)
@pytest.mark.parametrize("method", ["register_collection_policy", "initialize"])
def test_policies_reach_both_ways(method: str, default: Route) -> None:
    """So that a collection is as guarded behind a switch as before it; the leading one answers."""
    world = World(Route.LEGACY, {method: "old"}, {method: "new"})
    world.routes.default = default
    answer = getattr(world.database, method)("policy")
    assert answer == ("new" if default is Route.GATEWAY else "old")
    assert (world.legacy.asked, world.gateway.asked) == ([method], [method])


def test_a_policy_that_a_collection_is_made_with_reaches_both_ways() -> None:
    """The collection itself is made where its line says."""
    world = World(Route.LEGACY)
    world.database.create_secured_collection("c", "policy")
    world.database.create_secured_collection("c", policy="policy")
    made = ["register_collection_policy", "create_secured_collection"]
    assert (world.legacy.asked, world.gateway.asked) == (made * 2, made[:1] * 2)


@pytest.mark.parametrize("fails", ["legacy", "gateway"])
def test_who_does_not_lead_cannot_fail_the_start(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged; the leading way's is the caller's."""

    async def start() -> str:
        return "started"

    async def fail() -> str:
        raise OSError("nobody there")

    answers = {"legacy": start, "gateway": start} | {fails: fail}
    world = World(
        Route.LEGACY, {"initialize": answers["legacy"]}, {"initialize": answers["gateway"]}
    )

    async def use() -> Any:
        return await world.database.initialize()

    if fails == "legacy":
        with pytest.raises(OSError, match="nobody there"):
            asyncio.run(use())
        return
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(use()) == "started"
    assert "initialize" in caplog.text
    assert "OSError" in caplog.text


class _Bare:
    """A driver's database: it has no policies."""

    def collection(self, name: str) -> Way:
        """One of it."""
        return Way({}, name=name)


def test_a_way_without_policies_needs_none() -> None:
    """What it has no name for is not asked of it; where neither has, the name is not there."""
    world = World(Route.LEGACY)
    world.database._legacy = _Bare()  # a way of another kind
    world.database.register_collection_policy("policy")
    assert world.gateway.asked == ["register_collection_policy"]
    world.database._gateway = _Bare()  # as above
    assert not hasattr(world.database, "register_collection_policy")
