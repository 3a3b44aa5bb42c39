"""What collections and indexes a database has, and the SQL over their tables.

Every name in SQL comes from this module, and each is made of letters and numbers that the store
counted itself: `c1003` is a table, `x1007` a column of it, `i1003_1007` the index over that. What
callers call their collections, attributes and indexes travels as bound parameters alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from mallku_contracts.errors import CollectionNotFound
from mallku_workers.stores.embedded.values import joined_key
from mallku_workers.stores.paths import Path, lookup, parse_path

ALONE_BYTES: Final = 64 * 1024
"""Documents from this size on are fetched one by one, smaller ones together, bytes."""

EDGE_INDEX_IDS: Final = (1, 2)
"""The two halves of an edge collection's own index."""


@dataclass(frozen=True)
class Index:
    """A persistent index, or half of an edge index: one column of order keys."""

    id: int
    name: str
    fields: tuple[str, ...]
    unique: bool
    sparse: bool

    @cached_property
    def column(self) -> str:
        """The column that holds the order keys; NULL for documents outside a sparse index."""
        return f"x{self.id:d}"

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The fields as paths."""
        return tuple(parse_path(name) for name in self.fields)

    def key(self, document: dict[str, Any]) -> bytes | None:
        """What the column holds for `document`."""
        if self.sparse and any(lookup(document, path) is None for path in self.paths):
            return None
        return joined_key(document, self.paths)


@dataclass(frozen=True)
class Collection:
    """A collection with its indexes; `numeric_keys` when callers chose keys made of digits."""

    id: int
    name: str
    edge: bool
    numeric_keys: bool
    persistent: tuple[Index, ...] = ()
    _puts: dict[tuple[int, bool], str] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def prefix(self) -> str:
        """What ids of its documents begin with."""
        return f"{self.name}/"

    @cached_property
    def table(self) -> str:
        """Its table."""
        return f"c{self.id:d}"

    @cached_property
    def indexes(self) -> tuple[Index, ...]:
        """Everything that has a column, an edge collection's own first."""
        if not self.edge:
            return self.persistent
        ends = zip(EDGE_INDEX_IDS, ("_from", "_to"), strict=True)
        halves = [Index(id_, "edge", (end,), unique=False, sparse=False) for id_, end in ends]
        return (*halves, *self.persistent)

    @cached_property
    def unique(self) -> bool:
        """Whether a write can meet a unique index, and so fail in the database alone."""
        return any(index.unique for index in self.persistent)

    @cached_property
    def width(self) -> int:
        """Columns of a row: key, size, body and the indexes'."""
        return 3 + len(self.indexes)

    @cached_property
    def create_sql(self) -> str:
        """Makes the table.

        Rows lie in the order of their insertion and keys in an index beside them: keys are often
        random, and this way a new document touches the end of the table and one page of small keys.
        """
        columns = "".join(f", {index.column} BLOB" for index in self.indexes)
        return (
            f"CREATE TABLE {self.table} (key TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL,"
            f" body TEXT NOT NULL{columns})"
        )

    def index_name(self, index: Index) -> str:
        """What the index over the column is called."""
        return f"i{self.id:d}_{index.id:d}"

    def create_index_sql(self, index: Index) -> str:
        """Makes the index over a column that is there; equal entries in the order of keys.

        A sparse index holds no NULL.
        """
        unique, columns = ("UNIQUE ", "") if index.unique else ("", ", key")
        sparse = f" WHERE {index.column} IS NOT NULL" if index.sparse else ""
        name = self.index_name(index)
        return f"CREATE {unique}INDEX {name} ON {self.table}({index.column}{columns}){sparse}"

    def put_sql(self, rows: int, *, fresh: bool) -> str:
        """Stores `rows` rows: fresh ones must not exist, others take an old row's place."""
        known = self._puts.get((rows, fresh))
        if known is None:
            known = self._puts[rows, fresh] = self._make_put(rows, fresh=fresh)
        return known

    def _make_put(self, rows: int, *, fresh: bool) -> str:
        columns = ["size", "body", *(index.column for index in self.indexes)]
        one = f"({','.join('?' * self.width)})"
        sql = f"INSERT INTO {self.table} (key,{','.join(columns)}) VALUES {','.join([one] * rows)}"  # noqa: S608 - numbers
        if fresh:
            return sql
        changes = ",".join(f"{column}=excluded.{column}" for column in columns)
        return f"{sql} ON CONFLICT (key) DO UPDATE SET {changes}"

    @cached_property
    def delete_sql(self) -> str:
        """Removes the rows whose keys stand in a JSON array."""
        return f"DELETE FROM {self.table} WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608 - numbers

    @cached_property
    def body_sql(self) -> str:
        """One document's text."""
        return f"SELECT body FROM {self.table} WHERE key = ?"  # noqa: S608 - numbers

    @cached_property
    def gather_sql(self) -> str:
        """Those of a JSON array of keys that exist, in one row: see `rows.gather`."""
        return gathering(
            f"SELECT key, size, body FROM {self.table}"  # noqa: S608 - numbers
            " WHERE key IN (SELECT value FROM json_each(?))"
        )


def gathering(rows_sql: str) -> str:
    """Put what `rows_sql` selects (key, size, body) into one row: keys, sizes, small bodies.

    One row is one step of the database: the interpreter's lock is given up and won back once
    instead of once for each document, which under load is most of a reader's time.
    """
    return (
        "SELECT group_concat(key, ' '), group_concat(size, ' '),"  # noqa: S608 - our own statement
        f" '[' || group_concat(CASE WHEN size < {ALONE_BYTES} THEN body END) || ']'"
        f" FROM ({rows_sql})"
    )


@dataclass(frozen=True, slots=True)
class EdgeDefinition:
    """Which vertex collections one edge collection of a graph connects."""

    edge_collection: str
    from_vertex_collections: tuple[str, ...]
    to_vertex_collections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A named graph."""

    name: str
    edge_definitions: tuple[EdgeDefinition, ...]
    orphan_collections: tuple[str, ...] = ()

    @property
    def vertices(self) -> frozenset[str]:
        """The collections that its edges connect."""
        return frozenset(
            name
            for one in self.edge_definitions
            for name in (*one.from_vertex_collections, *one.to_vertex_collections)
        )

    @property
    def members(self) -> frozenset[str]:
        """All of its collections."""
        edges = {one.edge_collection for one in self.edge_definitions}
        return self.vertices | edges | set(self.orphan_collections)


@dataclass(frozen=True)
class Catalog:
    """All collections and graphs of a database as of one catalog version."""

    version: int
    collections: Mapping[str, Collection]
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    def collection(self, name: str) -> Collection:
        """The collection of this name, else `CollectionNotFound`."""
        found = self.collections.get(name)
        if found is None:
            raise CollectionNotFound(f"there is no collection {name}", details={"name": name})
        return found


def catalog_version(connection: sqlite3.Connection) -> int:
    """The number that every change of collections or indexes counts up."""
    row: tuple[int] = connection.execute("SELECT catalog FROM mallku_state").fetchone()
    return row[0]


def load_catalog(connection: sqlite3.Connection) -> Catalog:
    """Read the catalog; within a transaction, or it may be of two minds."""
    version = catalog_version(connection)
    indexes: dict[int, list[Index]] = {}
    for id_, collection, name, fields, unique, sparse in connection.execute(
        "SELECT id, collection, name, fields, is_unique, is_sparse FROM mallku_indexes ORDER BY id"
    ):
        index = Index(id_, name, tuple(json.loads(fields)), bool(unique), bool(sparse))
        indexes.setdefault(collection, []).append(index)
    rows = connection.execute("SELECT id, name, is_edge, numeric_keys FROM mallku_collections")
    collections = {
        name: Collection(id_, name, bool(edge), bool(numeric), tuple(indexes.get(id_, ())))
        for id_, name, edge, numeric in rows
    }
    return Catalog(version, collections, _load_graphs(connection))


def _load_graphs(connection: sqlite3.Connection) -> dict[str, Graph]:
    return {
        name: Graph(
            name,
            tuple(
                EdgeDefinition(edges, tuple(from_), tuple(to))
                for edges, from_, to in json.loads(definitions)
            ),
            tuple(json.loads(orphans)),
        )
        for name, definitions, orphans in connection.execute(
            "SELECT name, definitions, orphans FROM mallku_graphs ORDER BY name"
        )
    }
