"""What Mallku puts into documents, as the plain values that are stored, and back again.

::

    datetime, date, time   ISO 8601; a naive time stays without offset
    UUID, Decimal, Path    text, exactly
    Enum                   its value
    set, frozenset         a list, in an order of its own, so that the same set is the same bytes
    tuple                  a list
    pydantic models        a map of their fields
    results of calls       what they are, waited for where need be

Anything else is refused with the path of the field, before anything is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from mallku_client.mallku.calls import AwaitableBool, Pending
from mallku_contracts.codec import join_path
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.limits import MAX_DEPTH

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_AS_THEY_ARE: Final = (str, bool, type(None))


class _UnfitError(ValueError):
    """Collects the steps to the refused part on its way up, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[str | int] = []


def plain(value: Any, what: str = "value") -> Any:
    """A fresh value of plain parts alone, nothing of which belongs to the caller any more.

    Args:
        what: How the whole is called in the path of a refusal.

    Raises:
        InvalidArguments: `details["fields"]` has the path of what cannot be stored, and why: a type
            that has no plain form, `inf`, `nan`, a cycle, a number that does not fit 64 bits.
    """
    try:
        return _plain(value, MAX_DEPTH)
    except _UnfitError as error:
        path = join_path((what, *reversed(error.steps)))
        raise InvalidArguments(f"{path}: {error}", details={"fields": {path: str(error)}}) from None


def restore(kind: Any, value: Any) -> Any:
    """A stored value as the type that it had: `restore(datetime, "2025-08-16T00:00:00")`.

    Args:
        kind: What pydantic understands: a class, `set[UUID]`, a model.

    Raises:
        InvalidArguments: the value is not of that type's form.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = join_path(("value", *first["loc"]))
        raise InvalidArguments(f"{path}: {first['msg']}") from None


def _plain(value: Any, levels: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is int or kind is float:
        return _number(value)
    if kind is dict:
        return _map(value, levels)
    if kind is list or kind is tuple:
        return _list(value, levels)
    for types, make in _FORMS:
        if isinstance(value, types):
            return make(value, levels)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        _refuse_depth(levels)
        dumped = dump()
        return _plain(dumped, levels if isinstance(dumped, dict | list) else levels - 1)
    raise _UnfitError(f"{kind.__name__} has no plain form")


def _number(value: int | float) -> int | float:  # noqa: PYI041 - both are meant
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _UnfitError(f"{value!r} cannot be stored")
        return float(value)
    if not _INT_MIN <= value <= _INT_MAX:
        raise _UnfitError("the integer does not fit 64 bits")
    return int(value)


def _map(value: Mapping[Any, Any], levels: int) -> dict[str, Any]:
    _refuse_depth(levels)
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _name(key)
        if name in made:
            raise _UnfitError(f"the key {name!r:.40} is there twice")
        try:
            made[name] = _plain(item, levels - 1)
        except _UnfitError as error:
            error.steps.append(name)
            raise
    return made


def _list(value: Any, levels: int) -> list[Any]:
    _refuse_depth(levels)
    made: list[Any] = []
    for place, item in enumerate(value):
        try:
            made.append(_plain(item, levels - 1))
        except _UnfitError as error:
            error.steps.append(place)
            raise
    return made


def _refuse_depth(levels: int) -> None:
    if levels <= 0:
        raise _UnfitError(f"a cycle, or nested deeper than {MAX_DEPTH} levels")


def _name(key: Any) -> str:
    """What a key that is no string is called in JSON."""
    if isinstance(key, Enum):
        return _name(key.value)
    if isinstance(key, str | UUID | PurePath):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(int(key))
    if isinstance(key, date):
        return key.isoformat()
    raise _UnfitError(f"the key {key!r:.40} is a {type(key).__name__}, not a string")


def _set(value: Any, levels: int) -> list[Any]:
    return sorted(_list(value, levels), key=lambda item: (type(item).__name__, repr(item)))


def _decimal(value: Decimal, _levels: int) -> str:
    if not value.is_finite():
        raise _UnfitError(f"{value!r} cannot be stored")
    return str(value)


_Form = Callable[[Any, int], Any]
_FORMS: Final[tuple[tuple[tuple[type, ...], _Form], ...]] = (
    ((Pending,), lambda value, levels: _plain(value.result(), levels)),
    ((AwaitableBool,), lambda value, _: bool(value)),
    ((Enum,), lambda value, levels: _plain(value.value, levels)),
    ((date, time, datetime), lambda value, _: value.isoformat()),
    ((UUID, PurePath), lambda value, _: str(value)),
    ((str,), lambda value, _: str.__str__(value)),
    ((int, float), lambda value, _: _number(value)),
    ((Decimal,), _decimal),
    ((Mapping,), _map),
    ((set, frozenset), _set),
    ((list, tuple), _list),
)
"""Other types by what they are in JSON; the first that fits counts."""
