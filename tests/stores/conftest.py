"""The stores that pass the common contract, each started for one test and stopped after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.calling import Caller
from tests.support import real_arango
from tests.support.simulated_arango import SimulatedArango

KINDS = ["embedded", "arango-simulated", *(["arango"] if real_arango.real_url() else [])]
"""The real ArangoDB takes part where there is one: see `tests/support/real_arango.py`."""


def embedded(folder: Path, _stack: AsyncExitStack) -> Store:
    """The store over SQLite."""
    return EmbeddedStore(folder / "store")


def simulated(folder: Path, stack: AsyncExitStack) -> Store:
    """The store over ArangoDB, with a simulated server."""
    server = SimulatedArango(folder)
    stack.callback(server.close)
    return ArangoStore(ArangoSettings(url=server.url, connections=8))


def real(_folder: Path, stack: AsyncExitStack) -> Store:
    """The store over a real ArangoDB."""
    url = real_arango.real_url()
    assert url is not None
    real_arango.fresh_database(url)
    stack.callback(real_arango.drop_database, url)
    return ArangoStore(ArangoSettings(url=url, connections=8, auth="basic"))


MAKE: dict[str, Callable[[Path, AsyncExitStack], Store]] = {
    "embedded": embedded,
    "arango-simulated": simulated,
    "arango": real,
}


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty, running store of every kind there is."""
    async with AsyncExitStack() as stack:
        running = MAKE[request.param](tmp_path, stack)
        await running.start()
        stack.push_async_callback(running.stop)
        yield running


@pytest.fixture
async def people(store: Store) -> Caller:
    """Calls to `people`, an empty collection of documents."""
    caller = Caller(store, "people")
    await caller("create-collection")
    return caller


@pytest.fixture
async def knows(people: Caller) -> Caller:
    """Calls to `knows`, an empty collection of edges."""
    caller = people.on("knows")
    await caller("create-collection", edge=True)
    return caller
