"""SORT: all is seen before anything comes out; before a LIMIT, no more is kept than it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.run import Evaluate, Row, Run

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

SLACK_ROWS: Final = 1_000
"""Rows that may wait beyond twice the limit before those that cannot win are let go, count."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a SORT."""

    evaluate: Evaluate
    descending: bool


def compile_sort(
    expressions: Expressions,
    run: Run,
    node: t.Sort,
    following: Sequence[t.Statement],
    scope: Scope,
) -> Stage:
    """A stage that sorts; `SORT null` is none."""
    keys = [
        Key(expressions.compile(key.value, scope), _descends(expressions, key, scope))
        for key in node.keys
        if key.value != t.Literal(None)
    ]
    if not keys:
        return lambda rows, _base: rows
    keep = _wanted(expressions, following, scope)
    return lambda rows, _base: iter(_Sorting(run, keys, keep).sorted(rows))


def _descends(expressions: Expressions, key: t.SortKey, scope: Scope) -> bool:
    if isinstance(key.direction, str):
        return key.direction == "DESC"
    value = expressions.constant(key.direction, scope)
    return isinstance(value, str) and value.upper() == "DESC"


def _wanted(expressions: Expressions, following: Sequence[t.Statement], scope: Scope) -> int | None:
    """How many rows a LIMIT right behind the SORT lets through, None where there is none."""
    if not following or not isinstance(following[0], t.Limit):
        return None
    limit = following[0]
    parts = [limit.count] if limit.offset is None else [limit.offset, limit.count]
    values = [expressions.constant(part, scope) for part in parts]
    numbers = [value for value in values if isinstance(value, int | float) and value >= 0]
    return int(sum(numbers)) if len(numbers) == len(parts) else None


class _Sorting:
    """Rows that are gathered, and sorted by all keys; equal ones stay in the order they came in."""

    def __init__(self, run: Run, keys: Sequence[Key], keep: int | None) -> None:
        self._run = run
        self._keys = keys
        self._keep = None if run.full_count else keep
        self._rows: list[tuple[list[Any], Row, int]] = []

    def sorted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows in order."""
        memory, keys = self._run.memory, self._keys
        for row in rows:
            weight = memory.keep(row)
            self._rows.append(([o.sort_key(key.evaluate(row)) for key in keys], row, weight))
            if self._keep is not None and len(self._rows) > 2 * self._keep + SLACK_ROWS:
                self._cut(self._keep)
        self._sort()
        for _, row, weight in self._rows:
            memory.give_back(weight)
            yield row

    def _cut(self, keep: int) -> None:
        self._sort()
        for _, _, weight in self._rows[keep:]:
            self._run.memory.give_back(weight)
        del self._rows[keep:]

    def _sort(self) -> None:
        for place in reversed(range(len(self._keys))):
            self._rows.sort(key=_at(place), reverse=self._keys[place].descending)


def _at(place: int) -> Callable[[tuple[list[Any], Row, int]], Any]:
    return lambda entry: entry[0][place]
