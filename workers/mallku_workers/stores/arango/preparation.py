"""What the store needs to find in a database before it serves, and how durable that database is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import structlog

from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    ConfigurationError,
    DatabaseNotFound,
)
from mallku_workers.stores.arango.catalog import DOCUMENTS
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.texts import LEDGER
from mallku_workers.stores.base import Durability

LEAST_VERSION: Final = (3, 11)
"""The oldest ArangoDB that knows all that the store asks for."""

LEDGER_INDEXES: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "persistent", "name": "mallku_transmission", "fields": ["id"]},
    {"type": "ttl", "name": "mallku_expiry", "fields": ["expires"], "expireAfter": 0},
)
"""Over the ledger: entries by transmission, and the end of those whose time is over."""

_VERSION: Final = re.compile(r"(\d+)\.(\d+)")
_COPIES: Final = 2
_log = structlog.get_logger("mallku.store")


def prepare(server: Server) -> Durability:
    """Check the server, make the ledger where it is missing, and read how durable commits are.

    Raises:
        ConfigurationError: the server is too old, or there is no such database.
        Unavailable, StoreFailure
    """
    try:
        version = str(server.call("GET", "/_api/version")["version"])
    except DatabaseNotFound:
        raise ConfigurationError(f"ArangoDB has no database {server.name}") from None
    _check_version(version)
    _make_ledger(server)
    return read_durability(server)


def _check_version(version: str) -> None:
    found = _VERSION.match(version)
    if found is None or tuple(map(int, found.groups())) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise ConfigurationError(
            f"ArangoDB {version:.40} is too old; {least} is the oldest that does"
        )


def _make_ledger(server: Server) -> None:
    try:
        server.call("GET", f"/_api/collection/{LEDGER}")
    except CollectionNotFound:
        with suppress(CollectionExists):  # another worker was quicker
            server.call("POST", "/_api/collection", body={"name": LEDGER, "type": DOCUMENTS})
    for index in LEDGER_INDEXES:
        server.call("POST", "/_api/index", params={"collection": LEDGER}, body=index)


def read_durability(server: Server) -> Durability:
    """The weakest of what the ledger and the collections say of themselves.

    A commit waits for the disk where one of its collections does (`waitForSync`), and the ledger is
    in each; copies are told by replication factor and write concern.
    """
    answer = server.call("GET", "/_api/collection", params={"excludeSystem": True})
    names = [str(one["name"]) for one in answer["result"]]
    properties = {name: _properties(server, name) for name in names}
    _warn_of_shards(server.name, properties.values())
    synced = bool(properties[LEDGER].get("waitForSync"))
    return min(durability(one, synced=synced) for one in properties.values())


def durability(properties: Mapping[str, Any], *, synced: bool) -> Durability:
    """What a commit to a collection with these properties survives."""
    copies = properties.get("replicationFactor", 1)
    concern = properties.get("writeConcern", properties.get("minReplicationFactor", 1))
    if isinstance(copies, int) and copies >= _COPIES and concern >= _COPIES:
        return Durability.QUORUM
    if synced or properties.get("waitForSync"):
        return Durability.FSYNC
    return Durability.FLUSH


def _properties(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call(
        "GET", f"/_api/collection/{quote(name, safe='')}/properties"
    )
    return found


def _warn_of_shards(database: str, properties: Iterable[Mapping[str, Any]]) -> None:
    if any(one.get("numberOfShards", 1) > 1 for one in properties):
        _log.warning(
            "several_shards",
            database=database,
            consequence="effect and ledger are one commit only where the database is OneShard",
        )
