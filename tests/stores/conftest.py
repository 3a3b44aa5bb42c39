"""The stores that pass the common contract, each started for one test and stopped after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.calling import Caller


@pytest.fixture(params=["embedded"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty, running store of every kind there is."""
    running = {"embedded": EmbeddedStore}[request.param](tmp_path / "store")
    await running.start()
    yield running
    await running.stop()


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
