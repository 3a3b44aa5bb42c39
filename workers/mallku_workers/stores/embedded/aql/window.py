"""WINDOW: aggregates over the rows around each row.

Source: ArangoDB manual, "WINDOW operation in AQL".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.collect import AggregateCall, compile_aggregates
from mallku_workers.stores.embedded.aql.run import Evaluate, Row, Run, wrong

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

INVALID_BOUNDS: Final = 1561
_WITHOUT_END: Final = float("inf")


def compile_window(expressions: Expressions, run: Run, node: t.Window, scope: Scope) -> Stage:
    """A stage that adds aggregates of its neighbours to each row."""
    bounds = expressions.constant(node.bounds, scope)
    windowing = _Windowing(
        run,
        None if node.value is None else expressions.compile(node.value, scope),
        _bound(node, bounds, "preceding"),
        _bound(node, bounds, "following"),
        compile_aggregates(expressions, node.aggregates, scope),
        [scope.declare(one.variable) for one in node.aggregates],
    )
    return windowing.stage


def _bound(node: t.Window, bounds: Any, name: str) -> float:
    value = bounds.get(name, 0)
    if value == "unbounded":
        return _WITHOUT_END
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise wrong(node, f"{name} has to be a number from 0 on, or 'unbounded'", INVALID_BOUNDS)
    return float(value)


@dataclass(frozen=True)
class _Windowing:
    run: Run
    value: Evaluate | None
    preceding: float
    following: float
    aggregates: Sequence[AggregateCall]
    slots: Sequence[int]

    def stage(self, rows: Iterator[Row], _base: Row) -> Iterator[Row]:
        """Every row, in the order of the value where there is one."""
        gathered = []
        for row in rows:
            self.run.memory.keep(row)
            gathered.append(row)
        spans = self._by_place(gathered) if self.value is None else self._by_value(gathered)
        inputs = [[one.value(row) for one in self.aggregates] for row in gathered]
        for row, (start, end) in zip(gathered, spans, strict=True):
            self._aggregate(row, inputs[start:end])
            yield row

    def _by_place(self, rows: Sequence[Row]) -> list[tuple[int, int]]:
        count = len(rows)
        return [
            (int(max(place - self.preceding, 0)), int(min(place + self.following + 1, count)))
            for place in range(count)
        ]

    def _by_value(self, rows: list[Row]) -> list[tuple[int, int]]:
        assert self.value is not None  # noqa: S101 - see stage
        value = self.value
        rows.sort(key=lambda row: o.sort_key(value(row)))
        numbers = [float(o.to_number(value(row)) or 0) for row in rows]
        return [
            (
                bisect_left(numbers, number - self.preceding),
                bisect_right(numbers, number + self.following),
            )
            for number in numbers
        ]

    def _aggregate(self, row: Row, inputs: Sequence[Sequence[Any]]) -> None:
        for place, (one, slot) in enumerate(zip(self.aggregates, self.slots, strict=True)):
            aggregator = one.make(self.run)
            for values in inputs:
                self.run.turn()
                aggregator.add(values[place])
            row[slot] = aggregator.result()
