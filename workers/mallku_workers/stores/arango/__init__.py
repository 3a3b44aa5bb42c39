"""The store over ArangoDB."""

from __future__ import annotations

from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.arango.store import ArangoStore

__all__ = ["ArangoSettings", "ArangoStore"]
