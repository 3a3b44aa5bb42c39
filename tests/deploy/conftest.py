from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.nats import POLICY, NatsHouse, nats_house


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[NatsHouse]:
    """A server of the test's own, to be broken; its policy lies beside it."""
    async with nats_house(tmp_path / "nats") as running:
        (tmp_path / "nats" / "policy.yaml").write_text(POLICY)
        yield running
