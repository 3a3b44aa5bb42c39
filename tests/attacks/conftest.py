from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.attacks.arena import Arena, Attacker, open_arena
from tests.attacks.cast import POLICY_TEXT, REFUSALS_RECORDED_PER_MINUTE
from tests.integration.world import running_world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """One real gateway with two workers for all attacks."""
    folder = tmp_path_factory.mktemp("arena")
    async with AsyncExitStack() as stack:
        # Only for as long as the workers start: the environment is everybody's.
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(
                "MALLKU_WORKER_REFUSALS_RECORDED_PER_MINUTE", str(REFUSALS_RECORDED_PER_MINUTE)
            )
            world = await stack.enter_async_context(running_world(folder, policy=POLICY_TEXT))
        yield await stack.enter_async_context(open_arena(world))


@pytest_asyncio.fixture(loop_scope="session")
async def arena(gateway: Arena) -> AsyncIterator[Arena]:
    """The gateway, which after each attack stands as it stood before, and serves everybody."""
    before = await gateway.state()
    yield gateway
    await gateway.check(before)


@pytest_asyncio.fixture(loop_scope="session")
async def attacker(arena: Arena) -> AsyncIterator[Attacker]:
    """Somebody new, with a small role and valid credentials of their own."""
    async with arena.attacker() as attacker:
        yield attacker


@pytest_asyncio.fixture(loop_scope="session")
async def flooder(arena: Arena) -> AsyncIterator[Attacker]:
    """As `attacker`, of whom more is refused than the trail holds one by one."""
    async with arena.flooder() as flooder:
        yield flooder


@pytest_asyncio.fixture(loop_scope="session")
async def victim(arena: Arena) -> AsyncIterator[Attacker]:
    """The victim's own connection, key and token."""
    async with arena.victim() as victim:
        yield victim
