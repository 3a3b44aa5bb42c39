"""What the store needs to find in a database before it serves, and how durable that database is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import structlog

from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    ConfigurationError,
    DatabaseNotFound,
    StoreFailure,
)
from mallku_workers.stores.arango.catalog import DOCUMENTS
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.texts import LEDGER

LEAST_VERSION: Final = (3, 11)
"""The oldest ArangoDB that knows all that the store asks for."""

LEDGER_INDEXES: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "persistent", "name": "mallku_transmission", "fields": ["id"]},
    {"type": "ttl", "name": "mallku_expiry", "fields": ["expires"], "expireAfter": 0},
)
"""Over the ledger: entries by transmission, and the end of those whose time is over."""

ONE_SHARD: Final = "single"
"""How a cluster calls the sharding of a OneShard database."""

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
    properties = _all_properties(server)
    _refuse_several_shards(server, properties)
    synced = bool(properties[LEDGER].get("waitForSync"))
    return min(durability(one, synced=synced) for one in properties.values())


def check_entry(server: Server) -> None:
    """See that the server's user is let into the database.

    Raises:
        ConfigurationError: its name or password is wrong, or it may not use the database.
        Unavailable, StoreFailure
    """
    try:
        server.call("GET", "/_api/database/current")
    except (DatabaseNotFound, StoreFailure) as error:
        raise ConfigurationError(
            f"a user for queries may not use the database {server.name}: {error.message}"
        ) from None


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
    known = server.call("GET", "/_api/index", params={"collection": LEDGER})["indexes"]
    there = {(one["type"], tuple(one["fields"])) for one in known}
    for index in LEDGER_INDEXES:
        if (index["type"], tuple(index["fields"])) not in there:
            server.call("POST", "/_api/index", params={"collection": LEDGER}, body=index)


def _all_properties(server: Server) -> dict[str, dict[str, Any]]:
    """What the ledger and the collections say of themselves."""
    answer = server.call("GET", "/_api/collection", params={"excludeSystem": True})
    names = [str(one["name"]) for one in answer["result"]]
    return {name: _properties(server, name) for name in names}


def durability(properties: Mapping[str, Any], *, synced: bool) -> Durability:
    """What a commit to a collection with these properties survives.

    It waits for the disk where one of its collections does (`waitForSync`), and the ledger, which
    is `synced` or not, is in each; copies are told by replication factor and write concern.
    """
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


def _refuse_several_shards(server: Server, properties: Mapping[str, Mapping[str, Any]]) -> None:
    """Effect and ledger are one commit only where one server leads all collections.

    That is so on a single server, and in a cluster where the database is OneShard (manual,
    "OneShard cluster deployments"); only a cluster says how a database is sharded.
    """
    described = server.call("GET", "/_api/database/current")["result"]
    spread = described.get("sharding", ONE_SHARD) != ONE_SHARD
    if not spread and all(one.get("numberOfShards", 1) == 1 for one in properties.values()):
        return
    if not server.settings.allow_several_shards:
        raise ConfigurationError(
            f"the database {server.name} lies on several shards: a write and its ledger entry"
            " would not be one commit there, so that a retry could do it twice. Make it OneShard"
            " (store apply makes it so), or accept that with"
            " MALLKU_WORKER_ARANGO_ALLOW_SEVERAL_SHARDS=true"
        )
    _log.warning(
        "several_shards",
        database=server.name,
        consequence="a crash can leave a write without its ledger entry, or the other way round",
    )
