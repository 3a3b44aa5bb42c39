from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mallku_workers.stores import asking
from mallku_workers.stores.embedded import EmbeddedStore
from tests.workers.rebuilding.world import Job, World, started


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries of what fails follow each other at once."""
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(asking, "LONGEST_WAIT_S", 0.001)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway over the embedded store, with a collection."""
    async with started(EmbeddedStore(tmp_path / "source")) as running:
        await running.call("create-collection", "people")
        yield running


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A rebuild into files."""
    return Job(tmp_path, f"embedded:{tmp_path / 'target'}")
