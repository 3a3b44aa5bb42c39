"""One connection behind all blocking objects that came from it; a forked child gets its own."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from copy import copy

from mallku_client import portal
from mallku_client.database import SecuredDatabaseInterface
from mallku_contracts.errors import ClientClosed, GatewayUnreachable


class Session:
    """Connects when it is first needed in a process; its coroutines run on the portal's loop."""

    def __init__(self, connect: Callable[[], Awaitable[SecuredDatabaseInterface]]) -> None:
        self._connect = connect
        self._process = 0
        self._database: SecuredDatabaseInterface | None = None
        self._connecting = asyncio.Lock()
        self._refusal: GatewayUnreachable | None = None
        self._refusals = 0
        self._closed = False

    async def database(self) -> SecuredDatabaseInterface:
        """The connected database of this process.

        Raises:
            ClientClosed: `close` was called.
            ConfigurationError, GatewayUnreachable: as `SecuredDatabaseInterface.connect`.
        """
        if self._closed:
            raise ClientClosed("the client is closed; connect() makes a new one")
        if self._process != os.getpid():
            self._adopt()
        return self._database or await self._connected()

    async def close(self) -> None:
        """Close this process's connection; the parent's is the parent's to close."""
        self._closed = True
        if self._database is not None and self._process == os.getpid():
            portal.current().forget(self)
            await self._database.close()

    async def _connected(self) -> SecuredDatabaseInterface:
        """The one connection; who waited while somebody found nobody there waits no longer."""
        before = self._refusals
        async with self._connecting:
            if self._database is None:
                if self._refusal is not None and self._refusals != before:
                    raise copy(self._refusal)
                self._database = await self._tried()
            return self._database

    async def _tried(self) -> SecuredDatabaseInterface:
        try:
            return await self._open()
        except GatewayUnreachable as error:
            self._refusal = copy(error)  # without the frames of a traceback
            self._refusals += 1
            raise

    async def _open(self) -> SecuredDatabaseInterface:
        database = await self._connect()
        if database.settings.url is not None:  # a child joins a gateway of our own, too
            self._connect = functools.partial(
                SecuredDatabaseInterface.connect, settings=database.settings
            )
        portal.current().close_at_exit(self, database.close)
        return database

    def _adopt(self) -> None:
        """Begin anew in this process; what a parent connected stays the parent's."""
        self._process = os.getpid()
        self._database = None
        self._connecting = asyncio.Lock()
