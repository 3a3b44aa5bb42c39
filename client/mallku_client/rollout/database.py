"""A database and its collections in front of two ways; each call takes the one its flag says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from inspect import isawaitable
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

NAMED: Final = frozenset(
    {
        *("has_collection", "create_collection", "delete_collection", "ensure_collection"),
        *("get_document", "query", "query_documents", "insert_document", "batch_insert"),
        *("upsert_document", "create_secured_collection"),
    }
)
"""Methods of a database whose first argument is the name of a collection."""

NAMED_READS: Final = frozenset({"has_collection", "get_document", "query", "query_documents"})

QUERIES: Final = frozenset({"aql_query", "execute_secured_query"})
"""Methods of a database whose first argument is the text of a query."""


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
        by_default = self._routes.default is Route.GATEWAY
        return getattr(self._gateway if by_default else self._legacy, method)

    def _named(self, method: str, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.lead(
            (name, method),
            self._routes.route(name),
            lambda database: getattr(database, method)(name, *args, **kwargs),
            compared=method in NAMED_READS,
        )

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
    """A collection in front of two; made by `RolledOutDatabase.collection`."""

    def __init__(self, database: RolledOutDatabase, name: str) -> None:
        self._rolled_out = database
        self.name = name

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
