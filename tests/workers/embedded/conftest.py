"""An embedded store in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.calling import Caller


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store's files will lie."""
    return tmp_path / "store"


@pytest.fixture
async def store(directory: Path) -> AsyncIterator[EmbeddedStore]:
    """A running, empty store."""
    running = EmbeddedStore(directory)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def people(store: EmbeddedStore) -> Caller:
    """Calls to `people`, an empty collection."""
    caller = Caller(store, "people")
    await caller("create-collection")
    return caller
