from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from tests.stores.calling import Caller
from tests.support.simulated_arango import SimulatedArango


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimulatedArango]:
    """A server with an empty database."""
    simulated = SimulatedArango(tmp_path)
    yield simulated
    simulated.close()


@pytest.fixture
async def store(server: SimulatedArango) -> AsyncIterator[ArangoStore]:
    """A store on it."""
    running = ArangoStore(ArangoSettings(url=server.url, connections=8))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def people(store: ArangoStore) -> Caller:
    """Calls to `people`, an empty collection of documents."""
    caller = Caller(store, "people")
    await caller("create-collection")
    return caller
