from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from mallku_client.mallku import SecuredDatabaseInterface, close_database, get_database
from tests.client.mallku.mallku_like import POLICY
from tests.integration.world import World, running_world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One real gateway for all tests that leave it running."""
    async with running_world(tmp_path_factory.mktemp("house"), policy=POLICY) as world:
        yield world


@pytest.fixture
def environment(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a service of Mallku's finds in its environment; nothing of ours else."""
    for name in [name for name in os.environ if name.startswith(("MALLKU_", "ARANGO_"))]:
        monkeypatch.delenv(name)
    for name, value in world.house.environment("mallku", world.gateway.url).items():
        monkeypatch.setenv(name, value)
    yield
    close_database()


@pytest.fixture
def db(environment: None) -> SecuredDatabaseInterface:
    """The process's database, obtained by a plain call."""
    return get_database()


@pytest_asyncio.fixture(loop_scope="session")
async def adb(db: SecuredDatabaseInterface) -> SecuredDatabaseInterface:
    """The same, obtained by await."""
    return await db
