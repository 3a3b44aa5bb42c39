"""AQL's operators, and the meaning of values that they stand on.

A binary operator takes left, right and the call's surroundings; none raises anything but
`ResourceLimit`. What cannot be computed is null with a warning.

Source: ArangoDB manual, "AQL Operators"; recorded answers of a server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import MAX_ITEMS, Call
from mallku_workers.stores.embedded.aql.patterns import (
    InvalidPattern,
    compile_like,
    compile_regex,
)
from mallku_workers.stores.embedded.aql.values import (
    INT64,
    Number,
    compare,
    equal,
    finite,
    group_key,
    is_number,
    sort_key,
    to_array,
    to_bool,
    to_integer,
    to_number,
    to_string,
    type_name,
)

__all__ = [
    "BINARY", "OUT_OF_RANGE", "UNARY", "Operator", "access", "attribute", "compare", "contains",
    "equal", "finite", "flatten", "group_key", "is_number", "like", "list_range", "range_of",
    "regex", "sort_key", "to_array", "to_bool", "to_integer", "to_number", "to_string", "type_name",
]  # fmt: skip

Operator: TypeAlias = Callable[[Any, Any, Call], Any]

OUT_OF_RANGE: Final = w.NUMBER_OUT_OF_RANGE

MANY_ITEMS: Final = 1_024
"""From so many items on a search of a list begins with a look at the clock, count."""

MAX_RANGE_BOUND: Final = 2**53
"""A range's ends: beyond, doubles skip whole numbers."""


# Arithmetic


def _result(value: Number, call: Call) -> Number | None:
    if type(value) is int:
        return value if -INT64 <= value < INT64 else float(value)
    if math.isfinite(value):
        return value
    if call.constant:
        call.warn(w.NUMBER_OUT_OF_RANGE, "number out of range")
    return None


def _add(left: Any, right: Any, call: Call) -> Any:
    return _result(to_number(left) + to_number(right), call)


def _subtract(left: Any, right: Any, call: Call) -> Any:
    return _result(to_number(left) - to_number(right), call)


def _multiply(left: Any, right: Any, call: Call) -> Any:
    return _result(to_number(left) * to_number(right), call)


def _divide(left: Any, right: Any, call: Call) -> Any:
    dividend, divisor = to_number(left), to_number(right)
    if divisor == 0:
        return _by_zero(call)
    if type(dividend) is int and type(divisor) is int and dividend % divisor == 0:
        return _result(dividend // divisor, call)
    return _result(_quotient(dividend, divisor), call)


def _quotient(dividend: Number, divisor: Number) -> float:
    try:
        return dividend / divisor
    except OverflowError:
        return math.inf


def _modulo(left: Any, right: Any, call: Call) -> Any:
    """The remainder, with the sign of the dividend."""
    dividend, divisor = to_number(left), to_number(right)
    if divisor == 0:
        return _by_zero(call)
    if type(dividend) is int and type(divisor) is int:
        rest = abs(dividend) % abs(divisor)
        return -rest if dividend < 0 else rest
    return _result(math.fmod(dividend, divisor), call)


def _by_zero(call: Call) -> None:
    call.warn(w.DIVISION_BY_ZERO, "division by zero")


def _plus(value: Any) -> Number:
    return to_number(value)


def _minus(value: Any) -> Number:
    number = -to_number(value)
    return number if type(number) is float or -INT64 <= number < INT64 else float(number)


# Comparison


def contains(value: Any, items: Any, call: Call) -> bool:
    """Whether the list holds the value; nothing but a list holds anything."""
    if type(items) is not list:
        return False
    if len(items) >= MANY_ITEMS:
        call.check()
    kind = type(value)
    if kind is str:
        return value in items  # a string equals only itself
    if kind is not list and kind is not dict:
        return any(equal(value, item) for item in items)
    key = sort_key(value)
    for item in items:
        if type(item) is kind:
            call.check()
            if sort_key(item) == key:
                return True
    return False


def _same(left: Any, right: Any, call: Call) -> bool:
    if type(left) is list or type(left) is dict:
        call.check()
    return equal(left, right)


def _order(left: Any, right: Any, call: Call) -> int:
    if type(left) is list or type(left) is dict:
        call.check()
    return compare(left, right)


def like(text: Any, pattern: Any, call: Call, *, ignore_case: bool = False) -> bool:
    """Whether the whole text fits LIKE's pattern."""
    compiled = compile_like(call.text(pattern), ignore_case=ignore_case)
    return compiled.covers(call.text(text))


def regex(text: Any, pattern: Any, call: Call, *, ignore_case: bool = False) -> bool:
    """Whether the regular expression matches somewhere; an invalid one never, with a warning."""
    try:
        compiled = compile_regex(call.text(pattern), ignore_case=ignore_case)
    except InvalidPattern as error:
        call.warn(w.INVALID_REGEX, f"invalid regular expression: {error}")
        return False
    return compiled.found_in(call.text(text))


def _not_like(text: Any, pattern: Any, call: Call) -> bool:
    return not like(text, pattern, call)


def _no_regex(text: Any, pattern: Any, call: Call) -> bool:
    return not regex(text, pattern, call)


BINARY: Final[Mapping[str, Operator]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _modulo,
    "==": _same,
    "!=": lambda left, right, call: not _same(left, right, call),
    "<": lambda left, right, call: _order(left, right, call) < 0,
    "<=": lambda left, right, call: _order(left, right, call) <= 0,
    ">": lambda left, right, call: _order(left, right, call) > 0,
    ">=": lambda left, right, call: _order(left, right, call) >= 0,
    "IN": contains,
    "NOT IN": lambda left, right, call: not contains(left, right, call),
    "LIKE": like,
    "NOT LIKE": _not_like,
    "=~": regex,
    "!~": _no_regex,
}
"""Every operator with two operands, but AND and OR: these may leave one unevaluated."""

UNARY: Final[Mapping[str, Callable[[Any], Any]]] = {
    "!": lambda value: not to_bool(value),
    "-": _minus,
    "+": _plus,
}
"""Every operator with one operand."""


# Parts and ranges


def attribute(value: Any, name: str) -> Any:
    """The attribute of an object, null where there is none or `value` is something else."""
    return value.get(name) if type(value) is dict else None


def access(value: Any, index: Any) -> Any:
    """`value[index]`: an item of a list, counted from the end if negative, or an attribute.

    A number names an attribute by its whole part; null and whatever else name none.
    """
    if type(value) is dict:
        name = str(to_integer(index)) if is_number(index) else index
        return value.get(name) if type(name) is str else None
    if type(value) is not list or not (is_number(index) or type(index) is str):
        return None
    place = to_integer(index)
    if type(index) is str and index.strip() != str(place):
        return None
    place += len(value) if place < 0 else 0
    return value[place] if 0 <= place < len(value) else None


def range_of(low: Any, high: Any) -> range:
    """`low..high` to be counted through: whole numbers, both ends included, also downwards.

    Raises:
        ResourceLimit: An end is beyond what a double can count.
    """
    start, end = to_integer(low), to_integer(high)
    if max(abs(start), abs(end)) > MAX_RANGE_BOUND:
        raise ResourceLimit("the range is too large")
    return range(start, end + 1) if start <= end else range(start, end - 1, -1)


def list_range(low: Any, high: Any, call: Call) -> list[int]:
    """`low..high` as a list.

    Raises:
        ResourceLimit: The list is too long.
    """
    numbers = range_of(low, high)
    call.fit_items(len(numbers))
    return list(numbers)


def flatten(items: Sequence[Any], levels: int, limit: int = MAX_ITEMS) -> list[Any]:
    """The items, those of lists in place of the lists, that many levels deep.

    Raises:
        ResourceLimit: The list becomes too long.
    """
    flat = list(items)
    for _ in range(levels):
        if not any(type(item) is list for item in flat):
            break
        if sum(len(item) if type(item) is list else 1 for item in flat) > limit:
            raise ResourceLimit(f"a list of more than {limit} items")
        flat = list(chain.from_iterable(item if type(item) is list else (item,) for item in flat))
    return flat
