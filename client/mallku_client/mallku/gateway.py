"""The one connection of the process that all of Mallku's database objects share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

import mallku_client as awaited
from mallku_client.composition import Connection
from mallku_client.mallku.combining import Combiner
from mallku_client.mallku.environment import goes_as_job, read_environment
from mallku_client.mallku.skipping import NoCommands
from mallku_client.session import Session
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    GatewayUnreachable,
    PermissionDenied,
)

PAUSE_S: Final = 1.0
"""After a gateway could not be reached: how long calls fail at once before one tries, seconds."""

R = TypeVar("R")
Database = awaited.SecuredDatabaseInterface
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A connection that could not be made; `until` is of the monotonic clock, seconds."""

    error: GatewayUnreachable
    until: float


class Gateway:
    """Connects when it is first needed, in every process anew; its coroutines are the portal's.

    Args:
        connect: How to connect; by default as the environment says at that time.
    """

    def __init__(self, connect: Callable[[], Awaitable[Database]] | None = None) -> None:
        self._connect = connect or connect_to_environment
        self._session = Session(self._connect)
        self._refusal: _Refusal | None = None
        self._ensured: set[str] = set()
        self.reads = Combiner(self)

    async def database(self) -> Database:
        """The connected database.

        Raises:
            ConfigurationError: the environment says too little, or things that do not go together.
            GatewayUnreachable: nobody is there; for `PAUSE_S` after that, at once.
        """
        refusal = self._refusal
        if refusal is not None and monotonic() < refusal.until:
            raise copy(refusal.error).with_traceback(None)
        try:
            database = await self._session.database()
        except GatewayUnreachable as error:
            self._refusal = _Refusal(error, monotonic() + PAUSE_S)
            raise
        self._refusal = None
        return database

    async def collection(self, name: str) -> awaited.Collection:
        """A collection of the connected database."""
        return (await self.database()).collection(name)

    async def has_collection(self, name: str) -> bool:
        """Whether there is a collection of this name."""
        return await (await self.database()).has_collection(name)

    async def get(self, collection: str, key: str, model: str | None) -> Document | None:
        """One document, as `combining.Reader`."""
        return await (await self.collection(collection)).get(key, **_named(model))

    async def get_many(self, collection: str, keys: list[str], model: str | None) -> list[Document]:
        """Several documents, as `combining.Reader`."""
        return await (await self.collection(collection)).get_many(keys, **_named(model))

    async def write(
        self, name: str, edge: bool, write: Callable[[awaited.Collection], Awaitable[R]]
    ) -> R:
        """Carry out a write; a collection that is not there comes into being.

        Raises:
            PermissionDenied: it is not there, and the policy does not let this caller make it.
        """
        database = await self.database()
        collection = database.collection(name)
        try:
            return await write(collection)
        except CollectionNotFound:
            with suppress(CollectionExists):  # somebody else came first
                await database.create_collection(name, edge=edge)
            return await write(collection)

    def submits(self, name: str) -> bool:
        """Whether single inserts into a collection go as durable jobs."""
        return self._connect is not connect_to_nothing and goes_as_job(name)

    async def ensure(self, name: str, edge: bool) -> None:
        """As `make`; looked at once in a process."""
        if name not in self._ensured:
            await self.make(name, edge)
            self._ensured.add(name)

    async def make(self, name: str, edge: bool) -> None:
        """Make a collection unless it is there.

        Raises:
            PermissionDenied: the policy does not let this caller make it, and it is not there, or
                the caller may not ask.
        """
        database = await self.database()
        try:
            await database.create_collection(name, edge=edge)
        except CollectionExists:
            return
        except PermissionDenied as refusal:
            if not await _may_see(database, name):
                raise refusal from None

    async def close(self) -> None:
        """Close the connection of this process."""
        await self._session.close()


async def _may_see(database: Database, name: str) -> bool:
    """Whether a collection is there, as far as the caller may know."""
    try:
        return await database.has_collection(name)
    except PermissionDenied:
        return False


async def connect_to_environment() -> Database:
    """Connect to the gateway that the environment names; without a database, to none.

    Raises:
        ConfigurationError, GatewayUnreachable: as `SecuredDatabaseInterface.connect`.
    """
    environment = read_environment()
    if environment.skip:
        return await connect_to_nothing()
    environment.refuse_nowhere()
    return await Database.connect(settings=environment.settings)


async def connect_to_nothing() -> Database:
    """A database to which nothing is sent, and which answers empty."""
    settings = ClientSettings()
    return Database(Connection(NoCommands("mallku", settings.database), settings))


def _named(model: str | None) -> Any:
    return {} if model is None else {"model": model}
