"""Mallku's own database package, over the gateway: an import in the place of its contents.

::

    from mallku_client.mallku import get_database

    db = get_database()  # calls wait
    db.collection("memory_anchors").insert({"_key": "a"})

    db = await get_database()  # calls are awaited
    await db.collection("memory_anchors").get("a")

Everything is an ordinary client of the gateway (`docs/mallku.md`); nothing here can do more than
the policy of its principal lets it.
"""

from __future__ import annotations

from mallku_client.mallku.interface import SecuredDatabaseInterface
from mallku_client.mallku.policies import CollectionSecurityPolicy, SecuredModel
from mallku_client.mallku.registry import SecurityRegistry
from mallku_client.mallku.rows import Rows
from mallku_client.mallku.shared import close_database, get_database
from mallku_client.mallku.values import plain, restore
from mallku_client.mallku.wrapper import SecuredCollectionWrapper
from mallku_contracts.errors import SecurityViolation

SecuredArangoDatabase = SecuredDatabaseInterface
SecurityViolationError = SecurityViolation

__all__ = [
    "CollectionSecurityPolicy",
    "Rows",
    "SecuredArangoDatabase",
    "SecuredCollectionWrapper",
    "SecuredDatabaseInterface",
    "SecuredModel",
    "SecurityRegistry",
    "SecurityViolationError",
    "close_database",
    "get_database",
    "plain",
    "restore",
]
