"""A document as text in nats-server's own configuration syntax, for people to read and change.

Source: https://docs.nats.io/running-a-nats-service/configuration, "Configuration Syntax". Maps are
blocks in braces, lists stand in brackets with one entry a line. All text is quoted,
so that a name never becomes syntax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INDENT: Final = "  "


def conf_text(document: Mapping[str, Any]) -> str:
    """The text of a document of maps, lists, strings, whole numbers, true and false."""
    return "\n".join(_members(document, "")) + "\n"


def _members(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        name = key if _KEY.fullmatch(key) else _quoted(key)
        if isinstance(value, Mapping):
            yield f"{indent}{name} {{"
            yield from _members(value, indent + _INDENT)
            yield f"{indent}}}"
        elif isinstance(value, list | tuple):
            yield from _entries(name, value, indent)
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _entries(name: str, values: Sequence[Any], indent: str) -> Iterator[str]:
    if not values:
        yield f"{indent}{name}: []"
        return
    yield f"{indent}{name}: ["
    for value in values:
        if isinstance(value, Mapping):
            yield f"{indent}{_INDENT}{{"
            yield from _members(value, indent + 2 * _INDENT)
            yield f"{indent}{_INDENT}}}"
        else:
            yield f"{indent}{_INDENT}{_scalar(value)}"
    yield f"{indent}]"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
