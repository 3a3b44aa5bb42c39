"""Globs of names, as patterns whose time does not grow with their stars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

_ANY: Final = "[^/]*"
T = TypeVar("T")


def glob_pattern(glob: str) -> str:
    """A glob as a pattern that never goes back over what it matched, however many stars it has."""
    first, *parts = map(re.escape, glob.split("*"))
    if not parts:
        return first
    return first + "".join(f"(?>{_ANY}?{part})" for part in parts[:-1]) + _ANY + parts[-1]


def any_of(globs: Iterable[str]) -> str:
    """A pattern for the names that one of the globs matches."""
    return f"(?:{'|'.join(map(glob_pattern, globs))})"


def matches(globs: Iterable[str], name: str) -> bool:
    """Whether one of the globs matches a name."""
    return re.fullmatch(any_of(globs), name) is not None


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that `narrow` matches is matched by `wide`; a star is a name to it."""
    return re.fullmatch(glob_pattern(wide), narrow) is not None


def overlap(one: str, other: str) -> bool:
    """Whether some name is matched by both globs."""
    # reached[n]: some beginning is matched by what was read of `one`, and by n characters of
    # `other`. A star stands for nothing, or for whatever the other glob wants there.
    reached = [True, *(other[: n + 1].strip("*") == "" for n in range(len(other)))]
    for at, mine in enumerate(one):
        former, reached = reached, [one[: at + 1].strip("*") == ""]
        for n, theirs in enumerate(other):
            stays = (mine == "*" and former[n + 1]) or (theirs == "*" and reached[n])
            goes = former[n] and (mine == theirs or "*" in (mine, theirs))
            skips = (mine == "*" and reached[n]) or (theirs == "*" and former[n + 1])
            reached.append(stays or goes or skips)
    return reached[-1]


class FirstMatch(Generic[T]):
    """The first of several choices whose pattern a text matches, found by one expression.

    Each pattern ends in a group of its own; alternatives are tried in order, so the group that took
    part is that of the first choice.
    """

    def __init__(self, choices: Sequence[tuple[str, T]]) -> None:
        self._choices = [choice for _, choice in choices]
        self._pattern = re.compile("|".join(f"{pattern}()" for pattern, _ in choices) or r"(?!)")

    def find(self, text: str) -> T | None:
        """The first choice that matches the whole text."""
        found = self._pattern.fullmatch(text)
        return None if found is None else self._choices[(found.lastindex or 0) - 1]
