from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_client import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_client.trail import AuditReader
from tests.client.trailing import AUDITOR, QUICK, Scribe
from tests.client.world import World, make_world
from tests.support.nats import NatsHouse, nats_house


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A gateway in memory and a client's files."""
    return make_world(tmp_path)


@pytest_asyncio.fixture
async def db(world: World) -> AsyncIterator[SecuredDatabaseInterface]:
    """A client of that gateway."""
    async with await world.connect() as database:
        yield database


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[NatsHouse]:
    """A server of this test's own."""
    async with nats_house(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def scribe(house: NatsHouse) -> Scribe:
    """Whoever writes the trail."""
    return Scribe(house)


@pytest.fixture
def troubles() -> list[str]:
    """What the reader said about interruptions."""
    return []


@pytest_asyncio.fixture
async def reader(house: NatsHouse, troubles: list[str]) -> AsyncIterator[AuditReader]:
    """An auditor with little patience."""
    settings = ClientSettings(
        url=house.url, principal=AUDITOR, nats_credentials=house.credentials[AUDITOR]
    )
    connected = await AuditReader.connect(settings=settings, limits=QUICK, troubled=troubles.append)
    async with connected:
        yield connected
