from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mallku_workers.stores import asking
from tests.support.simulated_arango import SimulatedArango


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimulatedArango]:
    """A server with an empty database."""
    (tmp_path / "server").mkdir()
    simulated = SimulatedArango(tmp_path / "server")
    yield simulated
    simulated.close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries of what fails follow each other at once."""
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(asking, "LONGEST_WAIT_S", 0.001)
