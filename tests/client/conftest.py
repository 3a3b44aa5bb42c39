from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_client import SecuredDatabaseInterface
from tests.client.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A gateway in memory and a client's files."""
    return make_world(tmp_path)


@pytest_asyncio.fixture
async def db(world: World) -> AsyncIterator[SecuredDatabaseInterface]:
    """A client of that gateway."""
    async with await world.connect() as database:
        yield database
