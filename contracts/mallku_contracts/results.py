"""The results of every operation, as typed maps; the shapes are ArangoDB's.

A reply's body is `{"result": …, "receipt": …, "replayed": …}` or `{"error": …}`; the types here are
what stands under `result`.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from mallku_contracts.arguments import Document


class DocumentMeta(TypedDict):
    """What a write says of one document."""

    _id: str
    _key: str
    _rev: str
    _old_rev: NotRequired[str]
    new: NotRequired[Document]
    old: NotRequired[Document]


class ErrorEntry(TypedDict):
    """One document of a batch that failed: the error as it would cross the wire alone."""

    error: dict[str, Any]


WriteResult = DocumentMeta | bool
"""`True` where the caller asked for silence, `False` for a missing document that was ignored."""

BatchResult = list[DocumentMeta | ErrorEntry | bool]
"""One entry for each document, in their order."""


class WouldTouch(TypedDict):
    """A document that a dry run would have touched, in its present revision.

    `_rev` is None for one that would be new.
    """

    _id: str
    _key: str
    _rev: str | None


class FailedPlace(TypedDict):
    """A document of a batch that would fail: its place, from 0, and the error."""

    place: int
    error: dict[str, Any]


class DryRun(TypedDict):
    """What a write with `dry_run` would do: nothing was touched.

    `count` says how many documents, `documents` names them, `more` that not all are named: there
    are too many, or they match and the asker may not read them; `errors` are those of a batch.
    """

    dry_run: Literal[True]
    count: int
    documents: list[WouldTouch]
    more: bool
    errors: list[FailedPlace]


class Page(TypedDict):
    """A page of documents; `more` says whether another follows, `after` how to ask for it.

    `after` is None on the last page and wherever a sort forbids to continue by key.
    """

    documents: list[Document]
    more: bool
    after: str | None


class UpsertResult(TypedDict):
    """What an upsert says: which way it went, and the document's revisions."""

    _id: str
    _key: str
    _rev: str
    _old_rev: NotRequired[str]
    new: NotRequired[Document]
    old: NotRequired[Document | None]
    type: Literal["insert", "update", "replace"]


class CollectionInfo(TypedDict):
    """A collection as `list-collections` shows it."""

    name: str
    type: Literal["document", "edge"]


class CollectionDescription(CollectionInfo):
    """A collection with its size."""

    count: int
    indexes: int


class FlagsInfo(TypedDict):
    """The flags in force; `version` 0 before the first document of them.

    `collections` maps names and globs to routes, in the order in which they count.
    """

    version: int
    collections: dict[str, str]
    default: str
    flags: dict[str, bool | int | str]


class IndexInfo(TypedDict):
    """An index; `id` is `collection/number`. `new` only in the answer to its creation."""

    id: str
    name: str
    type: Literal["primary", "edge", "persistent"]
    fields: list[str]
    unique: bool
    sparse: bool
    new: NotRequired[bool]


class EdgeDefinitionInfo(TypedDict):
    """Which vertex collections one edge collection of a graph connects."""

    edge_collection: str
    from_vertex_collections: list[str]
    to_vertex_collections: list[str]


class GraphInfo(TypedDict):
    """A named graph."""

    name: str
    edge_definitions: list[EdgeDefinitionInfo]
    orphan_collections: list[str]


class CursorInfo(TypedDict):
    """Where the next pages of a query are asked for: `next` at this worker, with this id."""

    id: str
    worker: str


class QueryWarning(TypedDict):
    """What a query went on in spite of, under ArangoDB's number."""

    code: int
    message: str


class QueryStatistics(TypedDict):
    """What a query did until its first page was there, documents; `peak_memory` is in bytes."""

    writes_executed: int
    writes_ignored: int
    scanned_full: int
    scanned_index: int
    filtered: int
    peak_memory: int


class PlannedAccess(TypedDict):
    """How a query gets at the documents of a collection that it loops over.

    `access` is `full`, `primary`, `index` or the name of one; `in_order` says that the documents
    come as a `SORT` asks for them, so that none is needed.
    """

    collection: str
    access: str
    in_order: NotRequired[bool]


class QueryResult(TypedDict):
    """The first page of a query; `cursor` where there are more, the rest where it was asked for.

    `count` is the number of all rows, `full_count` what it were without the last `LIMIT`.
    """

    result: list[Any]
    more: bool
    cursor: NotRequired[CursorInfo]
    warnings: list[QueryWarning]
    statistics: QueryStatistics
    count: NotRequired[int]
    full_count: NotRequired[int]
    plan: NotRequired[list[PlannedAccess]]


class QueryRows(TypedDict):
    """A further page of a query; `more` says whether another follows."""

    result: list[Any]
    more: bool


class OutcomeResult(TypedDict):
    """What became of a command.

    `state` is `done` when the ledger holds its commit, or the result of a durable job is kept,
    `failed` when it is kept why a durable job was not done, and `unknown` otherwise; both forget
    after their time, and jobs may wait, so `unknown` is not a "no".

    Attributes:
        error: Why a job failed, as it would cross the wire alone.
        reply: The worker's signed reply to a job: `result` and `error` are read from it.
    """

    state: Literal["done", "failed", "unknown"]
    id: str | None
    result: Any
    error: NotRequired[dict[str, Any]]
    reply: NotRequired[bytes]


class Receipt(TypedDict):
    """Where the audit trail holds the outcome of a mutation; `hash` is the record's SHA-256."""

    stream: str
    sequence: int
    hash: bytes
