"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from mallku_client import portal


@pytest.fixture(scope="session", autouse=True)
def heard_interruptions() -> Iterator[None]:
    """What a shell runs in its background ignores SIGINT, and so would every child of the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Blocking clients that a module leaves open would try to reconnect during all later tests."""
    yield
    if portal._portal is not None:
        portal._portal.call(portal._portal._close_all())
