"""The arguments of every operation, under python-arango's names.

Documents stay plain maps: what is in them is the store's concern, what surrounds them is checked
here. Unknown arguments are refused, and no value is converted from another type.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mallku_contracts.errors import InvalidArguments
from mallku_contracts.limits import (
    MAX_BATCH_DOCUMENTS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_NAME_CHARS,
)
from mallku_contracts.wording import complaints

MAX_QUERY_CHARS: Final = 256 * 1024
"""An AQL text, characters."""

MAX_INDEX_FIELDS: Final = 32
"""Fields of one index."""

MAX_SORT_FIELDS: Final = 16
"""Fields of one sort."""

MAX_SKIP: Final = 10_000_000
"""Documents that `find` may pass over."""

MAX_PAGE_DOCUMENTS: Final = 10_000
"""Documents in one page of `find`."""

DEFAULT_PAGE_DOCUMENTS: Final = 1_000
"""Documents in one page of `find` when the caller does not say."""

MAX_FILTERS: Final = 64
"""Filters of one operation."""

MAX_ARGUMENTS: Final = 64
"""Arguments of one operation or of one part of it, known or not."""

MAX_TRANSACTION_STEPS: Final = 1_000
"""Steps of one transaction; a step may hold a batch."""

MAX_EDGE_DEFINITIONS: Final = 64
"""Edge collections of one named graph."""

MAX_GRAPH_COLLECTIONS: Final = 256
"""Collections at one end of an edge collection, and those without edges in one graph."""

MAX_NAMED_FIELDS: Final = 16
"""Fields that one `InvalidArguments` names."""

_MAX_SHOWN_STEPS = 8

A = TypeVar("A", bound="Arguments")

Document = dict[str, Any]


def _plain_reference(value: object) -> object:
    if not isinstance(value, str | dict):
        raise PydanticCustomError(
            "reference", "name it by key, by id, or by a map with _key or _id"
        )
    return value


Reference = Annotated[str | Document, BeforeValidator(_plain_reference)]
"""A document's key, its id (`collection/key`), or a map with `_key` or `_id`."""

FieldPath = Annotated[str, Field(min_length=1, max_length=512)]
Filters = Annotated[dict[FieldPath, Any], Field(max_length=MAX_FILTERS)]
"""Attribute names, a dot between levels, to the values they must equal."""

Limit = Annotated[int, Field(ge=0, le=MAX_SKIP)]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
"""The secured model in whose name documents are read or written (policy, `requires_security`)."""

IdempotencyKey = Annotated[str, Field(min_length=1, max_length=MAX_IDEMPOTENCY_KEY_CHARS)]


class Arguments(BaseModel):
    """What every argument model has in common: strict, closed, frozen, quiet about values."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, defer_build=True, hide_input_in_errors=True
    )


class _Part(Arguments):
    """A map inside the arguments: each unknown name costs an error, so there are not many."""

    @model_validator(mode="before")
    @classmethod
    def _not_many(cls, values: object) -> object:
        if isinstance(values, dict) and len(values) > MAX_ARGUMENTS:
            raise ValueError(f"more than {MAX_ARGUMENTS} names")
        return values


class NoArguments(Arguments):
    """For operations that take none."""


class Get(Arguments):
    """One document by key or id; with `rev`, only in that revision when `check_rev`."""

    document: Reference
    rev: str | None = None
    check_rev: bool = True
    model: ModelName | None = None


class GetMany(Arguments):
    """Several documents by key or id; missing ones are left out."""

    documents: list[Reference] = Field(max_length=MAX_BATCH_DOCUMENTS)
    model: ModelName | None = None


class SortField(_Part):
    """One field to sort by."""

    sort_by: FieldPath
    sort_order: Literal["ASC", "DESC"] = "ASC"


class Find(Arguments):
    """Documents that equal every filter, in the order of `sort`, fields named once, or of keys.

    `after` continues behind a key (not together with `sort` or `skip`); `batch_size` bounds a page.
    """

    filters: Filters = Field(default_factory=dict)
    skip: Limit = 0
    limit: Limit | None = None
    sort: list[SortField] = Field(default_factory=list, max_length=MAX_SORT_FIELDS)
    after: str | None = None
    batch_size: int = Field(default=DEFAULT_PAGE_DOCUMENTS, ge=1, le=MAX_PAGE_DOCUMENTS)
    model: ModelName | None = None

    @model_validator(mode="after")
    def _one_way_to_continue(self) -> Find:
        if self.after is not None and (self.sort or self.skip):
            raise ValueError("after goes neither with sort nor with skip")
        return self

    @model_validator(mode="after")
    def _each_field_once(self) -> Find:
        if len({by.sort_by for by in self.sort}) < len(self.sort):
            raise ValueError("sort names a field twice")
        return self


class Count(Arguments):
    """How many documents there are, or how many equal every filter."""

    filters: Filters = Field(default_factory=dict)


class Aql(Arguments):
    """A query in ArangoDB's query language with its bind values.

    `count` and `full_count` have all rows made before the first page. `profile` adds the plan to
    the answer; `explain` answers with the plan alone, and nothing is run. With `read_only` a query
    that would change documents is refused, whatever came into its text.
    """

    query: str = Field(min_length=1, max_length=MAX_QUERY_CHARS)
    bind_vars: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(default=DEFAULT_PAGE_DOCUMENTS, ge=1, le=MAX_PAGE_DOCUMENTS)
    count: bool = False
    full_count: bool = False
    profile: bool = False
    explain: bool = False
    fail_on_warning: bool = False
    read_only: bool = False


class Next(Arguments):
    """Page `page` (from 1) of a cursor; asking for the last page again gives the same page.

    `close` gives the cursor back instead.
    """

    cursor: str = Field(min_length=1, max_length=MAX_NAME_CHARS)
    page: int = Field(default=1, ge=1)
    close: bool = False


class Outcome(Arguments):
    """What became of my command: by its idempotency key, or by the id of any of its attempts."""

    idempotency_key: IdempotencyKey | None = None
    id: IdempotencyKey | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Outcome:
        if (self.idempotency_key is None) == (self.id is None):
            raise ValueError("name either idempotency_key or id")
        return self


class _InsertOptions(Arguments):
    return_new: bool = False
    return_old: bool = False
    silent: bool = False
    overwrite: bool = False
    overwrite_mode: Literal["ignore", "replace", "update", "conflict"] | None = None
    keep_none: bool = True
    merge: bool = True
    model: ModelName | None = None


class Insert(_InsertOptions):
    """One new document; its `_key` is made when it has none."""

    document: Document


class InsertMany(_InsertOptions):
    """Several new documents, with a result or an error for each."""

    documents: list[Document] = Field(max_length=MAX_BATCH_DOCUMENTS)


class _Tried(Arguments):
    """With `dry_run` nothing is touched, and the answer says what would be (`results.DryRun`)."""

    dry_run: bool = False


class _ReplaceOptions(_Tried):
    check_rev: bool = True
    return_new: bool = False
    return_old: bool = False
    silent: bool = False
    model: ModelName | None = None


class _UpdateOptions(_ReplaceOptions):
    keep_none: bool = True
    merge: bool = True


class Update(_UpdateOptions):
    """Change the given attributes of the document that `_key` or `_id` names."""

    document: Document


class UpdateMany(_UpdateOptions):
    """Change several documents, with a result or an error for each."""

    documents: list[Document] = Field(max_length=MAX_BATCH_DOCUMENTS)


class UpdateMatch(_Tried):
    """Change the given attributes of every document that equals the filters."""

    filters: Filters
    body: Document
    limit: Limit | None = None
    keep_none: bool = True
    merge: bool = True
    model: ModelName | None = None


class Replace(_ReplaceOptions):
    """Put this document in the place of the one that `_key` or `_id` names."""

    document: Document


class ReplaceMany(_ReplaceOptions):
    """Replace several documents, with a result or an error for each."""

    documents: list[Document] = Field(max_length=MAX_BATCH_DOCUMENTS)


class ReplaceMatch(_Tried):
    """Put `body` in the place of every document that equals the filters; keys stay."""

    filters: Filters
    body: Document
    limit: Limit | None = None
    model: ModelName | None = None


class Upsert(Arguments):
    """Insert `insert` unless a document equals `filters`; else change that one.

    Exactly one of `update` (merged into the document) and `replace` is given.
    """

    filters: Filters = Field(min_length=1)
    insert: Document
    update: Document | None = None
    replace: Document | None = None
    return_new: bool = False
    return_old: bool = False
    keep_none: bool = True
    merge: bool = True
    model: ModelName | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Upsert:
        if (self.update is None) == (self.replace is None):
            raise ValueError("name either update or replace")
        return self


class Delete(_Tried):
    """Remove the document that a key, an id, or a map with `_key` or `_id` names."""

    document: Reference
    rev: str | None = None
    check_rev: bool = True
    ignore_missing: bool = False
    return_old: bool = False
    silent: bool = False


class DeleteMany(_Tried):
    """Remove several documents, with a result or an error for each."""

    documents: list[Reference] = Field(max_length=MAX_BATCH_DOCUMENTS)
    check_rev: bool = True
    return_old: bool = False
    silent: bool = False


class DeleteMatch(_Tried):
    """Remove every document that equals the filters."""

    filters: Filters
    limit: Limit | None = None


class TransactionStep(_Part):
    """One write of a transaction."""

    operation: str
    collection: str
    arguments: dict[str, Any]


class Transaction(Arguments):
    """Several writes, all or none."""

    steps: Annotated[list[TransactionStep], FailFast()] = Field(
        min_length=1, max_length=MAX_TRANSACTION_STEPS
    )


class CreateCollection(Arguments):
    """A new collection, of documents or of edges."""

    edge: bool = False


class DropCollection(Arguments):
    """Remove a collection with everything in it."""

    ignore_missing: bool = False


class CreateIndex(Arguments):
    """A persistent index over `fields`; asking again for the same index is no error."""

    type: Literal["persistent"] = "persistent"
    fields: list[FieldPath] = Field(min_length=1, max_length=MAX_INDEX_FIELDS)
    name: str | None = Field(default=None, min_length=1, max_length=256)
    unique: bool = False
    sparse: bool = False


class DropIndex(Arguments):
    """Remove the index with this id (`collection/number`) or name."""

    index: str = Field(min_length=1, max_length=512)
    ignore_missing: bool = False


Collections = Annotated[list[str], FailFast(), Field(max_length=MAX_GRAPH_COLLECTIONS)]
"""Names of collections; the first that is none ends the reading."""


class EdgeDefinition(_Part):
    """Which vertex collections one edge collection connects."""

    edge_collection: str
    from_vertex_collections: Collections
    to_vertex_collections: Collections


class CreateGraph(Arguments):
    """A named graph over edge collections."""

    name: str
    edge_definitions: Annotated[list[EdgeDefinition], FailFast()] = Field(
        default_factory=list, max_length=MAX_EDGE_DEFINITIONS
    )
    orphan_collections: Collections = Field(default_factory=list)


class DropGraph(Arguments):
    """Remove a named graph, with its collections only when asked to."""

    name: str
    ignore_missing: bool = False
    drop_collections: bool = False


class ReportViolation(Arguments):
    """A security violation that a client saw before it sent anything."""

    violation: str = Field(min_length=1, max_length=4_096)
    collection: str | None = Field(default=None, max_length=MAX_NAME_CHARS)


class Redrive(Arguments):
    """Give a dead job another try."""

    sequence: int = Field(ge=1)


def is_dry_run(arguments: Arguments) -> bool:
    """Whether it is asked what a write would touch, and nothing is to be touched."""
    return isinstance(arguments, _Tried) and arguments.dry_run


def read_arguments(model: type[A], values: object) -> A:
    """Validate a command's body.

    Raises:
        InvalidArguments: `details["fields"]` says what is wrong with each field, for the first
            `MAX_NAMED_FIELDS` of them; no value is repeated.
    """
    if isinstance(values, dict) and len(values) > MAX_ARGUMENTS:
        raise InvalidArguments(f"arguments: more than {MAX_ARGUMENTS}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        named = complaints(error, model, most=MAX_NAMED_FIELDS)
        fields = {_path(each.place): each.message for each in named}
        listed = "; ".join(f"{path}: {message}" for path, message in sorted(fields.items()))
        rest = error.error_count() - len(named)
        more = f"; and {rest} more" if rest else ""
        raise InvalidArguments(listed + more, details={"fields": fields}) from None


def _path(location: tuple[int | str, ...]) -> str:
    shown = ".".join(str(step)[:MAX_NAME_CHARS] for step in location[:_MAX_SHOWN_STEPS])
    return shown or "arguments"
