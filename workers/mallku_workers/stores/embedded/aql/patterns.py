"""LIKE and regular expressions in time that grows with the text alone, whatever the pattern.

Patterns come from callers. Python's `re` can take exponential time for one; RE2 cannot, but has
neither look-around nor back-references: those are invalid patterns here. Where RE2 gives up its
automaton for lack of memory, its time is the pattern's size times the text's, and that product is
bounded.

Source: RE2's wiki, "Syntax"; ECMA-262, "Pattern semantics".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from mallku_contracts.errors import ResourceLimit
from mallku_contracts.limits import KIB, MIB

MAX_PATTERN_BYTES: Final = 16 * KIB
"""A pattern, bytes of UTF-8."""

MAX_WORK: Final = 200_000_000
"""Instructions of a pattern times bytes of a text: about a second at the very worst."""

_MEMORY: Final = MIB
_REMEMBERED: Final = 32

_ESCAPES: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(_)|.)", re.DOTALL)
_REFERENCES: Final = re.compile(r"\\(.)|\$(\$|&|[0-9]{1,2})", re.DOTALL)


class InvalidPattern(ValueError):
    """The pattern is none, or asks for what RE2 cannot do."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern matched, in bytes, and its groups; a group without a part is None."""

    start: int
    end: int
    groups: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern ready for use; texts are bytes of UTF-8."""

    compiled: Any

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in the text."""
        return self.compiled.search(self._fit(to_bytes(text))) is not None

    def covers(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        return self.compiled.fullmatch(self._fit(to_bytes(text))) is not None

    def matches(self, text: bytes) -> Iterator[Match]:
        """Every match from left to right, none overlapping another; an empty one may come last."""
        text = self._fit(text)
        place = 0
        while True:
            found = self.compiled.search(text, place)
            if found is None:
                return
            start, end = found.span()
            yield Match(start, end, found.groups())
            if start == end >= len(text):
                return
            place = end if end > start else _next_character(text, end)

    def _fit(self, text: bytes) -> bytes:
        if self.compiled.programsize * len(text) > MAX_WORK:
            raise ResourceLimit("the pattern is too large for so long a text")
        return text


def to_bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which has no bytes there, as a question mark."""
    return text.encode("utf-8", "replace")


def from_bytes(text: bytes) -> str:
    r"""The text of some UTF-8; a byte that is none, which `\C` can cut off, as a question mark."""
    return text.decode("utf-8", "replace")


def compile_regex(pattern: str, *, ignore_case: bool = False) -> Pattern:
    """A regular expression as ArangoDB takes it.

    Raises:
        InvalidPattern
        ResourceLimit: The pattern is too long.
    """
    return _compile(_ESCAPES.sub(_translated, pattern), ignore_case=ignore_case)


def _translated(escape: re.Match[str]) -> str:
    return f"\\x{{{escape[1]}}}" if escape[1] else escape[2] or escape[0]


def compile_like(pattern: str, *, ignore_case: bool = False) -> Pattern:
    r"""LIKE's pattern: `%` is any text, `_` any character, `\` takes their meaning away.

    Raises:
        ResourceLimit: The pattern is too long.
    """
    return _compile(_like(_plain(pattern)), ignore_case=ignore_case, dot_newline=True)


@lru_cache(_REMEMBERED)
def _like(pattern: str) -> str:
    parts: list[str] = []
    escaped = False
    for char in pattern:
        if char == "\\" and not escaped:
            escaped = True
            continue
        if char in "%_" and not escaped:
            # Twice the same star would only cost time.
            if char == "_" or parts[-1:] != [".*"]:
                parts.append("." if char == "_" else ".*")
            continue
        before = "\\" if escaped and char not in "%_\\" else ""
        parts.append(re2.escape(before + char))
        escaped = False
    return "".join(parts)


def compile_any_of(texts: tuple[str, ...]) -> Pattern:
    """Whichever of some plain texts comes first; of those that begin alike, the one named first."""
    return _compile("|".join(re2.escape(_plain(text)) for text in texts), dot_newline=True)


def _plain(text: str) -> str:
    return from_bytes(to_bytes(text))


@lru_cache(_REMEMBERED)
def _compile(pattern: str, *, ignore_case: bool = False, dot_newline: bool = False) -> Pattern:
    encoded = to_bytes(pattern)
    if len(encoded) > MAX_PATTERN_BYTES:
        raise ResourceLimit(f"a pattern of more than {MAX_PATTERN_BYTES} bytes")
    if _compile.cache_info().currsize >= _REMEMBERED:
        re2.purge()  # the library remembers more patterns than we let it
        _compile.cache_clear()
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.case_sensitive = not ignore_case
    options.dot_nl = dot_newline
    try:
        return Pattern(re2.compile(encoded, options))
    except re2.error as error:
        raise InvalidPattern(str(error)) from None


def expand(template: str, match: Match, text: bytes) -> bytes:
    r"""The replacement of one match: `$1` is a group, `$&` the match, `$$` a dollar, `\x` is x."""

    def part(reference: re.Match[str]) -> str:
        plain, named = reference[1], reference[2]
        if plain is not None:
            return plain
        if named == "$":
            return "$"
        if named == "&" or int(named) == 0:
            return from_bytes(text[match.start : match.end])
        if int(named) > len(match.groups):
            return reference[0]
        return from_bytes(match.groups[int(named) - 1] or b"")

    return to_bytes(_REFERENCES.sub(part, template))


def _next_character(text: bytes, place: int) -> int:
    place += 1
    while place < len(text) and text[place] & 0xC0 == 0x80:  # noqa: PLR2004 - a UTF-8 tail
        place += 1
    return place
