"""What goes in and comes out under `/api/v1`, with examples: what OpenAPI says of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Body, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from mallku_client.http.problems import PROBLEM, TYPE_PREFIX, codes_by_status
from mallku_contracts.arguments import (
    MAX_PAGE_DOCUMENTS,
    MAX_QUERY_CHARS,
    MAX_SKIP,
    MAX_TRANSACTION_STEPS,
)
from mallku_contracts.limits import (
    MAX_BATCH_DOCUMENTS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_KEY_BYTES,
    MAX_NAME_CHARS,
)

EXAMPLE: Final = {"kind": "khipu", "weight": 3}
_EXAMPLE_META: Final = {"_id": "memory_anchors/17", "_key": "17", "_rev": "_kRxQm3a---"}
_NAME: Final = rf"^[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}$"

Name = Annotated[str, Path(pattern=_NAME, description="A collection", examples=["memory_anchors"])]
Key = Annotated[
    str,
    Path(min_length=1, max_length=MAX_KEY_BYTES, description="A document's key", examples=["17"]),
]
IndexName = Annotated[
    str, Path(min_length=1, max_length=256, description="An index", examples=["idx_kind"])
]
JobKey = Annotated[
    str,
    Path(min_length=1, max_length=MAX_IDEMPOTENCY_KEY_CHARS, description="Its idempotency key"),
]
Document = Annotated[dict[str, Any], Body(examples=[EXAMPLE])]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="Only in this revision", examples=['"_kRx"'])
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Not what the caller has already", examples=["*"]),
]
Filter = Annotated[
    str | None,
    Query(description="Attributes and what they equal, as JSON", examples=['{"kind": "khipu"}']),
]
Sort = Annotated[
    str | None,
    Query(description="Attributes, with - before one that descends", examples=["-weight,kind"]),
]
Limit = Annotated[int | None, Query(ge=1, le=MAX_SKIP, description="Documents altogether")]
Skip = Annotated[int | None, Query(ge=0, le=MAX_SKIP, description="Documents to pass over")]
PageSize = Annotated[
    int | None, Query(ge=1, le=MAX_PAGE_DOCUMENTS, description="Documents in one page")
]
After = Annotated[str | None, Query(max_length=MAX_KEY_BYTES, description="Behind this key")]


class Shape(BaseModel):
    """Closed, so that a misspelled member is not taken for a default."""

    model_config = ConfigDict(extra="forbid")


class NewCollection(Shape):
    """A collection that is to be."""

    name: str = Field(pattern=_NAME, examples=["memory_anchors"])
    edge: bool = False


class Batch(Shape):
    """One operation on several documents; each has a result or an error of its own."""

    operation: Literal["get", "insert", "update", "replace", "delete"]
    documents: list[dict[str, Any] | str] = Field(
        max_length=MAX_BATCH_DOCUMENTS, examples=[[EXAMPLE, {"kind": "quipu"}]]
    )


class QueryText(Shape):
    """A query in ArangoDB's language; values go in as `bind_vars`."""

    query: str = Field(
        min_length=1,
        max_length=MAX_QUERY_CHARS,
        examples=["FOR a IN memory_anchors FILTER a.weight > @w RETURN a"],
    )
    bind_vars: dict[str, Any] = Field(default_factory=dict, examples=[{"w": 2}])
    batch_size: int | None = Field(default=None, ge=1, le=MAX_PAGE_DOCUMENTS)
    count: bool = False
    full_count: bool = False
    explain: bool = False


class Step(Shape):
    """One write of a transaction."""

    operation: str = Field(examples=["insert"])
    collection: str = Field(examples=["memory_anchors"])
    arguments: dict[str, Any] = Field(examples=[{"document": EXAMPLE}])


class Steps(Shape):
    """Several writes, all or none."""

    steps: list[Step] = Field(min_length=1, max_length=MAX_TRANSACTION_STEPS)


class AnyCommand(Shape):
    """An operation by its name, with the arguments of `docs/wire.md`."""

    operation: str = Field(examples=["count"])
    collection: str | None = Field(default=None, examples=["memory_anchors"])
    arguments: dict[str, Any] = Field(default_factory=dict, examples=[{"filters": EXAMPLE}])


class NewIndex(Shape):
    """A persistent index."""

    fields: list[str] = Field(min_length=1, examples=[["kind"]])
    unique: bool = False
    sparse: bool = False
    name: str | None = None


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=[TYPE_PREFIX + "document_not_found"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["document_not_found"])
    number: int = Field(examples=[410])
    retryable: bool
    retry_after: float | None = None
    details: dict[str, Any] | None = None
    correlation: str | None = None


def problems() -> dict[int | str, dict[str, Any]]:
    """What every path may answer instead, for OpenAPI."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": ", ".join(codes), "content": {PROBLEM: schema}}
        for status, codes in codes_by_status().items()
    }


def written(status: int, text: str) -> dict[int | str, dict[str, Any]]:
    """What a write answers, for OpenAPI."""
    headers = {
        "ETag": {"description": "The new revision", "schema": {"type": "string"}},
        "Location": {"description": "Where the document is", "schema": {"type": "string"}},
        "Mallku-Receipt": {
            "description": "Where the audit trail holds it",
            "schema": {"type": "string"},
        },
    }
    content = {"application/json": {"example": _EXAMPLE_META}}
    return {status: {"description": text, "headers": headers, "content": content}}
