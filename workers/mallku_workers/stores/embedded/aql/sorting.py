"""SORT: all is seen before anything comes out; before a LIMIT, no more is kept than it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.run import LARGE, Evaluate, Row, Run, Shares

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


class Entry(NamedTuple):
    """A row, what it is sorted by, and how many bytes that takes."""

    keys: list[bytes]
    row: Row
    weight: int


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
        self._rows: list[Entry] = []
        self._last: list[bytes] | None = None
        self._shares = Shares(run.memory)

    def sorted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows in order."""
        try:
            for row in rows:
                self._add(row)
                if self._keep is not None and len(self._rows) > 2 * self._keep + SLACK_ROWS:
                    self._cut(self._keep)
            self._sort()
            for entry in self._rows:
                yield entry.row
        finally:
            self._shares.let_go()

    def _add(self, row: Row) -> None:
        keys = [o.sort_key(key.evaluate(row)) for key in self._keys]
        if self._last is not None and not self._goes_before(keys, self._last):
            return
        weight = sum(map(len, keys))
        if weight > LARGE:
            self._run.source.check()
        self._shares.keep(row, weight)
        self._rows.append(Entry(keys, row, weight))

    def _goes_before(self, keys: list[bytes], others: list[bytes]) -> bool:
        for key, mine, other in zip(self._keys, keys, others, strict=True):
            if mine != other:
                return (mine > other) if key.descending else (mine < other)
        return False

    def _cut(self, keep: int) -> None:
        """Keep the first rows; from here on nothing behind the last of them is gathered."""
        self._sort()
        del self._rows[keep:]
        self._last = self._rows[-1].keys if self._rows else None
        self._shares.only((entry.row, entry.weight) for entry in self._rows)

    def _sort(self) -> None:
        for place in reversed(range(len(self._keys))):
            self._rows.sort(key=_at(place), reverse=self._keys[place].descending)


def _at(place: int) -> Callable[[Entry], Any]:
    return lambda entry: entry.keys[place]
