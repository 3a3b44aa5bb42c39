"""WINDOW: aggregates over the rows around each row.

Source: ArangoDB manual, "WINDOW operation in AQL".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.aggregates import Aggregator
from mallku_workers.stores.embedded.aql.collect import AggregateCall, compile_aggregates
from mallku_workers.stores.embedded.aql.run import Evaluate, Row, Run, Shares, wrong

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
        gathered, shares = [], Shares(self.run.memory)
        for row in rows:
            key = b"" if self.value is None else o.sort_key(self.value(row))
            shares.keep(row, len(key))
            gathered.append((key, row))
        gathered.sort(key=itemgetter(0))
        waiting = deque(row for _, row in gathered)
        del gathered
        spans = self._by_place(len(waiting)) if self.value is None else self._by_value(waiting)
        inputs = [self._inputs(row, shares) for row in waiting]
        span = _Span(self.run, self.aggregates, inputs)
        for start, end in spans:
            row = waiting.popleft()
            for slot, result in zip(self.slots, span.results(start, end), strict=True):
                row[slot] = result
            yield row
        span.let_go()
        shares.let_go()

    def _inputs(self, row: Row, shares: Shares) -> Row:
        inputs = [one.value(row) for one in self.aggregates]
        shares.keep(inputs)
        return inputs

    def _by_place(self, count: int) -> list[tuple[int, int]]:
        return [
            (int(max(place - self.preceding, 0)), int(min(place + self.following + 1, count)))
            for place in range(count)
        ]

    def _by_value(self, rows: Iterable[Row]) -> list[tuple[int, int]]:
        assert self.value is not None  # noqa: S101 - see stage
        value = self.value
        numbers = [float(o.to_number(value(row)) or 0) for row in rows]
        return [
            (
                bisect_left(numbers, number - self.preceding),
                bisect_right(numbers, number + self.following),
            )
            for number in numbers
        ]


@dataclass
class _Span:
    """Aggregates over a span of rows that moves on: what stays within it is not added again."""

    run: Run
    aggregates: Sequence[AggregateCall]
    inputs: Sequence[Row]
    start: int = -1
    end: int = 0
    open: list[Aggregator] = field(default_factory=list)
    held: int = 0

    def results(self, start: int, end: int) -> list[Any]:
        """The aggregates of the rows from `start` up to `end`."""
        if start != self.start:
            self.let_go()
            self.open = [one.make(self.run) for one in self.aggregates]
            self.start = self.end = start
        before = self.run.memory.used
        for values in self.inputs[self.end : end]:
            self.run.turn()
            for aggregator, value in zip(self.open, values, strict=True):
                aggregator.add(value)
        self.held += self.run.memory.used - before
        self.end = max(self.end, end)
        return [self._result(aggregator) for aggregator in self.open]

    def _result(self, aggregator: Aggregator) -> Any:
        made = aggregator.result()
        self.run.memory.lend_made(made)
        return made

    def let_go(self) -> None:
        """Give back what the aggregates hold."""
        self.run.memory.give_back(self.held)
        self.held = 0
