from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_client import SecuredDatabaseInterface
from tests.integration.world import World, running_world
from tests.support.simulated_caller import SimulatedCaller


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One real gateway with two workers for all tests that leave it running."""
    async with running_world(tmp_path_factory.mktemp("house")) as world:
        async with world.client() as client:
            for name in ("memory_anchors", "khipu_blocks", "fc_decisions"):
                await client.create_collection(name)
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def own_world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with two workers of one's own, to be broken."""
    async with running_world(tmp_path / "house") as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def client(world: World) -> AsyncIterator[SecuredDatabaseInterface]:
    """A real client of the principal `mallku`."""
    async with world.client() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def raw(world: World) -> AsyncIterator[GatewayConnection]:
    """A bare connection with the credentials of `mallku`."""
    async with world.connection() as connection:
        yield connection


@pytest.fixture
def caller(world: World) -> SimulatedCaller:
    """Somebody who signs as `mallku`."""
    return world.caller()
