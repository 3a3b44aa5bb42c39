"""What tests look for in the requests that a simulated ArangoDB was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.support.simulated_arango import Answer, Asked, Dropped, SimulatedArango, failure
from tests.support.simulated_arango_engine import Fault


def said(server: SimulatedArango) -> list[str]:
    """Method and path of every request, in order."""
    return [f"{asked.method} {asked.path}" for asked in server.asked]


def combined(server: SimulatedArango) -> list[int]:
    """How many works each combined query carried."""
    return [
        len(asked.body["bindVars"]["works"])
        for asked in server.asked
        if asked.path == "/_api/cursor"
        and asked.body["query"].startswith("FOR w IN @works FILTER")
        and "w.document" in asked.body["query"]
    ]


def once(
    matches: Callable[[Asked], bool], act: Callable[[Asked], Answer | None]
) -> Callable[[Asked], Answer | None]:
    """Do something at the first request that matches, and let the others pass."""
    times = iter([True])
    lock = threading.Lock()

    def before(asked: Asked) -> Answer | None:
        if matches(asked):
            with lock:
                first = next(times, False)
            if first:
                return act(asked)
        return None

    return before


def path_is(method: str, beginning: str) -> Callable[[Asked], bool]:
    """Requests of a method whose path begins so."""
    return lambda asked: asked.method == method and asked.path.startswith(beginning)


def query_has(part: str) -> Callable[[Asked], bool]:
    """Queries with this in their text."""
    return lambda asked: asked.path == "/_api/cursor" and part in asked.body["query"]


def answering(number: int, status: int) -> Callable[[Asked], Answer]:
    """An error of ArangoDB."""
    return lambda _asked: failure(Fault(number, status, "injected"))


def dropping(_asked: Asked) -> Answer:
    """The connection ends instead of an answer."""
    raise Dropped
