"""The one database object of the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from typing import Any

from mallku_client import portal
from mallku_client.mallku.environment import read_environment
from mallku_client.mallku.gateway import Gateway
from mallku_client.mallku.interface import SecuredDatabaseInterface
from mallku_client.mallku.plain import PlainDatabase

_lock = threading.Lock()
_shared: SharedDatabaseInterface | None = None


class SharedDatabaseInterface(SecuredDatabaseInterface):
    """What `get_database` gives; awaiting it initializes it as well."""

    def __await__(self) -> Generator[Any, None, SecuredDatabaseInterface]:
        return (yield from self._begun().__await__())

    async def _begun(self) -> SecuredDatabaseInterface:
        await self.initialize()
        return self._awaited()


def get_database() -> SharedDatabaseInterface:
    """Mallku's database, the same object for everybody in this process.

    Nothing is sent: it connects when it is first needed. `await get_database()` gives the face
    whose collections and queries are awaited, the plain call the one that waits.

    Raises:
        ConfigurationError: the environment says things that do not go together.
    """
    global _shared  # noqa: PLW0603  # one for each process is the point
    with _lock:
        if _shared is None:
            environment = read_environment()
            _shared = SharedDatabaseInterface(None if environment.skip else _gateway())
        return _shared


def close_database() -> None:
    """Close the connection; `get_database` begins anew, and reads the environment again."""
    global _shared
    with _lock:
        shared, _shared = _shared, None
    if shared is not None:
        portal.current().call(shared.close())


def _gateway() -> PlainDatabase:
    return PlainDatabase(Gateway())


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603  # it may have been held while the process forked
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
