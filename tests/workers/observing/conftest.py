from __future__ import annotations

import pytest

from tests.support.simulated_caller import SimulatedCaller
from tests.workers.world import Cluster, Worker, mallku


@pytest.fixture
def worker() -> Worker:
    """A worker on simulators."""
    return Worker(Cluster())


@pytest.fixture
def caller() -> SimulatedCaller:
    """Who may read and write documents."""
    return mallku()
