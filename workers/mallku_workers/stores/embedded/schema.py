"""The SQLite file of a database: where it lies, who may read it, and its tables.

A database is one file, `<directory>/<database>.sqlite`, of mode 0600 in a directory of mode 0700:
these modes are what keeps everybody but the workers away from the documents.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from mallku_contracts.durability import Durability
from mallku_contracts.errors import ConfigurationError, MallkuError, Unavailable
from mallku_contracts.limits import KIB
from mallku_workers.stores.embedded.faults import translate
from mallku_workers.stores.embedded.revisions import FIRST_TICK
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.turn import Turn

FORMAT: Final = 3
"""The layout of the file, kept in `user_version`."""

PAGE_BYTES: Final = 4_096
"""Page size of new files, bytes."""

STATEMENTS: Final = 512
"""Prepared statements that a connection remembers, count."""

_LEAST_SQLITE: Final = (3, 38, 0)
_FULL: Final = 2  # as `PRAGMA synchronous` says it

_GRAPHS: Final = """CREATE TABLE mallku_graphs (
    name TEXT PRIMARY KEY NOT NULL, definitions TEXT NOT NULL, orphans TEXT NOT NULL
)"""

_TABLES: Final = (
    """CREATE TABLE mallku_state (
        one INTEGER PRIMARY KEY CHECK (one = 1), tick INTEGER NOT NULL, catalog INTEGER NOT NULL,
        forgotten_ms INTEGER NOT NULL
    )""",
    """CREATE TABLE mallku_collections (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, is_edge INTEGER NOT NULL,
        numeric_keys INTEGER NOT NULL, documents INTEGER NOT NULL
    )""",
    """CREATE TABLE mallku_indexes (
        id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, name TEXT NOT NULL,
        fields TEXT NOT NULL, is_unique INTEGER NOT NULL, is_sparse INTEGER NOT NULL,
        UNIQUE (collection, name)
    )""",
    _GRAPHS,
    """CREATE TABLE mallku_ledger (
        digest INTEGER NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL, id TEXT NOT NULL,
        expires_ms INTEGER NOT NULL, result BLOB NOT NULL, position INTEGER NOT NULL,
        touched BLOB NOT NULL
    )""",
    "CREATE INDEX mallku_ledger_digest ON mallku_ledger(digest)",
    "CREATE INDEX mallku_ledger_id ON mallku_ledger(id)",
    "CREATE INDEX mallku_ledger_expires_ms ON mallku_ledger(expires_ms)",
    f"PRAGMA user_version = {FORMAT}",
)


def prepare_file(path: Path, settings: EmbeddedSettings) -> None:
    """Make the file of a database with its tables, or check that it is one.

    Raises:
        Unavailable, StoreFailure, ConfigurationError
    """
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None
    # One process at a time: changing a new file to WAL does not wait for others, it fails.
    with Turn(path).taken(settings.busy_timeout_ms / 1_000):
        connection = connect(path, settings)
        try:
            _create_tables(connection, path)
        except sqlite3.Error as error:
            raise translate(error) from None
        finally:
            connection.close()


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, FORMAT):
        raise ConfigurationError(f"{path}: written by another version (format {version})")
    if version == 0:
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO mallku_state VALUES (1, ?, 1, 0)", (FIRST_TICK,))
    connection.execute("COMMIT")


def connect(path: Path, settings: EmbeddedSettings) -> sqlite3.Connection:
    """A connection in autocommit mode with the settings applied.

    Raises:
        Unavailable, StoreFailure, ConfigurationError
    """
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS,
            timeout=settings.busy_timeout_ms / 1_000,
        )
    except sqlite3.Error as error:
        raise translate(error) from None
    try:
        _configure(connection, settings)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error) from None
    except MallkuError:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection, settings: EmbeddedSettings) -> None:
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        f"synchronous = {settings.synchronous}",
        f"cache_size = -{settings.cache_bytes // KIB}",
        f"wal_autocheckpoint = {settings.wal_pages}",
        f"journal_size_limit = {4 * settings.wal_pages * PAGE_BYTES}",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise ConfigurationError("this directory cannot hold a write-ahead log")


def read_durability(connection: sqlite3.Connection) -> Durability:
    """What this connection's commits survive, by its own account."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    if mode in ("memory", "off"):
        return Durability.MEMORY
    return Durability.FSYNC if level >= _FULL else Durability.FLUSH


def file_identity(path: Path) -> tuple[int, int]:
    """Which file stands at `path`; `Unavailable` when none does."""
    try:
        status = path.stat()
    except OSError as error:
        raise Unavailable(f"{path.name}: {error.strerror}") from None
    return status.st_dev, status.st_ino
