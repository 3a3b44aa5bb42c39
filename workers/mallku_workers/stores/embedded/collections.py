"""Making, emptying, removing and describing collections.

Emptying and removing leave no effect for each document: the operation itself says it all.
"""

from __future__ import annotations

import sqlite3

from mallku_contracts import arguments as a
from mallku_contracts.errors import CollectionExists
from mallku_contracts.results import CollectionDescription, CollectionInfo
from mallku_workers.stores.embedded.catalog import Catalog, Collection
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.names import check_new_name


def create_collection(session: Session, name: str, arguments: a.CreateCollection) -> CollectionInfo:
    """A new, empty collection.

    Raises:
        CollectionExists, InvalidArguments, ReservedName
    """
    check_new_name(name)
    if name in session.catalog.collections:
        raise CollectionExists(f"there is a collection {name} already", details={"name": name})
    collection = Collection(session.next_tick(), name, arguments.edge, numeric_keys=False)
    session.connection.execute(
        "INSERT INTO mallku_collections (id, name, is_edge, numeric_keys, documents)"
        " VALUES (?, ?, ?, 0, 0)",
        (collection.id, name, arguments.edge),
    )
    session.connection.execute(collection.create_sql)
    if collection.edge:
        for index in collection.indexes:
            session.connection.execute(collection.create_index_sql(index))
    session.change_catalog()
    return _info(collection)


def drop_collection(session: Session, name: str, arguments: a.DropCollection) -> bool:
    """Remove a collection with its documents and indexes; False where a missing one is ignored."""
    if arguments.ignore_missing and name not in session.catalog.collections:
        return False
    collection = session.catalog.collection(name)
    session.connection.execute(f"DROP TABLE {collection.table}")
    for table, column in (("mallku_indexes", "collection"), ("mallku_collections", "id")):
        session.connection.execute(
            f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608 - constants
            (collection.id,),
        )
    session.forget(collection)
    session.change_catalog()
    return True


def truncate(session: Session, name: str, _arguments: a.NoArguments) -> int:
    """Remove every document; how many there were."""
    collection = session.catalog.collection(name)
    documents = count_documents(session.connection, collection)
    session.connection.execute(f"DELETE FROM {collection.table}")  # noqa: S608 - a number
    session.connection.execute(
        "UPDATE mallku_collections SET documents = 0 WHERE id = ?", (collection.id,)
    )
    session.forget(collection)
    return documents


def list_collections(catalog: Catalog) -> list[CollectionInfo]:
    """All collections by name."""
    return [_info(collection) for _, collection in sorted(catalog.collections.items())]


def describe_collection(collection: Collection, count: int) -> CollectionDescription:
    """A collection, its kind and its size."""
    indexes = 1 + int(collection.edge) + len(collection.persistent)
    return {**_info(collection), "count": count, "indexes": indexes}


def count_documents(connection: sqlite3.Connection, collection: Collection) -> int:
    """How many documents a collection has, as each commit keeps it up to date."""
    row: tuple[int] | None = connection.execute(
        "SELECT documents FROM mallku_collections WHERE id = ?", (collection.id,)
    ).fetchone()
    return 0 if row is None else row[0]


def _info(collection: Collection) -> CollectionInfo:
    return {"name": collection.name, "type": "edge" if collection.edge else "document"}
