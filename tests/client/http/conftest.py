from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.client.http.stage import door_world, served, visitor
from tests.integration.world import World


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the house and the door's files are."""
    return tmp_path_factory.mktemp("door")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(folder: Path) -> AsyncGenerator[World]:
    """A gateway with two workers and a door in its policy."""
    async with door_world(folder / "house") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(world: World, folder: Path) -> AsyncGenerator[str]:
    """Where a door serves."""
    async with served(world, folder) as served_at:
        yield served_at


@pytest_asyncio.fixture(loop_scope="module")
async def http(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A service that shows its secret."""
    async with visitor(url) as client:
        yield client
