"""One spelling for every JSON value, so that whoever holds the value can hash it (RFC 8785).

As the RFC has it, but for two things: keys are sorted by code point, which is another order only
beyond the Basic Multilingual Plane; and integers of any size are written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from json.encoder import encode_basestring as _quoted
from math import isfinite
from typing import Any, Final

_MOST_DIGITS: Final = 21
_LEAST_EXPONENT: Final = -6
"""ECMAScript writes numbers out within these powers of ten (ECMA-262, Number::toString)."""

_LEAST_OF_ONE_DIGIT: Final = -9
"""Python writes exponents with two digits at least."""

_COUNTED: Final = frozenset({str, int, bool, type(None), float})
"""What is counted at once, without a look at each."""
_WORDS: Final = {None: "null", False: "false", True: "true"}
_spelled: Final = partial(
    json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)


def canonical(value: Any) -> bytes:
    """The one spelling of a value, UTF-8.

    Raises:
        ValueError: it holds what JSON cannot say: NaN, an infinity, a lone surrogate, bytes.
    """
    try:
        # Without floats Python's own spelling, which is fast, is the RFC's.
        return (_written(value) if count_floats(value) else _spelled(value)).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"JSON cannot say this: {error}") from None


def count_floats(value: Any) -> int:
    """How many numbers there are in a value that Python holds as floats."""
    if not isinstance(value, (dict, list, tuple)):
        return int(isinstance(value, float))
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value
    kinds = list(map(type, items))
    found = kinds.count(float)
    if not _COUNTED.issuperset(kinds):
        found += sum(count_floats(item) for item in items if type(item) not in _COUNTED)
    return found


def _written(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return _number(value)
    if type(value) is int:
        return repr(value)
    if isinstance(value, dict):
        entries = [f"{_quoted(key)}:{_written(value[key])}" for key in sorted(value)]
        return f"{{{','.join(entries)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_written, value))}]"
    return _WORDS[value] if value is None or isinstance(value, bool) else _spelled(value)


def _number(value: float) -> str:
    """A float as ECMAScript spells it: the shortest digits that mean it, which Python finds."""
    if not isfinite(value):
        raise ValueError(f"JSON cannot say this: {value!r}")
    text = float.__repr__(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return "0" if text == "-0.0" else text.removesuffix(".0")
    power = int(exponent)
    if not _LEAST_OF_ONE_DIGIT <= power < _MOST_DIGITS:
        return text
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return sign + _placed(digits, power + 1)


def _placed(digits: str, power: int) -> str:
    if len(digits) <= power <= _MOST_DIGITS:
        return digits + "0" * (power - len(digits))
    if 0 < power <= _MOST_DIGITS:
        return f"{digits[:power]}.{digits[power:]}"
    if _LEAST_EXPONENT < power <= 0:
        return "0." + "0" * -power + digits
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{power - 1:+d}"
