"""Hidden fields are left out of values and of AQL texts; the policy's names come from others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

FieldPath = tuple[str, ...]
"""Attribute names of a document from the outside in."""

HIDDEN: Final = "<hidden>"
"""Stands where a value is not shown."""

_WORD: Final = re.compile(
    r"""(?P<name>`(?:[^`\\]|\\.)*`|\xb4(?:[^\xb4\\]|\\.)*\xb4)
    |//[^\n]*|/\*.*?(?:\*/|\Z)
    |"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|["'`\xb4].*\Z
    |(?<![\w@.])\d[\w.]*""",
    re.VERBOSE | re.DOTALL,
)
"""Names in ticks, which stay; comments, strings and numbers. A quote in one of them opens none."""

_COLLECTIONS: Final = "@"
"""Begins the names of bind parameters that name collections."""


def veiled(value: Any, paths: tuple[FieldPath, ...]) -> Any:
    """The value with these fields replaced, in every map in it, however deep."""
    if not paths:
        return value
    if isinstance(value, list | tuple):
        return [veiled(item, paths) for item in value]
    if not isinstance(value, Mapping):
        return value
    shown: Any = {name: veiled(item, paths) for name, item in value.items()}
    for path in paths:
        shown = _without(shown, path)
    return shown


def veiled_text(text: str) -> str:
    """A query's text without its literals and comments."""
    return _WORD.sub(lambda word: word["name"] or HIDDEN, text)


def veiled_query(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `aql` without the values in them; what names collections stays."""
    bound = arguments.get("bind_vars")
    values = bound if isinstance(bound, dict) else {}
    shown = {
        name: value if str(name).startswith(_COLLECTIONS) else HIDDEN
        for name, value in values.items()
    }
    text = veiled_text(str(arguments.get("query", "")))
    return {**arguments, "query": text, "bind_vars": shown}


def is_hidden(path: FieldPath, hidden: tuple[FieldPath, ...]) -> bool:
    """Whether a field lies in a hidden one, or is one."""
    return any(path[: len(each)] == each for each in hidden)


def _without(value: Any, path: FieldPath) -> Any:
    """Hide one path, also below arrays, and where a dotted name says it."""
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, Mapping):
        return value
    first, rest = path[0], path[1:]
    shown = {
        name: HIDDEN if "." in name and _overlap(tuple(name.split(".")), path) else item
        for name, item in value.items()
    }
    if first in shown:
        shown[first] = _without(shown[first], rest) if rest else HIDDEN
    return shown


def _overlap(one: FieldPath, other: FieldPath) -> bool:
    common = min(len(one), len(other))
    return one[:common] == other[:common]
