"""What all nodes of the tree share: a place in the text, and the words for operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias
from typing import Literal as OneOf


class Position(NamedTuple):
    """A place in a query's text; both numbers begin at 1, columns count characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


START: Final = Position(1, 1)

UnaryOperator: TypeAlias = OneOf["!", "-", "+"]
ArithmeticOperator: TypeAlias = OneOf["+", "-", "*", "/", "%"]
ComparisonOperator: TypeAlias = OneOf[
    "==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "NOT LIKE", "=~", "!~"
]
LogicalOperator: TypeAlias = OneOf["AND", "OR"]
BinaryOperator: TypeAlias = ArithmeticOperator | ComparisonOperator | LogicalOperator
QuantifiedOperator: TypeAlias = OneOf["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN"]
Quantifier: TypeAlias = OneOf["ANY", "ALL", "NONE", "AT LEAST"]
Direction: TypeAlias = OneOf["OUTBOUND", "INBOUND", "ANY"]
PathKind: TypeAlias = OneOf["K_SHORTEST_PATHS", "K_PATHS", "ALL_SHORTEST_PATHS"]


@dataclass(frozen=True, slots=True)
class Node:
    """Anything in the tree; `at` is where it begins in the text."""

    at: Position = field(default=START, compare=False, repr=False, kw_only=True)


def kind(node: Node) -> str:
    """The node's kind, as allow-lists and explanations name it: `"Traversal"`."""
    return type(node).__name__


BindValues: TypeAlias = Mapping[str, Any]
"""Bind values as they travel: `{"x": 1, "@coll": "people"}` for `@x` and `@@coll`."""
