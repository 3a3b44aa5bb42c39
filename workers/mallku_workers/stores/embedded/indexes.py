"""Persistent indexes: making, removing and listing them.

An index is a column of order keys in its collection's table, and an SQLite index over it. The keys
are made here and not by SQL expressions, so that equality, uniqueness and order are ArangoDB's, and
the same whatever version of SQLite opens the file. A unique index that is not sparse treats a
missing attribute as null; a sparse one leaves out documents where a field is null or missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from mallku_contracts import arguments as a
from mallku_contracts.errors import IndexNotFound, InvalidIndex
from mallku_contracts.results import IndexInfo
from mallku_workers.stores.documents import to_text
from mallku_workers.stores.embedded.catalog import EDGE_INDEX_IDS, Collection, Index
from mallku_workers.stores.embedded.matching import Plan
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, Row, gather
from mallku_workers.stores.embedded.session import (
    MAX_INDEX_KEYS_BYTES,
    Session,
    unique_violation,
)
from mallku_workers.stores.names import check_definition

MAX_INDEXES: Final = 64
"""Persistent indexes of one collection, count."""

_BUILT_IN: Final = frozenset({"primary", "edge"})


def create_index(session: Session, name: str, arguments: a.CreateIndex) -> IndexInfo:
    """A new index over what is there and what will come, or the same one that exists already.

    Raises:
        InvalidIndex: the definition cannot be fulfilled, or a document is too large for it.
        UniqueViolation: documents that are there already have the same value.
    """
    collection = session.catalog.collection(name)
    fields = tuple(arguments.fields)
    check_definition(fields, arguments.name)
    for known in collection.persistent:
        if (known.fields, known.unique, known.sparse) == (
            fields,
            arguments.unique,
            arguments.sparse,
        ):
            return {**_info(collection, known), "new": False}
    number = session.next_tick()
    index = Index(
        number, arguments.name or f"idx_{number}", fields, arguments.unique, arguments.sparse
    )
    _check_room(collection, index)
    _build(session, collection, index)
    return {**_info(collection, index), "new": True}


def _check_room(collection: Collection, index: Index) -> None:
    if any(known.name == index.name for known in collection.persistent):
        raise InvalidIndex(f"there is another index {index.name} in {collection.name}")
    if len(collection.persistent) >= MAX_INDEXES:
        raise InvalidIndex(f"{collection.name} has {MAX_INDEXES} indexes already")


def _build(session: Session, collection: Collection, index: Index) -> None:
    execute = session.connection.execute
    execute(
        "INSERT INTO mallku_indexes (id, collection, name, fields, is_unique, is_sparse)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            index.id,
            collection.id,
            index.name,
            to_text(index.fields),
            index.unique,
            index.sparse,
        ),
    )
    execute(f"ALTER TABLE {collection.table} ADD COLUMN {index.column} BLOB")
    _fill(session, collection, index)
    session.change_catalog()
    grown = session.catalog.collection(collection.name)
    _refuse_large(session, grown)
    try:
        execute(grown.create_index_sql(index))
    except sqlite3.IntegrityError as error:
        raise unique_violation(grown, error) from None


def _fill(session: Session, collection: Collection, index: Index) -> None:
    """Write the column for every document, a bounded number at a time."""
    sql = f"UPDATE {collection.table} SET {index.column} = ? WHERE key = ?"  # noqa: S608 - numbers
    page, after = Plan(collection).page_sql, ""
    rows: list[Row] | None = None
    while rows is None or len(rows) == CHUNK_DOCUMENTS:
        session.check_deadline(now=True)
        rows = gather(session.connection, page, (after, CHUNK_DOCUMENTS))
        session.connection.executemany(sql, _keys(session, collection, index, rows))
        after = rows[-1].key if rows else after


def _keys(
    session: Session, collection: Collection, index: Index, rows: Iterable[Row]
) -> Iterator[tuple[bytes | None, str]]:
    """The index's key and the document's own, one at a time: keys may be large."""
    for row in rows:
        session.check_deadline(now=True)
        yield index.key(row.read(session.connection, collection)), row.key


def _refuse_large(session: Session, grown: Collection) -> None:
    """Refuse an index with which a document could not be written again."""
    size = " + ".join(f"ifnull(length({index.column}), 0)" for index in grown.indexes)
    found = session.connection.execute(
        f"SELECT key FROM {grown.table} WHERE {size} > ? LIMIT 1",  # noqa: S608 - numbers
        (MAX_INDEX_KEYS_BYTES,),
    ).fetchone()
    if found is not None:
        raise InvalidIndex(
            f"{grown.prefix}{found[0]} would have more than {MAX_INDEX_KEYS_BYTES} bytes of keys"
            " in indexes"
        )


def drop_index(session: Session, name: str, arguments: a.DropIndex) -> bool:
    """Remove the index with this id or name; False where a missing one is ignored.

    Raises:
        IndexNotFound: there is none.
        InvalidIndex: it is the primary or the edge index.
    """
    collection = session.catalog.collection(name)
    wanted = arguments.index.removeprefix(collection.prefix)
    if wanted in _BUILT_IN or wanted in ("0", str(EDGE_INDEX_IDS[0])):
        raise InvalidIndex(f"{arguments.index}: this index belongs to the collection")
    for index in collection.persistent:
        if wanted in (str(index.id), index.name):
            _drop(session, collection, index)
            return True
    if arguments.ignore_missing:
        return False
    raise IndexNotFound(f"there is no index {arguments.index!r:.80} in {collection.name}")


def _drop(session: Session, collection: Collection, index: Index) -> None:
    execute = session.connection.execute
    execute(f"DROP INDEX {collection.index_name(index)}")
    execute(f"ALTER TABLE {collection.table} DROP COLUMN {index.column}")
    execute("DELETE FROM mallku_indexes WHERE id = ?", (index.id,))
    session.change_catalog()


def list_indexes(collection: Collection) -> list[IndexInfo]:
    """All indexes of a collection, the primary and the edge index first."""
    listed: list[IndexInfo] = [
        {
            "id": f"{collection.prefix}0",
            "name": "primary",
            "type": "primary",
            "fields": ["_key"],
            "unique": True,
            "sparse": False,
        }
    ]
    if collection.edge:
        listed.append(
            {
                "id": f"{collection.prefix}{EDGE_INDEX_IDS[0]}",
                "name": "edge",
                "type": "edge",
                "fields": ["_from", "_to"],
                "unique": False,
                "sparse": False,
            }
        )
    return listed + [_info(collection, index) for index in collection.persistent]


def _info(collection: Collection, index: Index) -> IndexInfo:
    return {
        "id": f"{collection.prefix}{index.id}",
        "name": index.name,
        "type": "persistent",
        "fields": list(index.fields),
        "unique": index.unique,
        "sparse": index.sparse,
    }
