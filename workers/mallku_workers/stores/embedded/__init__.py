"""The embedded store: ArangoDB's semantics over SQLite files."""

from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.store import EmbeddedStore

__all__ = ["EmbeddedSettings", "EmbeddedStore"]
