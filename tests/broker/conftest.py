from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.nats import NatsHouse, nats_house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsHouse]:
    """One real server with accounts, users and streams, for all tests that leave it running."""
    async with nats_house(tmp_path_factory.mktemp("nats")) as running:
        yield running
