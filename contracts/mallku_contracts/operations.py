"""The one table of operations: everything else that knows them is derived from it.

Subjects, permissions, queue groups, validation and the documentation take the verb, its class, its
arguments and its result from `OPERATIONS`; the client's methods and the handlers use its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts import results as r


class Access(StrEnum):
    """What an operation does to data; a rule may name a class instead of its operations."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Scope(StrEnum):
    """Whether an operation is about one collection or about the database as a whole."""

    COLLECTION = "collection"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb: its name on the wire, its class, and the shapes that go in and come out."""

    name: str
    access: Access
    scope: Scope
    arguments: type[a.Arguments]
    result: Any
    summary: str

    @property
    def mutates(self) -> bool:
        """Whether it can have an effect, so that once and only once matters."""
        return self.access is not Access.READ

    @property
    def may_mutate(self) -> bool:
        """Whether it can have an effect with some arguments: a query may change documents."""
        return self.mutates or self.arguments is a.Aql


_READ, _WRITE, _ADMIN = Access.READ, Access.WRITE, Access.ADMIN
_COL, _DB = Scope.COLLECTION, Scope.DATABASE

_ONE: Final = r.WriteResult | r.DryRun
_SEVERAL: Final = r.BatchResult | r.DryRun
_NUMBER: Final = int | r.DryRun

_TABLE: Final = (
    Operation("get", _READ, _COL, a.Get, a.Document | None, "One document by its key"),
    Operation("get-many", _READ, _COL, a.GetMany, list[a.Document], "Documents by their keys"),
    Operation("exists", _READ, _COL, a.Get, bool, "Whether a document is there"),
    Operation("find", _READ, _COL, a.Find, r.Page, "Documents that equal filters"),
    Operation("count", _READ, _COL, a.Count, int, "How many documents there are"),
    Operation("aql", _READ, _DB, a.Aql, r.QueryResult, "A query in ArangoDB's language"),
    Operation("next", _READ, _DB, a.Next, r.QueryRows, "The next page of a cursor"),
    Operation("outcome", _READ, _DB, a.Outcome, r.OutcomeResult, "What became of my command"),
    Operation("insert", _WRITE, _COL, a.Insert, r.WriteResult, "A new document"),
    Operation("insert-many", _WRITE, _COL, a.InsertMany, r.BatchResult, "Several new documents"),
    Operation("update", _WRITE, _COL, a.Update, _ONE, "Change parts of a document"),
    Operation("update-many", _WRITE, _COL, a.UpdateMany, _SEVERAL, "Change several documents"),
    Operation("update-match", _WRITE, _COL, a.UpdateMatch, _NUMBER, "Change what equals filters"),
    Operation("replace", _WRITE, _COL, a.Replace, _ONE, "Put a document in its place"),
    Operation("replace-many", _WRITE, _COL, a.ReplaceMany, _SEVERAL, "Replace several"),
    Operation(
        "replace-match", _WRITE, _COL, a.ReplaceMatch, _NUMBER, "Replace what equals filters"
    ),
    Operation("upsert", _WRITE, _COL, a.Upsert, r.UpsertResult, "Insert, or change what is there"),
    Operation("delete", _WRITE, _COL, a.Delete, _ONE, "Remove a document"),
    Operation("delete-many", _WRITE, _COL, a.DeleteMany, _SEVERAL, "Remove several documents"),
    Operation("delete-match", _WRITE, _COL, a.DeleteMatch, _NUMBER, "Remove what equals filters"),
    Operation("transaction", _WRITE, _DB, a.Transaction, list[Any], "Several writes, all or none"),
    Operation(
        "create-collection", _ADMIN, _COL, a.CreateCollection, r.CollectionInfo, "A new collection"
    ),
    Operation("drop-collection", _ADMIN, _COL, a.DropCollection, bool, "Remove a collection"),
    Operation("truncate", _ADMIN, _COL, a.NoArguments, int, "Remove every document"),
    Operation(
        "list-collections", _READ, _DB, a.NoArguments, list[r.CollectionInfo], "All collections"
    ),
    Operation(
        "describe-collection",
        _READ,
        _COL,
        a.NoArguments,
        r.CollectionDescription,
        "What a collection is",
    ),
    Operation("create-index", _ADMIN, _COL, a.CreateIndex, r.IndexInfo, "A new index"),
    Operation("drop-index", _ADMIN, _COL, a.DropIndex, bool, "Remove an index"),
    Operation("list-indexes", _READ, _COL, a.NoArguments, list[r.IndexInfo], "All indexes"),
    Operation("create-graph", _ADMIN, _DB, a.CreateGraph, r.GraphInfo, "A named graph"),
    Operation("drop-graph", _ADMIN, _DB, a.DropGraph, bool, "Remove a named graph"),
    Operation("list-graphs", _READ, _DB, a.NoArguments, list[r.GraphInfo], "All named graphs"),
    Operation("describe-flags", _READ, _DB, a.NoArguments, r.FlagsInfo, "The flags in force"),
    Operation(
        "report-violation", _WRITE, _DB, a.ReportViolation, bool, "Put a violation on the trail"
    ),
    Operation("redrive", _ADMIN, _DB, a.Redrive, bool, "Give a dead job another try"),
)

OPERATIONS: Final[Mapping[str, Operation]] = {operation.name: operation for operation in _TABLE}
"""Every operation by its name on the wire."""
