"""JSON Schemas of what every operation takes and answers, out of the models that validate it.

A schema says what can be said without looking at two fields at once; what a model checks beyond
that stands in its description. MessagePack's byte strings are strings of `format: binary` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from mallku_contracts.audit import Record
from mallku_contracts.envelope import CommandHeader, ReplyHeader
from mallku_contracts.errors import BY_CODE, MAX_MESSAGE_CHARS
from mallku_contracts.operations import OPERATIONS, Operation
from mallku_contracts.results import Receipt
from mallku_contracts.trail.checkpoint import CheckpointHeader
from mallku_contracts.trail.statement import Statement

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS: Final = "#/$defs/{model}"
COMPONENTS: Final = "#/components/schemas/{model}"
"""Where schemas stand in a document of their own, and in an AsyncAPI document."""

_PARTS: Final[tuple[type, ...]] = (
    CommandHeader,
    ReplyHeader,
    Record,
    CheckpointHeader,
    Statement,
    Receipt,
)
"""What stands around arguments and results on the wire."""

_Mode = Literal["validation", "serialization"]


@dataclass(frozen=True, slots=True)
class Schemas:
    """Schemas by name, and what each operation takes and answers in their words.

    Attributes:
        definitions: The named schemas, references between them resolved by `template`.
    """

    template: str
    definitions: dict[str, Any]
    arguments: dict[str, Any]
    results: dict[str, Any]

    def reference(self, name: str) -> dict[str, Any]:
        """A reference to a named schema."""
        return {"$ref": self.template.format(model=name)}


@cache
def make_schemas(template: str) -> Schemas:
    """Every schema of the contract; `template` says where named ones are looked for."""
    inputs: list[tuple[Any, _Mode, TypeAdapter[Any]]] = []
    for name, operation in OPERATIONS.items():
        inputs.append((("arguments", name), "validation", TypeAdapter(operation.arguments)))
        inputs.append((("result", name), "serialization", TypeAdapter(operation.result)))
    inputs.extend(((part.__name__, ""), "validation", TypeAdapter[Any](part)) for part in _PARTS)
    found, shared = TypeAdapter.json_schemas(inputs, ref_template=template)
    by_use = {key: schema for (key, _mode), schema in found.items()}
    return Schemas(
        template,
        {"Error": error_schema(), **{name: _plain(each) for name, each in shared["$defs"].items()}},
        {name: _plain(by_use["arguments", name]) for name in OPERATIONS},
        {name: _plain(by_use["result", name]) for name in OPERATIONS},
    )


def error_schema() -> dict[str, Any]:
    """What stands under `error` in a reply, with a list of the codes there are."""
    codes = [
        {
            "code": code,
            "number": kind.number,
            "retryable": kind.retryable,
            "arangodb": kind.error_code,
            "http": kind.http_code,
            "meaning": (kind.__doc__ or "").strip().partition("\n")[0],
        }
        for code, kind in sorted(BY_CODE.items(), key=lambda entry: entry[1].number)
    ]
    return {
        "title": "Error",
        "description": "Why a command was refused or failed. More codes may come.",
        "type": "object",
        "required": ["code", "number", "message", "retryable"],
        "properties": {
            "code": {"type": "string"},
            "number": {"type": "integer"},
            "message": {"type": "string", "maxLength": MAX_MESSAGE_CHARS},
            "retryable": {"type": "boolean"},
            "retry_after": {"type": "number", "minimum": 0, "description": "Seconds."},
            "details": {"type": "object"},
            "correlation": {"type": "string", "description": "Under which the worker logged it."},
        },
        "x-codes": codes,
    }


def reply_schema(schemas: Schemas, operation: str) -> dict[str, Any]:
    """The body of a reply: a result, with a receipt where something was changed, or an error."""
    return {
        "oneOf": [
            {
                "type": "object",
                "required": ["result"],
                "properties": {
                    "result": schemas.results[operation],
                    "receipt": schemas.reference("Receipt"),
                    "replayed": {"type": "boolean"},
                },
            },
            {
                "type": "object",
                "required": ["error"],
                "properties": {"error": schemas.reference("Error")},
            },
        ]
    }


def schemas_document() -> dict[str, Any]:
    """All of it as one JSON document; each operation's parts can be used by reference."""
    schemas = make_schemas(DEFINITIONS)
    return {
        "$schema": DIALECT,
        "title": "Mallku gateway: arguments, results and messages",
        "operations": {name: _entry(schemas, each) for name, each in OPERATIONS.items()},
        "$defs": schemas.definitions,
    }


def _entry(schemas: Schemas, operation: Operation) -> dict[str, Any]:
    return {
        "summary": operation.summary,
        "access": operation.access.value,
        "scope": operation.scope.value,
        "mutates": operation.mutates,
        "arguments": schemas.arguments[operation.name],
        "result": schemas.results[operation.name],
    }


def _plain(schema: Any) -> Any:
    """Without the titles that pydantic makes of field names: they say nothing new."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {name: _plain(each) for name, each in schema.items()}
    for field in shown.get("properties", {}).values():
        if isinstance(field, dict) and isinstance(field.get("title"), str):
            del field["title"]
    return shown
