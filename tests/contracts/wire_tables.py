"""The tables of `docs/wire.md` that follow from the code.

::

    python -m tests.contracts.wire_tables

rewrites them. A table stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from mallku_contracts import limits
from mallku_contracts.audit import Record
from mallku_contracts.errors import BY_CODE, ClientError, MallkuError, UnverifiedReply
from mallku_contracts.operations import OPERATIONS, Operation

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "wire.md"
_PART: Final = re.compile(
    r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL
)
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
}


def errors_table() -> str:
    """Every error that crosses the wire."""
    head = ["| number | code | retryable | ArangoDB | what it says |", "|---|---|---|---|---|"]
    crossing = (
        kind
        for kind in BY_CODE.values()
        if not issubclass(kind, ClientError) and kind is not UnverifiedReply
    )
    return "\n".join([*head, *map(_error_row, crossing)])


def _error_row(kind: type[MallkuError]) -> str:
    retryable = "yes" if kind.retryable else ""
    says = " ".join((kind.__doc__ or "").split())
    return f"| {kind.number} | `{kind.code}` | {retryable} | {kind.error_code or ''} | {says} |"


def operations_table() -> str:
    """Every operation with its class and scope."""
    head = ["| operation | class | about | what it does |", "|---|---|---|---|"]
    rows = (f"| `{o.name}` | {o.access} | {o.scope} | {o.summary} |" for o in OPERATIONS.values())
    return "\n".join([*head, *rows])


def arguments_list() -> str:
    """Arguments and result of every operation."""
    return "\n\n".join("\n".join(_operation(o)) for o in OPERATIONS.values())


def _operation(operation: Operation) -> Iterator[str]:
    yield f"#### `{operation.name}`"
    yield ""
    yield " ".join((operation.arguments.__doc__ or "").split("\n\n")[0].split())
    yield ""
    schema = operation.arguments.model_json_schema()
    required, defs = schema.get("required", []), schema.get("$defs", {})
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else f"default {_default(field)}"
        yield f"* `{name}`: {_shape(field, defs)}; {default}"
    result = TypeAdapter(operation.result).json_schema()
    yield f"* result: {_shape(result, result.get('$defs', {}))}"


def _default(field: dict[str, Any]) -> str:
    empty = "[]" if field.get("type") == "array" else "{}"
    value = field.get("default", empty)
    shown = {None: "null", True: "true", False: "false"}
    return f"`{shown[value] if value is None or isinstance(value, bool) else value}`"


def _shape(field: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in field:
        return _shape(defs[field["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in field:
        return " or ".join(_shape(kind, defs) for kind in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    bounds = [text.format(field[key]) for key, text in _BOUNDS.items() if key in field]
    return ", ".join([_kind(field, defs), *bounds])


def _kind(field: dict[str, Any], defs: dict[str, Any]) -> str:
    kind = str(field.get("type", "any value"))
    if kind == "array":
        return f"array of ({_shape(field['items'], defs)})" if field.get("items") else "array"
    if kind == "object" and "properties" in field:
        required = field.get("required", [])
        inner = (
            f"`{name}`{'' if name in required else '?'}: {_shape(entry, defs)}"
            for name, entry in field["properties"].items()
        )
        return f"map {{{', '.join(inner)}}}"
    return {"object": "map", "binary": "bytes"}.get(kind, kind)


def record_table() -> str:
    """Every field of an audit record."""
    text = inspect.cleandoc(Record.__doc__ or "").partition("Attributes:\n")[2]
    rows = re.findall(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", text, re.MULTILINE)
    assert [name for name, _ in rows] == list(Record.__slots__)
    lines = [f"| `{name}` | {' '.join(said.split())} |" for name, said in rows]
    return "\n".join(["| field | meaning |", "|---|---|", *lines])


def limits_table() -> str:
    """Every limit that the wire itself fixes."""
    source = Path(limits.__file__).read_text("utf-8")
    rows = re.findall(r'^([A-Z_]+): Final = .+\n"""(.+)"""$', source, re.MULTILINE)
    named = [name for name in vars(limits) if name.isupper() and name not in {"KIB", "MIB"}]
    assert [name for name, _ in rows] == named
    head = ["| limit | value | of what |", "|---|---|---|"]
    return "\n".join([*head, *(f"| `{n}` | {getattr(limits, n)} | {t} |" for n, t in rows)])


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "wire-errors": errors_table,
    "wire-operations": operations_table,
    "wire-arguments": arguments_list,
    "wire-record": record_table,
    "wire-limits": limits_table,
}


def render(text: str) -> str:
    """The document with its tables as the code has them now."""

    def part(match: re.Match[str]) -> str:
        return f"{match['open']}{TABLES[match['name']]()}\n{match['close']}"

    return _PART.sub(part, text)


def main() -> None:
    """Rewrite the document."""
    DOCUMENT.write_text(render(DOCUMENT.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
