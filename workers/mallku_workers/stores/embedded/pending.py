"""Rows that wait for the end of their group, to reach the database in few statements."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from mallku_workers.stores.documents import to_text
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.rows import portions

Place = tuple[int, str]
"""A collection's number and a document's key."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What a row will be.

    Attributes:
        fresh: The database has no row under this key yet.
        columns: None where the row is to be removed.
    """

    fresh: bool
    columns: list[Any] | None


class PendingRows:
    """Rows to be written and removed, the last word for each key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[Place, Pending] = {}
        self._tables: dict[int, Collection] = {}

    def get(self, place: Place) -> Pending | None:
        """What waits for this key."""
        return self._rows.get(place)

    def put(self, collection: Collection, place: Place, row: Pending) -> None:
        """Let `row` wait instead of what waited before."""
        self._rows[place] = row
        self._tables[collection.id] = collection

    def restore(self, place: Place, row: Pending | None) -> None:
        """Take back a `put`: let wait what waited before it."""
        if row is None:
            self._rows.pop(place, None)
        else:
            self._rows[place] = row

    def flush(self) -> None:
        """Remove what is to be removed, then write the rest."""
        puts: dict[tuple[int, bool], list[list[Any]]] = {}
        gone: dict[int, list[str]] = {}
        for (table, key), row in self._rows.items():
            if row.columns is not None:
                puts.setdefault((table, row.fresh), []).append(row.columns)
            elif not row.fresh:
                gone.setdefault(table, []).append(key)
        for table, keys in gone.items():
            self._connection.execute(self._tables[table].delete_sql, (to_text(keys),))
        for (table, fresh), rows in puts.items():
            self._write(self._tables[table], rows, fresh=fresh)
        self._rows.clear()

    def _write(self, collection: Collection, rows: list[list[Any]], *, fresh: bool) -> None:
        for some in portions(len(rows)):
            values = [value for row in rows[some] for value in row]
            sql = collection.put_sql(len(rows[some]), fresh=fresh)
            self._connection.execute(sql, values)
