"""Which operator binds tighter: ArangoDB's table, as numbers.

Each operator has two: `left` says how strongly it pulls at what stands before it, `right` at what
comes after. Of two operators around an operand, the one on the left takes it when its `right` is
greater than the other's `left`. Source: the `%left` and `%right` lines of `grammar.y`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Pull(NamedTuple):
    """How strongly an operator holds its two neighbours."""

    left: int
    right: int


TERNARY: Final = Pull(3, 2)
"""The only one that groups from the right."""

_QUANTIFIER: Final = 8
_AT_LEAST: Final = 9
_NEGATION: Final = 12
_LEVELS: Final = (
    (4, ("OR",)),
    (6, ("AND",)),
    (10, ("==", "!=", "LIKE", "=~", "!~")),
    (_NEGATION, ("IN", "NOT IN")),
    (14, ("<", "<=", ">", ">=")),
    (16, ("..",)),
    (18, ("+", "-")),
    (20, ("*", "/", "%")),
)

BINARY: Final = {
    operator: Pull(level, level + 1) for level, operators in _LEVELS for operator in operators
}
"""The plain two-sided operators; all of them group from the left."""


def negated(operator: str) -> Pull:
    """Of `NOT LIKE` and `NOT =~`: NOT's own strength to the left, the operator's to the right."""
    return Pull(_NEGATION, BINARY[operator].right)


def quantified(quantifier: str, operator: str) -> Pull:
    """Of `ANY ==` and its like: the quantifier's strength to the left, the operator's after."""
    left = _AT_LEAST if quantifier == "AT LEAST" else _QUANTIFIER
    return Pull(left, BINARY[operator].right)
