"""Reading many documents in one step of the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts.arguments import Document
from mallku_contracts.errors import StoreFailure
from mallku_workers.stores.documents import to_text
from mallku_workers.stores.embedded.catalog import ALONE_BYTES, Collection

CHUNK_DOCUMENTS: Final = 256
"""Documents that are read in one step, count."""

_PORTIONS: Final = (64, 16, 4, 1)


def portions(count: int) -> Iterator[slice]:
    """Cut `count` rows into few sizes, so that few different statements store any number."""
    start = 0
    for size in _PORTIONS:
        while count - start >= size:
            yield slice(start, start + size)
            start += size


@dataclass(frozen=True, slots=True)
class Row:
    """A document's key, the bytes of its text, and itself unless it has to be fetched alone."""

    key: str
    size: int
    document: Document | None

    @property
    def without_document(self) -> Row:
        """It as one that has to be fetched alone."""
        return Row(self.key, self.size, None)

    def read(self, connection: sqlite3.Connection, collection: Collection) -> Document:
        """The document, fetched now if it was too large to come with the others."""
        if self.document is not None:
            return self.document
        found = read_document(connection, collection, self.key)
        if found is None:
            raise StoreFailure(f"{collection.prefix}{self.key} vanished within a transaction")
        return found


def gather(connection: sqlite3.Connection, sql: str, parameters: Iterable[Any]) -> list[Row]:
    """The rows of a statement made by `catalog.gathering`, in its order."""
    keys, sizes, bodies = connection.execute(sql, tuple(parameters)).fetchone()
    if keys is None:
        return []
    return list(_paired(keys.split(" "), map(int, sizes.split(" ")), parse(bodies or "[]")))


def _paired(keys: list[str], sizes: Iterable[int], small: list[Document]) -> Iterator[Row]:
    together = iter(small)
    for key, size in zip(keys, sizes, strict=True):
        yield Row(key, size, next(together) if size < ALONE_BYTES else None)


def gather_keys(
    connection: sqlite3.Connection, collection: Collection, keys: Iterable[str]
) -> dict[str, Row]:
    """Those of `keys` that exist."""
    rows = gather(connection, collection.gather_sql, (to_text(list(keys)),))
    return {row.key: row for row in rows}


def read_document(
    connection: sqlite3.Connection, collection: Collection, key: str
) -> Document | None:
    """One document, None where there is none."""
    row = read_row(connection, collection, key)
    return None if row is None else row.document


def read_row(connection: sqlite3.Connection, collection: Collection, key: str) -> Row | None:
    """One document with the characters of its text as its size, None where there is none."""
    row = connection.execute(collection.body_sql, (key,)).fetchone()
    return None if row is None else Row(key, len(row[0]), parse(row[0]))


def parse(text: str) -> Any:
    """A stored text's value; `StoreFailure` where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        raise StoreFailure("a stored document is damaged") from None
