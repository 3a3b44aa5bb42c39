"""Bits of integers between 0 and 2^32 - 1.

Source: ArangoDB manual, "Bit functions in AQL".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_, or_, xor
from typing import Any, Final

from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function
from mallku_workers.stores.embedded.aql.values import is_number

MAX_BITS: Final = 32
_LIMIT: Final = 2**MAX_BITS


def _bits(value: Any) -> int | None:
    """The value if it is a whole number of at most 32 bits."""
    if is_number(value) and 0 <= value < _LIMIT and value == int(value):
        return int(value)
    return None


def _width(value: Any) -> int | None:
    count = _bits(value)
    return count if count is not None and count <= MAX_BITS else None


def _combine(name: str, operation: Callable[[int, int], int]) -> Function:
    def combine(call: Call, *values: Any) -> Any:
        if len(values) == 1:
            if type(values[0]) is not list:
                return call.wrong_type(name)
            values = tuple(value for value in values[0] if value is not None)
        found = [bits for value in values if (bits := _bits(value)) is not None]
        if len(found) < len(values):
            return call.wrong_type(name)
        return reduce(operation, found) if found else None

    return Function(name, 1, 2, combine)


def _with_width(name: str, operation: Callable[[int, int], Any]) -> Function:
    def apply(call: Call, value: Any, width: Any) -> Any:
        number, count = _bits(value), _width(width)
        if number is None or count is None:
            return call.wrong_type(name)
        return operation(number, count)

    return Function(name, 2, 2, apply)


def _negate(value: int, width: int) -> int:
    return ~value & ((1 << width) - 1)


def _test(value: int, place: int) -> bool:
    return bool(value >> place & 1)


def _to_text(value: int, width: int) -> str:
    return f"{value & (2**width - 1):0{width}b}" if width else ""


def _shift(name: str, operation: Callable[[int, int], int]) -> Function:
    def shift(call: Call, value: Any, by: Any, width: Any) -> Any:
        number, places, count = _bits(value), _width(by), _width(width)
        if number is None or places is None or count is None:
            return call.wrong_type(name)
        return operation(number, places) & (2**count - 1)

    return Function(name, 3, 3, shift)


def _popcount(call: Call, value: Any) -> Any:
    number = _bits(value)
    return call.wrong_type("BIT_POPCOUNT") if number is None else number.bit_count()


def _construct(call: Call, places: Any) -> Any:
    found = [_width(place) for place in places] if type(places) is list else [None]
    if any(place is None or place >= MAX_BITS for place in found):
        return call.wrong_type("BIT_CONSTRUCT")
    return reduce(or_, (1 << place for place in found if place is not None), 0)


def _deconstruct(call: Call, value: Any) -> Any:
    number = _bits(value)
    if number is None:
        return call.wrong_type("BIT_DECONSTRUCT")
    return [place for place in range(MAX_BITS) if number >> place & 1]


def _from_text(call: Call, text: Any) -> Any:
    if type(text) is not str or not 0 < len(text) <= MAX_BITS or set(text) - {"0", "1"}:
        return call.wrong_type("BIT_FROM_STRING")
    return int(text, 2)


def _right(value: int, places: int) -> int:
    return value >> places


def _left(value: int, places: int) -> int:
    return value << places


BITS: Final = (
    _combine("BIT_AND", and_),
    _combine("BIT_OR", or_),
    _combine("BIT_XOR", xor),
    _with_width("BIT_NEGATE", _negate),
    _with_width("BIT_TEST", _test),
    _with_width("BIT_TO_STRING", _to_text),
    _shift("BIT_SHIFT_LEFT", _left),
    _shift("BIT_SHIFT_RIGHT", _right),
    Function("BIT_POPCOUNT", 1, 1, _popcount),
    Function("BIT_CONSTRUCT", 1, 1, _construct),
    Function("BIT_DECONSTRUCT", 1, 1, _deconstruct),
    Function("BIT_FROM_STRING", 1, 1, _from_text),
)
