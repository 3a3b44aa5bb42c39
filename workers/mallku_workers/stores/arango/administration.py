"""An ArangoDB as an administrator sees it: all databases and users, and nothing made by looking.

`ArangoStore` makes its ledger when it starts. Whoever only looks, or copies from a database, must
change nothing in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from mallku_contracts.errors import ConfigurationError, NotSupported, Unavailable
from mallku_contracts.wording import settings_complaints
from mallku_workers.stores.arango import catalog, reading
from mallku_workers.stores.arango.budget import budget_for, spending
from mallku_workers.stores.arango.client import make_client
from mallku_workers.stores.arango.http import LeanClient
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.base import Done, Work

SYSTEM: Final = "_system"
"""The database in which databases and users are administered."""

THREADS: Final = 4
"""Requests under way at once."""

CALL_S: Final = 60.0
"""One request, seconds."""

T = TypeVar("T")


def arango_settings(**given: Any) -> ArangoSettings:
    """A worker's settings for ArangoDB: what is given, the rest out of the environment.

    Raises:
        ConfigurationError: naming each variable that is wrong.
    """
    try:
        return ArangoSettings(**given)
    except ValidationError as error:
        wrong = settings_complaints(error, ArangoSettings, "MALLKU_WORKER_ARANGO_")
        raise ConfigurationError(wrong) from None


class ArangoAdministration:
    """Reads of every database, and requests by method and path.

    Raises on construction:
        ConfigurationError: a URL or a file cannot be used, or others may read the password.
    """

    def __init__(self, settings: ArangoSettings) -> None:
        self.settings = settings
        self._client: LeanClient = make_client(settings)
        self._threads: ThreadPoolExecutor | None = ThreadPoolExecutor(THREADS)
        self._servers: dict[str, Server] = {}

    async def stop(self) -> None:
        """End the threads and close the connections."""
        if self._threads is not None:
            threads, self._threads = self._threads, None
            await asyncio.to_thread(threads.shutdown)
        self._client.close()

    async def execute(self, work: Work) -> Done:
        """Carry out a read."""
        read = reading.READS.get(work.operation.name) or catalog.READS.get(work.operation.name)
        if read is None:
            raise NotSupported(f"{work.operation.name}: an administrator's reader only reads")
        result = await self._run(read, self._server(work.database), work, work.arguments)
        return Done(result)

    async def call(
        self, method: str, path: str, *, database: str = SYSTEM, body: Any = None, **params: Any
    ) -> Any:
        """One request's answer; raises the coded error where it is none."""

        def act() -> Any:
            return self._server(database).call(method, path, params=params or None, body=body)

        return await self._run(act)

    async def databases(self) -> list[str]:
        """The names of all databases."""
        answer = await self.call("GET", "/_api/database")
        return sorted(map(str, answer["result"]))

    async def believes(self, username: str, password: str) -> bool:
        """Whether this is the user's password, and the user may come in."""

        def act() -> bool:
            body = {"username": username, "password": password}
            answer = self._server(SYSTEM).send("POST", "/_open/auth", body=body)
            return bool(answer.is_success)

        return await self._run(act)

    def _server(self, database: str) -> Server:
        known = self._servers.get(database)
        if known is None:
            known = self._servers[database] = Server(self._client, database, self.settings)
        return known

    async def _run(self, act: Callable[..., T], *arguments: Any) -> T:
        if self._threads is None:
            raise Unavailable("the administrator's connection is closed")

        def within() -> T:
            with spending(budget_for(CALL_S)):
                return act(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._threads, within)
