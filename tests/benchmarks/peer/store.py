"""Documents and audit rows in one SQLite file; each effect commits together with its row."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mallku_contracts.identifiers import uuid7

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT, key TEXT, rev TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, time_ms INTEGER, principal TEXT, operation TEXT, collection TEXT,
    key TEXT, rule TEXT, policy INTEGER, outcome TEXT
);
"""


class KeyTaken(Exception):
    """There is a document with this key."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who does what by which rule: the audit row without its outcome."""

    principal: str
    operation: str
    collection: str
    rule: str
    policy: int


class Store:
    """One connection, used from the event loop: a commit takes less than a hop to a thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def insert(self, document: dict[str, Any], access: Access) -> dict[str, str]:
        """Store a new document and its audit row; `KeyTaken` when the key is not free."""
        now_ms = _now_ms()
        key, rev = document.get("_key") or uuid7(now_ms), uuid7(now_ms)
        meta = {"_id": f"{access.collection}/{key}", "_key": key, "_rev": rev}
        body = json.dumps(document | meta, separators=(",", ":"))
        with self._transaction():
            try:
                self._db.execute(
                    "INSERT INTO documents VALUES (?, ?, ?, ?)", (access.collection, key, rev, body)
                )
            except sqlite3.IntegrityError:
                raise KeyTaken(key) from None
            self._record(access, key, now_ms, "done")
        return meta

    def get(self, key: str, access: Access) -> dict[str, Any] | None:
        """The document with this key, or None; either way there is an audit row."""
        with self._transaction():
            row = self._db.execute(
                "SELECT body FROM documents WHERE collection = ? AND key = ?",
                (access.collection, key),
            ).fetchone()
            self._record(access, key, _now_ms(), "done" if row else "not found")
        return json.loads(row[0]) if row else None

    def refuse(self, access: Access) -> None:
        """Put a refusal on the audit table."""
        self._record(access, "", _now_ms(), "denied")

    def _record(self, access: Access, key: str, now_ms: int, outcome: str) -> None:
        self._db.execute(
            "INSERT INTO audit VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                now_ms,
                access.principal,
                access.operation,
                access.collection,
                key,
                access.rule,
                access.policy,
                outcome,
            ),
        )

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
