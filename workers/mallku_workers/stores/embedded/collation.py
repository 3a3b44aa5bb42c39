"""The order of strings: ICU's collation in the POSIX locale, as near as the standard library comes.

Plain ASCII compares by code point (`A < B < a`). Everything else is compared in three steps, the
next one where the former finds no difference: base letters, accents, case (capitals first); after
that, code points decide, so that no two strings are equal. A letter with accents stands behind its
base letter (`E < É < e < é`), punctuation and symbols beyond ASCII before ASCII, other letters
behind it, by script and code point; Chinese characters last.

`collation_key` is the one place to change for another collation: indexes, `find` and AQL all sort
by it (a change needs a new `FORMAT` of the file).

Source: Unicode Technical Standard 10; CLDR's `en_US_POSIX` rules; recorded answers of a server.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

_END: Final = b"\x00"
_BEHIND: Final = b"\x01"  # more levels follow: behind the same letters without them
_CONTROLS: Final = {0: "\x02\x02", 1: "\x02\x03", 2: "\x02\x04"}
_LOWEST: Final = "\x02"

_SYMBOL, _LATIN_A, _LATIN, _OTHER, _HAN = b"\x1d", b"\x1e", b"\x80", b"\x81", b"\x82"
_CLASSES: Final = {"Z": 0x81, "P": 0x82, "S": 0x83, "N": 0x85}
_CURRENCY: Final = 0x84
_BASES: Final = {
    "æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ĸ": "q", "ł": "l", "ŋ": "n", "ø": "o",
    "œ": "oe", "ß": "ss", "ŧ": "t",
}  # fmt: skip
_MARKS: Final = (
    "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0338\u0328\u0327\u0304"
)
"""Accents in the order of the Unicode collation table; others follow by code point."""

_PLAIN, _UPPER, _LOWER = b"\x05", b"\x06", b"\x07"
_REMEMBERED: Final = 2_048


def collation_key(text: str) -> bytes:
    """Bytes that compare as the strings do; no key is a prefix of another.

    Two strings have the same key only when they are the same.
    """
    if text.isascii():
        if text and min(text) <= _LOWEST:
            text = text.translate(_CONTROLS)
        return text.encode("ascii") + _END
    return _levels(text)


def compare_text(one: str, other: str) -> int:
    """-1, 0 or 1, as the keys of the two strings compare."""
    if one == other:
        return 0
    if one.isascii() and other.isascii():
        return -1 if one < other else 1
    return -1 if collation_key(one) < collation_key(other) else 1


def _levels(text: str) -> bytes:
    letters, accents, cases = bytearray(), bytearray(), bytearray()
    for char in unicodedata.normalize("NFD", text):
        if unicodedata.combining(char):
            accents += _accent(char)
            continue
        letter, foreign, case = _weights(char)
        letters += letter
        accents += foreign
        cases += case
    rest = text.translate(_CONTROLS).encode("utf-8", "surrogatepass")
    return b"".join((letters, _BEHIND, accents, _BEHIND, cases, _BEHIND, rest, _END))


@lru_cache(_REMEMBERED)
def _weights(char: str) -> tuple[bytes, bytes, bytes]:
    """What a character that is no accent adds to the three levels."""
    if char.isascii():
        return char.translate(_CONTROLS).encode("ascii"), _PLAIN, _UPPER
    folded = unicodedata.normalize("NFKD", char.casefold() if char.isalpha() else char)
    base = _BASES.get(char.lower(), folded)
    letter = b"".join(map(_primary, base))
    # A letter that only looks like another stands behind it, as if it had an accent.
    accent = _PLAIN + (_accent("\u0338") if base.isascii() and base else b"")
    return letter, accent, _LOWER if char == char.lower() else _UPPER


def _primary(char: str) -> bytes:
    point = ord(char)
    if char in "aA":
        return _LATIN_A
    if char.isascii() and char.isalpha():
        return _LATIN + char.lower().encode("ascii")
    category = unicodedata.category(char)
    if category[0] in _CLASSES:
        place = _CURRENCY if category == "Sc" else _CLASSES[category[0]]
        return _SYMBOL + bytes([place]) + point.to_bytes(3)
    han = unicodedata.name(char, "").startswith("CJK ")
    return (_HAN if han else _OTHER) + point.to_bytes(3)


def _accent(char: str) -> bytes:
    place = _MARKS.find(char)
    return b"\x10" + (place if place >= 0 else len(_MARKS) + ord(char)).to_bytes(3)
