"""Takes the filters behind a loop apart: which attributes of its document they hold to what.

Only what is known before the loop begins can lead to documents: constants, bind values and the
variables of outer loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.visitor import walk
from mallku_workers.stores.embedded.aql.access import Bound, Comparison, Order
from mallku_workers.stores.embedded.aql.run import Evaluate, Row
from mallku_workers.stores.paths import Path

_MIRRORED: Final[dict[str, Comparison]] = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPARISONS: Final = frozenset({*_MIRRORED, "IN"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of the loop's document, its other side not worked out yet."""

    path: Path
    comparison: Comparison
    value: t.Expression


@dataclass(frozen=True, slots=True)
class ReadyBound:
    """A comparison whose other side can be worked out for a row."""

    path: Path
    comparison: Comparison
    evaluate: Evaluate
    constant: bool

    def at(self, row: Row) -> Bound:
        """The bound for this row."""
        return Bound(self.path, self.comparison, self.evaluate(row))

    def expected(self, row: Row) -> Bound:
        """The bound before there is a row: what is not known yet is some text."""
        if self.constant:
            return self.at(row)
        return Bound(self.path, self.comparison, [""] if self.comparison == "IN" else "")


def conditions(
    variable: str, following: Sequence[t.Statement], known: Iterable[str]
) -> list[Condition]:
    """What the statements right behind `FOR variable` hold its document to.

    Args:
        known: Variables that have a value before the loop begins.
    """
    outer = frozenset(known) - {variable}
    found: list[Condition] = []
    for statement in following:
        if isinstance(statement, t.Filter):
            for part in _conjuncts(statement.condition):
                found += _condition(part, variable, outer)
        elif not isinstance(statement, t.Let):
            break
    return found


def sort_wanted(variable: str, following: Sequence[t.Statement]) -> t.Sort | None:
    """The SORT by one attribute of the loop's document that follows right behind its filters.

    A LIMIT between them decides which documents are sorted, so nothing is looked for beyond it.
    """
    for statement in following:
        if isinstance(statement, t.Sort):
            return statement if order_of(variable, statement) is not None else None
        if not isinstance(statement, t.Filter | t.Let):
            break
    return None


def order_of(variable: str, statement: t.Sort) -> Order | None:
    """What a SORT asks for, if it is the order of one attribute of `variable`."""
    if len(statement.keys) != 1 or statement.keys[0].direction not in ("ASC", "DESC"):
        return None
    path = path_of(statement.keys[0].value, variable)
    return None if path is None else Order(path, statement.keys[0].direction == "DESC")


def _conjuncts(node: t.Expression) -> Iterator[t.Expression]:
    if isinstance(node, t.Binary) and node.operator == "AND":
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    else:
        yield node


def _condition(node: t.Expression, variable: str, outer: frozenset[str]) -> list[Condition]:
    if not isinstance(node, t.Binary) or node.operator not in _COMPARISONS:
        return []
    comparison = cast("Comparison", node.operator)
    path = path_of(node.left, variable)
    if path and _is_known(node.right, outer):
        return [Condition(path, comparison, node.right)]
    path = path_of(node.right, variable)
    if path and comparison in _MIRRORED and _is_known(node.left, outer):
        return [Condition(path, _MIRRORED[comparison], node.left)]
    return []


def path_of(node: t.Expression, variable: str) -> Path | None:
    """The attributes of `variable.a.b`, None for anything else."""
    names: list[str] = []
    while isinstance(node, t.Attribute | t.Index):
        name = node.name if isinstance(node, t.Attribute) else _literal_name(node.index)
        if not isinstance(name, str):
            return None
        names.append(name)
        node = node.subject
    if isinstance(node, t.Variable) and node.name == variable and names:
        return tuple(reversed(names))
    return None


def _literal_name(node: t.Expression) -> str | None:
    """The name in `x["name"]`; a text of digits could be a position instead."""
    if isinstance(node, t.Literal) and isinstance(node.value, str):
        return None if node.value.lstrip("-").isdecimal() else node.value
    return None


def _is_known(node: t.Expression, outer: frozenset[str]) -> bool:
    """Whether the value is cheap, and the same wherever in the loop it is worked out."""
    for part in walk(node):
        if isinstance(part, t.Subquery | t.Collection | t.CollectionBind | t.Item):
            return False
        if isinstance(part, t.Call) and part.name in _CHANGING:
            return False
        if isinstance(part, t.Variable) and part.name not in outer:
            return False
    return True


_CHANGING: Final = frozenset({"RAND", "RANDOM_TOKEN", "UUID", "DOCUMENT", "FAIL", "WARN", "NOOPT"})
"""Functions whose calls must be as many as the text says, or that are not cheap."""
