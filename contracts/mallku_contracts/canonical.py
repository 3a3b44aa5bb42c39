"""One spelling for every JSON value, so that whoever holds the value can hash it (RFC 8785).

As the RFC has it, but for two things: keys are sorted by code point, which is another order only
beyond the Basic Multilingual Plane; and integers of any size are written out.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_ODD: Final = re.compile(r"[0-9]\.0(?![0-9])|[0-9]e")
"""Where Python may spell a number in another way than ECMAScript does; seldom there at all."""

_PIECES: Final = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?', re.DOTALL
)
_MOST_DIGITS: Final = 21
_LEAST_EXPONENT: Final = -6
"""ECMAScript writes numbers out within these powers of ten (ECMA-262, Number::toString)."""


def canonical(value: Any) -> bytes:
    """The one spelling of a value, UTF-8.

    Raises:
        ValueError: it holds what JSON cannot say: NaN, an infinity, a lone surrogate, bytes.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        )
        if _ODD.search(text):
            text = _PIECES.sub(_respelled, text)
        return text.encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"JSON cannot say this: {error}") from None


def _respelled(piece: re.Match[str]) -> str:
    text = piece.group()
    is_odd = text[0] != '"' and ("e" in text or text.endswith(".0"))
    return _number(text) if is_odd else text


def _number(text: str) -> str:
    """A float as ECMAScript spells it: the shortest digits that mean it, which Python found."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return "0" if text == "-0.0" else text.removesuffix(".0")
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return sign + _placed(digits, int(exponent) + 1)


def _placed(digits: str, power: int) -> str:
    if len(digits) <= power <= _MOST_DIGITS:
        return digits + "0" * (power - len(digits))
    if 0 < power <= _MOST_DIGITS:
        return f"{digits[:power]}.{digits[power:]}"
    if _LEAST_EXPONENT < power <= 0:
        return "0." + "0" * -power + digits
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e{power - 1:+d}"
