"""A database and its collections in front of two ways; each call takes the one its flag says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import isawaitable, iscoroutine
from typing import Any, Final

from mallku_client.rollout.routes import Routes
from mallku_client.rollout.shadow import Difference, Shadow
from mallku_contracts.errors import MallkuError
from mallku_contracts.routes import Route

READS: Final = frozenset(
    {
        *("get", "get_many", "get_secured", "has", "exists", "find", "all", "count"),
        *("keys", "ids"),
    }
)
"""Methods of a collection whose answers a shadow compares: they change nothing, and two of them at
the same moment answer the same."""

GIVE_COLLECTIONS: Final = frozenset(
    {
        *("get_collection", "get_secured_collection"),
        *("create_collection", "ensure_collection", "create_secured_collection"),
    }
)
"""Methods of a database that give the collection whose name is their first argument."""

NAMED: Final = GIVE_COLLECTIONS | {
    *("has_collection", "delete_collection", "get_document", "query", "query_documents"),
    *("insert_document", "batch_insert", "upsert_document"),
}
"""Methods of a database whose first argument is the name of a collection."""

NAMED_READS: Final = frozenset({"has_collection", "get_document", "query", "query_documents"})

BOTH: Final = frozenset({"initialize", "register_collection_policy"})
"""Methods of a database that get either way ready, and reach both where they have them."""

QUERIES: Final = frozenset({"aql_query", "execute_secured_query"})
"""Methods of a database whose first argument is the text of a query."""

_NAMES: Final = ("name", "collection_name", "collection")
"""How a method may call the argument that names a collection."""

_LOG = logging.getLogger(__name__)


def roll_out(
    *,
    legacy: Any,
    gateway: Any,
    routes: Routes,
    same_database: bool = True,
    on_difference: Callable[[Difference], None] | None = None,
) -> RolledOutDatabase:
    """One database object over the old way and the gateway; blocking or awaited, as they are.

    Args:
        legacy: What answered until now: anything with `collection(name)`, `aql.execute` and the
            methods that callers use.
        gateway: The gateway's database with the same methods, such as `mallku_client.mallku` gives.
        routes: Usually `WatchedRoutes(db.describe_flags)` of a blocking database.
        same_database: Both ways lead to the same database (see `comparing.compare`).
        on_difference: Told of each comparison that failed or found a difference.
    """
    shadow = Shadow(same_database=same_database, on_difference=on_difference)
    return RolledOutDatabase(legacy, gateway, routes, shadow)


class RolledOutDatabase:
    """A database in front of two; made by `roll_out`.

    Whatever is about no single collection takes the way of the flags' `default`, the old one while
    that is `shadow`.
    """

    def __init__(self, legacy: Any, gateway: Any, routes: Routes, shadow: Shadow) -> None:
        self._legacy = legacy
        self._gateway = gateway
        self._routes = routes
        self.rollout = shadow
        self.aql = RolledOutQueries(self)

    def __await__(self) -> Generator[Any, None, RolledOutDatabase]:
        return self._awaited().__await__()

    async def _awaited(self) -> RolledOutDatabase:
        """The same two ways with the same shadow, each as awaiting it gives it."""
        legacy, gateway = [
            await each if isawaitable(each) else each for each in (self._legacy, self._gateway)
        ]
        return RolledOutDatabase(legacy, gateway, self._routes, self.rollout)

    def collection(self, name: str) -> RolledOutCollection:
        """A collection, whichever way it is reached at each call."""
        return RolledOutCollection(self, name)

    def __getattr__(self, method: str) -> Any:
        if method in NAMED:
            return lambda *args, **kwargs: self._named(method, *args, **kwargs)
        if method in QUERIES:
            return lambda *args, **kwargs: self._query(method, *args, **kwargs)
        if method in BOTH and self._who_have(method):
            return lambda *args, **kwargs: self._both(method, *args, **kwargs)
        return getattr(self._ways()[0], method)

    def _ways(self) -> tuple[Any, Any]:
        """Both, the one first that the flags' `default` says."""
        ways = (self._legacy, self._gateway)
        return ways[::-1] if self._routes.default is Route.GATEWAY else ways

    def _who_have(self, method: str) -> list[Callable[..., Any]]:
        return [getattr(way, method) for way in self._ways() if hasattr(way, method)]

    def _named(self, method: str, *args: Any, **kwargs: Any) -> Any:
        name = _name(method, args, kwargs)
        policy = args[1] if len(args) > 1 else kwargs.get("policy")
        if method == "create_secured_collection" and policy is not None:
            self._both("register_collection_policy", policy)
        answer = self.lead(
            (name, method),
            self._routes.route(name),
            lambda database: getattr(database, method)(*args, **kwargs),
            compared=method in NAMED_READS,
        )
        given = method in GIVE_COLLECTIONS
        return RolledOutCollection.given(self, name, answer) if given else answer

    def _both(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What the leading way answers or raises; the other's failure is logged."""
        answers: list[Any] = []
        for each in self._who_have(method):
            with _told(method) if answers else nullcontext():
                answers.append(each(*args, **kwargs))
        if any(isawaitable(each) for each in answers):
            return _all_awaited(method, answers)
        return answers[0] if answers else None

    def _query(
        self, method: str, query: str, bind_vars: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        route, name, modifies = route_query(self._routes, query, bind_vars or {})
        return self.lead(
            (name, method),
            route,
            lambda database: getattr(database, method)(query, bind_vars=bind_vars, **kwargs),
            compared=not modifies,
        )

    def lead(
        self,
        what: tuple[str, str],
        route: Route,
        call: Callable[[Any], Any],
        *,
        compared: bool,
    ) -> Any:
        """Call one of the two, or the old one with the new one as its shadow."""
        if route is Route.GATEWAY:
            return call(self._gateway)
        answer = call(self._legacy)
        if route is Route.LEGACY or not compared:
            return answer
        collection, operation = what
        return self.rollout.beside(collection, operation, answer, lambda: call(self._gateway))

    @property
    def routes(self) -> Routes:
        """Which way what is reached now."""
        return self._routes


class RolledOutCollection:
    """A collection in front of two; made by `RolledOutDatabase.collection`.

    Awaiting it gives the same one over the awaited twins of both.
    """

    def __init__(self, database: RolledOutDatabase, name: str, making: Any = None) -> None:
        self._rolled_out = database
        self._making = making
        self.name = name

    @classmethod
    def given(cls, database: RolledOutDatabase, name: str, answer: Any) -> Any:
        """In place of the collection that one side answers with; a coroutine in place of one."""
        collection = cls(database, name, answer)
        return collection._awaited() if iscoroutine(answer) else collection

    def __await__(self) -> Generator[Any, None, RolledOutCollection]:
        return self._awaited().__await__()

    async def _awaited(self) -> RolledOutCollection:
        making, self._making = self._making, None
        if isawaitable(making):
            await making
        return RolledOutCollection(await self._rolled_out, self.name)

    def __getattr__(self, method: str) -> Any:
        database, name = self._rolled_out, self.name
        route = database.routes.route(name)
        if route is Route.SHADOW and method in READS:
            return lambda *args, **kwargs: database.lead(
                (name, method),
                route,
                lambda side: getattr(side.collection(name), method)(*args, **kwargs),
                compared=True,
            )
        return database.lead(
            (name, method),
            route,
            lambda side: getattr(side.collection(name), method),
            compared=False,
        )


class RolledOutQueries:
    """`aql` of a database in front of two."""

    def __init__(self, database: RolledOutDatabase) -> None:
        self._database = database

    def execute(
        self, query: str, *args: Any, bind_vars: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Run a query the way of its collections, the most careful one where they differ."""
        route, name, modifies = route_query(self._database.routes, query, bind_vars or {})
        return self._database.lead(
            (name, "aql"),
            route,
            lambda side: side.aql.execute(query, *args, bind_vars=bind_vars, **kwargs),
            compared=not modifies,
        )


def _name(method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    named = [kwargs[each] for each in _NAMES if each in kwargs]
    for name in (*args[:1], *named):
        return str(name)
    raise TypeError(f"{method}() needs the name of a collection")


async def _all_awaited(method: str, answers: list[Any]) -> Any:
    """The first of them; whatever the others come to."""
    first, *others = [_value(each) for each in answers]
    try:
        return await first
    finally:
        for other in others:
            with _told(method):
                await other


async def _value(answer: Any) -> Any:
    return await answer if isawaitable(answer) else answer


@contextmanager
def _told(method: str) -> Generator[None]:
    """Log what the way that does not lead raises."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the leading way answers the caller
        kind = type(error).__name__
        _LOG.warning("rollout: %s failed on the way that does not lead: %s", method, kind)


def route_query(routes: Routes, query: str, values: Mapping[str, Any]) -> tuple[Route, str, bool]:
    """The route of a query, the collection that decided it, and whether it changes anything.

    The old way when one of its collections goes there, the gateway when all do, else the shadow.
    What cannot be parsed here goes the way of `default`, and is never asked twice.
    """
    from mallku_contracts.aql.analysis import analyse  # brings the parser
    from mallku_contracts.aql.parsing import parse

    try:
        found = analyse(parse(query))
        names = sorted(found.read_names(values) | found.write_names(values).keys())
    except (MallkuError, KeyError):
        route = Route.GATEWAY if routes.default is Route.GATEWAY else Route.LEGACY
        return route, "", True
    ways = {name: routes.route(name) for name in names}
    if found.graphs or not ways:  # a graph's members are not in the text
        ways[""] = routes.default
    for way in (Route.LEGACY, Route.SHADOW):
        for name, route in ways.items():
            if route is way:
                return way, name, found.modifies
    return Route.GATEWAY, names[0] if names else "", found.modifies
