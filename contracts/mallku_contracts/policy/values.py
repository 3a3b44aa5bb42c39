"""ArangoDB's equality and order of values, and the caller's values that a policy may name.

null < false < true < numbers < strings < arrays < objects; a missing attribute is null; arrays and
objects compare as if padded with null (ArangoDB manual, "Type and value order").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import Any, Final

FieldPath = tuple[str, ...]
"""Attribute names of a document from the outside in."""

MAX_WHOLE_NUMBER: Final = 2**53 - 1
"""The largest number a policy may compare with, so that no store's rounding changes the answer."""

_NULL, _BOOL, _NUMBER, _STRING, _ARRAY, _OBJECT = range(6)


class Variable(Enum):
    """A value that only the command brings: `$now` is Unix milliseconds."""

    PRINCIPAL = "$principal"
    NOW = "$now"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent the command, and the time of its authorization, Unix milliseconds."""

    principal: str
    now_ms: int


def rank(value: object) -> int:
    """The place of a value's type in the order of types; false and true share one."""
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _BOOL
    if isinstance(value, int | float):
        return _NUMBER
    if isinstance(value, str):
        return _STRING
    return _OBJECT if isinstance(value, Mapping) else _ARRAY


def is_scalar(value: object) -> bool:
    """Whether a value is plain, and neither an array nor an object."""
    return value is None or isinstance(value, str | int | float)


def same(one: Any, other: Any) -> bool:
    """Whether AQL's `==` holds."""
    kind = rank(one)
    if kind != rank(other):
        return False
    if kind == _ARRAY:
        return all(same(left, right) for left, right in zip_longest(one, other))
    if kind == _OBJECT:
        return all(same(one.get(name), other.get(name)) for name in one.keys() | other.keys())
    return bool(one == other)


def less(one: Any, other: Any) -> bool:
    """Whether AQL's `<` holds, where at most one of the two is a string, array or object."""
    left, right = rank(one), rank(other)
    if left != right or left == _NULL:
        return left < right
    return bool(one < other)


def lookup(document: Any, path: FieldPath) -> Any:
    """The value at `path`, None where anything on the way is missing or no object."""
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def varies(value: object) -> frozenset[Variable]:
    """The variables inside a value."""
    if isinstance(value, Variable):
        return frozenset({value})
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return frozenset[Variable]().union(*map(varies, value))
    return frozenset()


def resolve(value: Any, caller: Caller) -> Any:
    """The value with the caller's own in the place of variables."""
    if value is Variable.PRINCIPAL:
        return caller.principal
    if value is Variable.NOW:
        return caller.now_ms
    if isinstance(value, Mapping):
        return {name: resolve(item, caller) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, caller) for item in value]
    return value
