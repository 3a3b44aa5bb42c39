"""What AQL's values mean: their order, their truth, and what they are as another type.

Values are None, bool, int, float, str, list and dict; numbers are finite. Order and equality are
those of the store's indexes (`embedded.values`), so that an index, `find` and AQL never disagree.

Source: ArangoDB manual, "Type and value order" and "Type cast functions"; recorded answers of a
server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

from mallku_contracts.errors import ResourceLimit
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.collation import compare_text
from mallku_workers.stores.embedded.values import exact_key, order_key

Number: TypeAlias = int | float

MAX_JSON_CHARS: Final = 4 * MIB
"""A value as text, characters."""

INT64: Final = 2**63
_MOST: Final = 2 * INT64 - 1
_EXACT: Final = 2**53

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PREFIXED: Final = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")

_TYPES: Final = {
    type(None): "null",
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def type_name(value: Any) -> str:
    """The type as TYPENAME says it: null, bool, number, string, array, object."""
    return _TYPES[type(value)]


def is_number(value: Any) -> bool:
    """Whether the value is a number; a boolean is none."""
    kind = type(value)
    return kind is int or kind is float


# Order and equality


sort_key: Final[Callable[[Any], bytes]] = order_key
"""A key for Python's sort that puts values into AQL's order; the same bytes as in an index."""


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1: null < false < true < numbers < strings < arrays < objects."""
    if type(left) is str and type(right) is str:
        return compare_text(left, right)
    if is_number(left) and is_number(right):
        return int(left > right) - int(left < right)
    one, other = order_key(left), order_key(right)
    return (one > other) - (one < other)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are the same; 1 is 1.0, and what is missing is null."""
    kind = type(left)
    if kind is str:
        return type(right) is str and left == right
    if kind is int or kind is float:
        return is_number(right) and left == right
    if left is None or right is None or kind is bool:
        return left is right
    return kind is type(right) and order_key(left) == order_key(right)


def group_key(value: Any) -> Hashable:
    """A hashable key, the same for values that are one in DISTINCT, COLLECT and sets.

    Those are equal and as long: `[1] == [1, null]`, yet they are two. ArangoDB tells them apart by
    a hash over their lengths (velocypack, `Slice::normalizedHash`).
    """
    kind = type(value)
    if kind is str or kind is int or kind is float or value is None:
        return value  # type: ignore[no-any-return]  # these hash and compare as AQL does
    return exact_key(value)


# As another type


def to_bool(value: Any) -> bool:
    """Whether a value counts as true: all but null, false, 0 and the empty string."""
    if type(value) is list or type(value) is dict:
        return True
    return bool(value)


def to_number(value: Any) -> Number:
    """The value as a number: 0 for what has none, the number of `x` for `[x]`."""
    while type(value) is list:
        if len(value) != 1:
            return 0
        value = value[0]
    kind = type(value)
    if kind is int or kind is float:
        number: Number = value
        return number
    if kind is bool:
        return int(value)
    return text_to_number(value) if kind is str else 0


def text_to_number(text: str) -> Number:
    """The number that a text spells as a whole, white space around it aside; else 0."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return finite(float(text)) or 0
    if _PREFIXED.fullmatch(text) and len(text) <= _LONGEST_PREFIXED:
        return int(text, 0)
    return 0


_LONGEST_PREFIXED: Final = 17  # hexadecimal digits of 60 bits and the prefix


def finite(value: Number) -> Number | None:
    """A number that can be stored: integers beyond 64 bits as doubles, None where there is none."""
    if type(value) is int:
        if -INT64 <= value <= _MOST:
            return value
        try:
            return float(value)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def to_integer(value: Any) -> int:
    """The value as a number without its fraction."""
    return int(to_number(value))


def to_array(value: Any) -> list[Any]:
    """The value as a list: nothing for null, an object's values, else the value alone."""
    if value is None:
        return []
    if type(value) is list:
        return value
    return list(value.values()) if type(value) is dict else [value]


def to_string(value: Any, *, javascript: bool = False) -> str:
    """The value as text: nothing for null, JSON for arrays and objects.

    Args:
        javascript: Doubles as ArangoDB 3.2 prints those of constant expressions.
    """
    if type(value) is str:
        return value
    return "" if value is None else to_json(value, javascript=javascript)


def to_json(value: Any, *, javascript: bool = False) -> str:
    """The value as JSON, without spaces, attributes in their own order.

    Raises:
        ResourceLimit: The text would be too long, or the value is nested too deeply.
    """
    out: list[str] = []
    left = MAX_JSON_CHARS

    def put(part: str) -> None:
        nonlocal left
        left -= len(part)
        if left < 0:
            raise ResourceLimit(f"a value whose JSON has more than {MAX_JSON_CHARS} characters")
        out.append(part)

    try:
        _write(value, put, javascript_text if javascript else number_text)
    except RecursionError:
        raise ResourceLimit("a value is nested too deeply to be written") from None
    return "".join(out)


def _write(value: Any, put: Callable[[str], None], number: Callable[[Number], str]) -> None:
    kind = type(value)
    if kind is str:
        put(encode_basestring(value))
    elif kind is list:
        before = "["
        for item in value:
            put(before)
            _write(item, put, number)
            before = ","
        put("]" if value else "[]")
    elif kind is dict:
        before = "{"
        for name, item in value.items():
            put(f"{before}{encode_basestring(name)}:")
            _write(item, put, number)
            before = ","
        put("}" if value else "{}")
    elif value is None:
        put("null")
    elif kind is bool:
        put("true" if value else "false")
    else:
        put(number(value))


# Numbers as text


def number_text(value: Number) -> str:
    """A stored number as ArangoDB prints it: like JavaScript, but `1e10` is `1e+10`.

    The shortest digits that give the double back; without an exponent where few zeros are needed,
    by the rules of the library fpconv that ArangoDB prints with.
    """
    if type(value) is int:
        return str(value)
    sign, digits, exponent = _digits(value)
    power = exponent + len(digits) - 1
    if exponent >= 0 and power < len(digits) + 7:
        return f"{sign}{digits}{'0' * exponent}"
    if exponent < 0 and (exponent > -7 or abs(power) < 4):  # noqa: PLR2004 - fpconv's own limits
        return sign + _with_point(digits, exponent)
    return sign + _scientific(digits, power)


def javascript_text(value: Number) -> str:
    """A number as JavaScript prints it (ECMA-262, Number::toString)."""
    if type(value) is int and abs(value) <= _EXACT:
        return str(value)
    sign, digits, exponent = _digits(float(value))
    power = exponent + len(digits) - 1
    if power >= 21 or power < -6:  # noqa: PLR2004 - the limits of the standard
        return sign + _scientific(digits, power)
    if exponent >= 0:
        return f"{sign}{digits}{'0' * exponent}"
    return sign + _with_point(digits, exponent)


def _digits(value: float) -> tuple[str, str, int]:
    """Sign, shortest digits, and the power of ten that they are multiplied with."""
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = int(power or 0) - len(fraction)
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "", "0", 0
    return sign, short, exponent + len(digits) - len(short)


def _with_point(digits: str, exponent: int) -> str:
    point = len(digits) + exponent
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    return f"{digits[:point]}.{digits[point:]}"


def _scientific(digits: str, power: int) -> str:
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power)}"
