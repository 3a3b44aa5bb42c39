"""Which variables are in scope: frames that begin and end as a query is read.

A name is declared once among all that are visible (1511). COLLECT and RETURN close every frame down
to the query or subquery that they stand in; what that one declared before its first FOR stays.
Source: `arangod/Aql/Scopes.cpp` and the actions of `grammar.y`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mallku_contracts.aql.lexer import refuse
from mallku_contracts.aql.tree import Position

REDECLARED: Final = 1511
OLD: Final = "$OLD"
NEW: Final = "$NEW"
_SPECIAL: Final = frozenset({OLD, NEW, "$CURRENT"})


@dataclass(slots=True)
class _Frame:
    """`base` is a query or subquery; the others are loops and what COLLECT leaves."""

    base: bool
    names: list[str] = field(default_factory=list)


class Scopes:
    """The names visible at one point of a query."""

    __slots__ = ("_current", "_frames", "_visible")

    def __init__(self) -> None:
        self._frames = [_Frame(base=True)]
        self._visible: set[str] = set()
        self._current = 0

    def begin_loop(self) -> None:
        """What is declared from here on belongs to a loop, or to what COLLECT leaves."""
        self._frames.append(_Frame(base=False))

    def begin_subquery(self) -> None:
        """What is declared from here on belongs to a subquery."""
        self._frames.append(_Frame(base=True))

    def end_loops(self) -> None:
        """Forget what the loops of this query or subquery declared."""
        while not self._frames[-1].base:
            self._forget()

    def end_subquery(self) -> None:
        """Forget the subquery and all in it."""
        self.end_loops()
        self._forget()

    def _forget(self) -> None:
        self._visible.difference_update(self._frames.pop().names)

    @property
    def in_loop(self) -> bool:
        """Whether a FOR or a COLLECT stands before, in this query or subquery."""
        return not self._frames[-1].base

    def declare(self, name: str, at: Position) -> None:
        """Make `name` visible from here on; 1511 when it is already."""
        if name in _SPECIAL:
            refuse(f"{name!r} is not a name to assign", at, near=name)
        if name in self._visible:
            refuse(f"variable {name!r} is assigned twice", at, number=REDECLARED, near=name)
        self._visible.add(name)
        self._frames[-1].names.append(name)

    def declare_special(self, *names: str) -> None:
        """Make OLD or NEW mean what the statement just read has changed."""
        for name in names:
            if name not in self._visible:
                self._visible.add(name)
                self._frames[-1].names.append(name)

    def has(self, name: str) -> bool:
        """Whether there is a variable of this very name."""
        return name in self._visible

    def resolve(self, name: str) -> str | None:
        """The variable that `name` stands for, or None: OLD, NEW and CURRENT where they hold."""
        if name in self._visible and name not in _SPECIAL:
            return name
        plain = name.removeprefix("$")
        if plain == "CURRENT":
            return plain if self._current else None
        return plain if plain in {"OLD", "NEW"} and "$" + plain in self._visible else None

    def enter_brackets(self) -> None:
        """CURRENT means something from here on."""
        self._current += 1

    def leave_brackets(self) -> None:
        """As before the last `enter_brackets`."""
        self._current -= 1

    def gathered(self) -> tuple[str, ...]:
        """What `INTO g` gathers: the variables of the loops, or without any, of the query."""
        frames = self._frames
        base = max(index for index, frame in enumerate(frames) if frame.base)
        inner = frames[base + 1 :] or frames[base:]
        return tuple(name for frame in inner for name in frame.names if name not in _SPECIAL)
