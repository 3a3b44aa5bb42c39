from __future__ import annotations

import pytest

from tests.support.simulated_caller import SimulatedCaller
from tests.workers import world


@pytest.fixture
async def cluster() -> world.Cluster:
    """A trail and a store of their own for each test."""
    return world.Cluster()


@pytest.fixture
async def worker(cluster: world.Cluster) -> world.Worker:
    """One worker on them."""
    return world.Worker(cluster)


@pytest.fixture(scope="session")
def caller() -> SimulatedCaller:
    """The principal `mallku`."""
    return world.mallku()
