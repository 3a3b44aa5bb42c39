"""A rollout leads each call one way, compares what it may, and never writes twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import pytest

from mallku_client.rollout import Difference, RolledOutDatabase, Shadow, Verdict, WatchedRoutes
from mallku_client.rollout.comparing import MAX_COMPARED_CHARS
from mallku_client.rollout.database import NAMED, NAMED_READS, READS, route_query
from mallku_client.rollout.shadow import MAX_ROWS
from mallku_contracts.errors import Unavailable
from mallku_contracts.results import FlagsInfo
from mallku_contracts.routes import Route
from tests.client.two_ways import Routed, World


@pytest.mark.parametrize("method", sorted(READS))
def test_a_shadow_reads_both_ways_and_answers_the_old_one(method: str) -> None:
    """The caller gets what the old way said, and both were asked once."""
    world = World(Route.SHADOW, {method: 1}, {method: 2})
    assert getattr(world.database.collection("c"), method)("x") == 1
    assert world.counted() == {"different": 1}
    assert (world.legacy.asked, world.gateway.asked) == ([method], [method])
    assert world.told == [Difference("c", method, Verdict.DIFFERENT, ("$",))]


@pytest.mark.parametrize("route", Route)
@pytest.mark.parametrize("method", ["insert", "update", "delete", "truncate", "insert_secured"])
def test_a_write_goes_one_way(route: Route, method: str) -> None:
    """Never two, whatever the flag says."""
    world = World(route)
    getattr(world.database.collection("c"), method)({})
    assert world.counted() == {}
    asked = (world.legacy.asked, world.gateway.asked)
    assert asked == (([], [method]) if route is Route.GATEWAY else ([method], []))


@pytest.mark.parametrize("method", sorted(NAMED))
@pytest.mark.parametrize("route", Route)
def test_a_database_method_follows_the_collection_that_it_names(method: str, route: Route) -> None:
    """And is a read or a write like those of the collection itself."""
    world = World(route)
    getattr(world.database, method)("c")
    both = route is Route.SHADOW and method in NAMED_READS
    assert world.counted() == ({"equal": 1} if both else {})
    assert bool(world.legacy.asked) == (route is not Route.GATEWAY)
    assert bool(world.gateway.asked) == (route is Route.GATEWAY or both)


def test_a_switch_is_heeded_by_the_next_call() -> None:
    """A collection object that was made before goes the new way too, and back."""
    world = World(Route.LEGACY)
    collection = world.database.collection("c")
    for route in (Route.LEGACY, Route.GATEWAY, Route.LEGACY):
        world.routes.routes["c"] = route
        collection.insert({})
    assert (len(world.legacy.asked), len(world.gateway.asked)) == (2, 1)


@pytest.mark.parametrize(
    ("query", "route"),
    [
        ("FOR a IN l RETURN a", Route.LEGACY),
        ("FOR a IN s RETURN a", Route.SHADOW),
        ("FOR a IN g RETURN a", Route.GATEWAY),
        ("FOR a IN g FOR b IN s RETURN a", Route.SHADOW),
        ("FOR a IN g FOR b IN s FOR c IN l RETURN a", Route.LEGACY),
        ("FOR a IN @@c RETURN a", Route.SHADOW),
        ("FOR a IN g INSERT a INTO l", Route.LEGACY),
        ("RETURN 1", Route.GATEWAY),
        ("FOR v IN 1..2 ANY 'g/1' GRAPH 'x' RETURN v", Route.GATEWAY),
        ("NOT A QUERY", Route.GATEWAY),
    ],
)
def test_a_query_goes_the_most_careful_way_of_its_collections(query: str, route: Route) -> None:
    """Read off a parse of the text with its bind values."""
    ways = {"l": Route.LEGACY, "s": Route.SHADOW, "g": Route.GATEWAY}
    assert route_query(Routed(ways, Route.GATEWAY), query, {"@c": "s"})[0] is route


@pytest.mark.parametrize(
    "query", ["FOR a IN c UPDATE a WITH {x: 1} IN c", "REMOVE 'k' IN c", "NOT A QUERY"]
)
def test_a_query_that_may_change_something_is_not_asked_twice(query: str) -> None:
    """Also one that cannot be understood."""
    world = World(Route.SHADOW)
    world.routes.default = Route.SHADOW
    world.database.aql.execute(query)
    world.database.aql_query(query)
    assert world.counted() == {}
    assert world.gateway.asked == []


def test_rows_are_compared_when_the_caller_has_read_them() -> None:
    """In any order; what the caller does to a row does not count."""
    world = World(
        Route.SHADOW,
        {"execute": lambda: iter([{"n": 1}, {"n": 2}])},
        {"execute": lambda: iter([{"n": 2}, {"n": 1}])},
    )
    rows = world.database.aql.execute("FOR a IN c RETURN a")
    for row in rows:
        row["n"] = "changed"
    assert list(rows) == []
    assert world.counted() == {"equal": 1}


@pytest.mark.parametrize("read", [0, 1])
def test_rows_that_nobody_read_are_not_asked_for(read: int) -> None:
    """Who stops early leaves nothing to compare with."""
    world = World(Route.SHADOW, {"execute": lambda: iter([1, 2])})
    rows = world.database.aql.execute("FOR a IN c RETURN a")
    for _ in range(read):
        next(rows)
    assert world.counted() == {}
    assert world.gateway.asked == []


class DriversCursor:
    """A cursor as a driver has it: closed by `with`, and its rows are counted."""

    def __init__(self, *rows: int) -> None:
        self.rows = list(rows)
        self.open = 0

    def __iter__(self) -> DriversCursor:
        return self

    def __next__(self) -> int:
        if not self.rows:
            raise StopIteration
        return self.rows.pop(0)

    def __len__(self) -> int:
        return len(self.rows)

    def __enter__(self) -> Self:
        self.open += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.open -= 1

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


def test_a_cursor_keeps_what_it_could() -> None:
    """`with`, `len` and whether there is anything; what is read inside is compared."""
    old = DriversCursor(1, 2)
    world = World(Route.SHADOW, {"execute": lambda: old}, {"execute": lambda: iter([1, 2])})
    with world.database.aql.execute("FOR a IN c RETURN a") as rows:
        assert (len(rows), bool(rows), old.open) == (2, True, 1)
        assert list(rows) == [1, 2]
        assert not rows
    assert old.open == 0
    assert world.counted() == {"equal": 1}


def test_an_awaited_cursor_keeps_what_it_could() -> None:
    """`async with` too."""
    old = DriversCursor(1)
    world = World(Route.SHADOW, {"execute": lambda: old})

    async def use() -> None:
        async with world.database.aql.execute("FOR a IN c RETURN a") as rows:
            assert (len(rows), old.open) == (1, 1)

    asyncio.run(use())
    assert old.open == 0


def test_rows_that_have_no_number_have_none() -> None:
    """As before: there is something, and `len` is refused."""
    world = World(Route.SHADOW, {"execute": lambda: iter([1])})
    rows = world.database.aql.execute("FOR a IN c RETURN a")
    assert rows
    with pytest.raises(TypeError):
        len(rows)


def test_more_rows_than_are_compared_are_counted_as_skipped() -> None:
    """The caller has them all."""
    world = World(Route.SHADOW, {"execute": lambda: iter(range(MAX_ROWS + 1))})
    assert len(list(world.database.aql.execute("FOR a IN c RETURN a"))) == MAX_ROWS + 1
    assert world.counted() == {"skipped": 1}


def test_an_awaited_way_is_compared_too() -> None:
    """Coroutines and cursors to await: the caller awaits them as before."""

    async def value() -> dict[str, int]:
        return {"n": 1}

    async def rows() -> AsyncIterator[int]:
        for number in (1, 2):
            yield number

    world = World(Route.SHADOW, {"get": value, "execute": rows})

    async def use() -> None:
        assert await world.database.collection("c").get("x") == {"n": 1}
        found = world.database.aql.execute("FOR a IN c RETURN a")
        assert [row async for row in found] == [1, 2]

    asyncio.run(use())
    assert world.counted() == {"equal": 2}


def test_a_gateway_that_fails_is_counted_and_not_felt() -> None:
    """The caller has the old answer; the error's kind is told, its message is not."""
    world = World(Route.SHADOW, {"get": {"n": 1}}, {"get": Unavailable("secret address")})
    assert world.database.collection("c").get("x") == {"n": 1}
    assert world.counted() == {"failed": 1}
    assert world.told == [Difference("c", "get", Verdict.FAILED, (), "Unavailable")]


def test_an_old_way_that_fails_fails_as_before() -> None:
    """A shadow never answers in its place."""
    world = World(Route.SHADOW, {"get": KeyError("x")}, {"get": 1})
    with pytest.raises(KeyError):
        world.database.collection("c").get("x")
    assert world.counted() == {}


def test_no_caller_waits_for_a_shadow_that_hangs() -> None:
    """What does not fit into the queue is skipped and counted."""
    hanging = threading.Event()
    world = World(Route.SHADOW, {"get": 1}, {"get": lambda: hanging.wait(10) and 1})
    shadow = Shadow(max_waiting=3)
    database = RolledOutDatabase(world.legacy, world.gateway, world.routes, shadow)
    assert [database.collection("c").get(n) for n in range(10)] == [1] * 10
    hanging.set()
    shadow.close()
    assert shadow.report() == {"c": {"equal": 3, "skipped": 7}}


def test_what_is_about_no_collection_takes_the_default_way() -> None:
    """The old one until the default is the gateway."""
    world = World(Route.GATEWAY)
    for route, way in (
        (Route.LEGACY, world.legacy),
        (Route.SHADOW, world.legacy),
        (Route.GATEWAY, world.gateway),
    ):
        world.routes.default = route
        before = len(way.asked)
        world.database.collections()
        assert way.asked[before:] == ["collections"]


@pytest.mark.parametrize("value", ["x" * MAX_COMPARED_CHARS, {("a",): 1}])
def test_what_cannot_be_compared_is_skipped(value: Any) -> None:
    """The caller has it; nobody is asked again."""
    world = World(Route.SHADOW, {"get": value})
    assert world.database.collection("c").get("x") is value
    assert world.counted() == {"skipped": 1}
    assert world.gateway.asked == []


class Describing:
    """A gateway that is asked for its flags; a test waits until it was asked again."""

    def __init__(self) -> None:
        self.answer: FlagsInfo | Exception = Unavailable("not yet")
        self.asked = threading.Condition()

    def __call__(self) -> FlagsInfo:
        """Answer, and tell who waits for it."""
        with self.asked:
            self.asked.notify_all()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _flags(version: int, route: Route) -> FlagsInfo:
    return FlagsInfo(
        version=version, collections={"c": str(route)}, default=str(Route.LEGACY), flags={}
    )


@pytest.fixture
def describing() -> Iterator[tuple[Describing, WatchedRoutes]]:
    """Routes that are looked at by the test alone."""
    gateway = Describing()
    routes = WatchedRoutes(gateway, look_s=3_600)
    yield gateway, routes
    routes.close()


def test_without_flags_everything_goes_the_old_way(
    describing: tuple[Describing, WatchedRoutes],
) -> None:
    """Before the first document too."""
    gateway, routes = describing
    assert routes.route("c") is Route.LEGACY
    gateway.answer = FlagsInfo(version=0, collections={}, default="gateway", flags={})
    routes.look()
    assert (routes.route("c"), routes.default) == (Route.LEGACY, Route.LEGACY)


def test_flags_are_followed_forwards_alone(describing: tuple[Describing, WatchedRoutes]) -> None:
    """A worker that lags behind does not turn the switch back; an outage changes nothing."""
    gateway, routes = describing
    for answer, route in (
        (_flags(2, Route.SHADOW), Route.SHADOW),
        (_flags(1, Route.GATEWAY), Route.SHADOW),
        (Unavailable("gone"), Route.SHADOW),
        (_flags(3, Route.LEGACY), Route.LEGACY),
    ):
        gateway.answer = answer
        routes.look()
        assert routes.route("c") is route


def test_flags_are_looked_at_again_and_again() -> None:
    """Without anybody asking."""
    gateway = Describing()
    gateway.answer = _flags(1, Route.SHADOW)
    routes = WatchedRoutes(gateway, look_s=0.001)
    try:
        assert routes.wait(5)
        gateway.answer = _flags(2, Route.GATEWAY)
        with gateway.asked:
            assert gateway.asked.wait_for(lambda: routes.route("c") is Route.GATEWAY, timeout=5)
    finally:
        routes.close()
