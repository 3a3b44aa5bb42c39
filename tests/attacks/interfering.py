"""A victim's own transport, into whose inbox somebody puts a message before the true reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from mallku_broker.connection import GatewayConnection
from mallku_client import SecuredDatabaseInterface
from mallku_client.collection import Collection
from mallku_client.transport import NoAnswer
from tests.attacks.arena import Arena
from tests.attacks.cast import VAULT, VICTIM

Interfere = Callable[[str, bytes, str], Awaitable[None]]
"""Takes a command's subject and payload and the inbox of its reply, and puts something there."""


class Interfered:
    """Sends each request when something is in its inbox already, and returns what came first.

    Attributes:
        first: What came first in the inbox of the last request.
    """

    def __init__(self, connection: GatewayConnection, interfere: Interfere) -> None:
        self._connection = connection
        self._interfere = interfere
        self.first = b""

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """As `Transport.request`."""
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        inbox = f"{self._connection.inbox_prefix}.{uuid4().hex}.1"
        await self._connection.listen(inbox, lambda _s, _r, body, _h: heard.put_nowait(body))
        await self._connection.flush()
        await self._interfere(subject, payload, inbox)
        try:
            self.first = await asyncio.wait_for(heard.get(), timeout_s)
        except TimeoutError:
            raise NoAnswer("nothing was put into the inbox") from None
        self._connection.post(subject, payload, reply=inbox)
        await asyncio.wait_for(heard.get(), timeout_s)
        return self.first

    async def close(self) -> None:
        """The connection is somebody else's."""


async def ask_through(
    arena: Arena, transport: Interfered, call: Callable[[Collection], Awaitable[Any]]
) -> Any:
    """What the victim's client, as it comes, makes of one call about the vault."""
    settings = arena.world.client_settings(VICTIM, max_attempts=1)
    connecting = SecuredDatabaseInterface.connect(settings=settings, transport=transport)
    async with await connecting as client:
        return await call(client.collection(VAULT))
