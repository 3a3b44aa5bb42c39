"""A gateway that is away is waited for once, however many ask for it meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_client.session import Session
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MallkuError
from tests.client.world import World

WAITING = 12


class Connecting:
    """Connects as a test says, once it says so, and counts how often that was tried."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.error: MallkuError | None = GatewayUnreachable("nobody there", retry_after=1.5)
        self.go = asyncio.Event()
        self.tried = 0

    async def __call__(self) -> SecuredDatabaseInterface:
        """One attempt."""
        self.tried += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await self.world.connect()


async def _ask(session: Session, connecting: Connecting) -> list[object]:
    """What `WAITING` calls get that ask while the first one connects."""
    calls = [asyncio.create_task(session.database()) for _ in range(WAITING)]
    await asyncio.sleep(0)  # each has come to where it waits
    assert connecting.tried == 1
    connecting.go.set()
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_who_waited_meanwhile_gets_the_same_refusal(world: World) -> None:
    """One attempt for all of them, and an error for each; whoever comes later has it tried anew."""
    connecting = Connecting(world)
    session = Session(connecting)
    told = await _ask(session, connecting)
    assert connecting.tried == 1
    assert all(
        isinstance(each, GatewayUnreachable) and each.message == "nobody there" for each in told
    )
    assert {getattr(each, "retry_after", None) for each in told} == {1.5}
    assert len({id(each) for each in told}) == WAITING
    with pytest.raises(GatewayUnreachable):
        await session.database()
    assert connecting.tried == 2
    connecting.error = None
    database = await session.database()
    assert await session.database() is database
    assert connecting.tried == 3
    await session.close()


async def test_who_waited_meanwhile_gets_the_same_connection(world: World) -> None:
    """One connection for all of them."""
    connecting = Connecting(world)
    connecting.error = None
    session = Session(connecting)
    told = await _ask(session, connecting)
    assert connecting.tried == 1
    assert len({id(each) for each in told}) == 1
    await session.close()


async def test_what_costs_no_wait_is_tried_by_each(world: World) -> None:
    """A wrong setting is found at once, and may be put right in between."""
    connecting = Connecting(world)
    connecting.error = ConfigurationError("no key")
    told = await _ask(Session(connecting), connecting)
    assert connecting.tried == WAITING
    assert all(isinstance(each, ConfigurationError) for each in told)
