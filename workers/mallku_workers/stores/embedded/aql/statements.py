"""Statements made into stages: each takes rows and gives rows, one after the other.

Nothing is kept in memory that is not asked for: SORT, COLLECT and changes of data have to see
everything before they give anything, and the memory that this takes is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, Final, TypeAlias

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.access import Order, choose
from mallku_workers.stores.embedded.aql.bounds import (
    ReadyBound,
    conditions,
    order_of,
    path_of,
    sort_wanted,
)
from mallku_workers.stores.embedded.aql.collect import compile_collect
from mallku_workers.stores.embedded.aql.expressions import Expressions
from mallku_workers.stores.embedded.aql.modify import compile_modification
from mallku_workers.stores.embedded.aql.paths import compile_paths, compile_shortest_path
from mallku_workers.stores.embedded.aql.run import Evaluate, Row, Run, failed, key_bytes
from mallku_workers.stores.embedded.aql.scope import Scope
from mallku_workers.stores.embedded.aql.sorting import compile_sort
from mallku_workers.stores.embedded.aql.traversal import compile_traversal
from mallku_workers.stores.embedded.aql.window import compile_window
from mallku_workers.stores.embedded.catalog import Collection

Stage: TypeAlias = Callable[[Iterator[Row], Row], Iterator[Row]]
"""Rows in, rows out; the second argument is the row that the (sub)query began with."""

_Own: TypeAlias = Callable[[Any, Any, Sequence[t.Statement], Scope], Stage]

NOT_A_LIST: Final = 1563
OUT_OF_RANGE: Final = 1504

MAX_LIMIT: Final = 2**62 - 1
"""A number of LIMIT beyond which no more rows can come; two of them fit what counts rows."""

_COMPILERS: Final[dict[type[t.Node], Callable[..., Stage]]] = {
    t.Window: compile_window,
    t.Traversal: compile_traversal,
    t.ShortestPath: compile_shortest_path,
    t.Paths: compile_paths,
}

_LOOPS: Final = (t.For, t.Traversal, t.ShortestPath, t.Paths)

_NO_LIMIT: Final = t.Limit(None, t.Literal(0))


class Statements:
    """Compiles the statements of a query for one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._counted: t.Limit | None = None
        self._outermost: t.Statement | None = None
        self._sort_wanted: t.Sort | None = None
        self.expressions = Expressions(run)

    def query(
        self, statements: Sequence[t.Statement], scope: Scope
    ) -> Callable[[Row], Iterator[Any]]:
        """A function from the row to begin with to the values that are returned."""
        *before, last = statements
        returns = last if isinstance(last, t.Return) else None
        self._note_last_limit(statements)
        if self._outermost is None:
            self._outermost = statements[0]
        stages = self._stages(before if returns else statements, scope)
        if returns is None:
            return lambda row: _exhaust(_flow(stages, row))
        value = self.expressions.compile(returns.value, scope)
        if returns.distinct:
            return lambda row: self._distinct(value(one) for one in _flow(stages, row))
        return lambda row: map(value, _flow(stages, row))

    def _note_last_limit(self, statements: Sequence[t.Statement]) -> None:
        """Remember the LIMIT that `full_count` is about: the last one of the outermost query."""
        limits = [one for one in statements if isinstance(one, t.Limit)]
        if self.run.full_count and self._counted is None:
            self._counted = limits[-1] if limits else _NO_LIMIT

    def subquery(self, statements: Sequence[t.Statement], outer: Scope) -> Evaluate:
        """A function from a row to the list of what a subquery returns."""
        values = self.query(statements, outer.inner())
        memory = self.run.memory

        def subquery(row: Row) -> list[Any]:
            used, passing = memory.used, memory.passing
            found, weight = [], 0
            for value in values(row.copy()):
                weight += memory.keep(value)
                found.append(value)
            memory.used, memory.passing = used, passing  # whatever was kept within is gone
            memory.lend(weight)
            return found

        return subquery

    def _distinct(self, values: Iterator[Any]) -> Iterator[Any]:
        seen: set[Any] = set()
        for value in values:
            key = o.group_key(value)
            if key not in seen:
                self.run.memory.take(key_bytes(key))
                self.run.memory.keep(value)
                seen.add(key)
                yield value
            elif type(key) is bytes:
                self.run.turn()

    def _stages(self, statements: Sequence[t.Statement], scope: Scope) -> list[Stage]:
        return [self._stage(statements, place, scope) for place in range(len(statements))]

    def _stage(self, statements: Sequence[t.Statement], place: int, scope: Scope) -> Stage:
        node, following = statements[place], statements[place + 1 :]
        if isinstance(node, _LOOPS):
            scope.begin_loop()
        own = self._own.get(type(node))
        if isinstance(node, t.Collect):
            stage = self._collect(node, statements[:place], following, scope)
        elif own is not None:
            stage = own(self, node, following, scope)
        else:
            compile_stage = _COMPILERS.get(type(node), compile_modification)
            stage = compile_stage(self.expressions, self.run, node, scope)
        if isinstance(node, t.Filter | t.Let | t.Limit):
            return stage
        in_turn = self.run.memory.in_turn
        return lambda rows, base: in_turn(stage(rows, base))

    def _sort(self, node: t.Sort, following: Sequence[t.Statement], scope: Scope) -> Stage:
        stage = compile_sort(self.expressions, self.run, node, following, scope)
        return self._unless_in_order(stage) if node is self._sort_wanted else stage

    def _unless_in_order(self, stage: Stage) -> Stage:
        """The same, left out where the loop that began everything gives the order already."""

        def sort(rows: Iterator[Row], base: Row) -> Iterator[Row]:
            for row in rows:  # the first one tells how the loop goes about it
                again = chain((row,), rows)
                yield from again if self.run.in_order else stage(again, base)

        return sort

    def _collect(
        self,
        node: t.Collect,
        before: Sequence[t.Statement],
        following: Sequence[t.Statement],
        scope: Scope,
    ) -> Stage:
        ordered = not any(_is_no_order(one) for one in following[:1])
        by_index = self._comes_in_order(node, before)
        return compile_collect(
            self.expressions, self.run, node, scope, is_sorted=ordered, by_index=by_index
        )

    def _comes_in_order(self, node: t.Collect, before: Sequence[t.Statement]) -> bool:
        """Whether an index has the documents of the loop before in the order of the groups."""
        loops = [one for one in before if not isinstance(one, t.Filter | t.Let)]
        loop = loops[-1] if loops else None
        if not isinstance(loop, t.For) or len(node.groups) != 1:
            return False
        if not isinstance(loop.source, t.Collection | t.CollectionBind):
            return False
        path = path_of(node.groups[0].value, loop.variable)
        collection = self.expressions.collection(loop.source)
        return path is not None and choose(collection, (), Order(path)).ordered_by is not None

    # FOR

    def _for(self, node: t.For, following: Sequence[t.Statement], scope: Scope) -> Stage:
        if isinstance(node.source, t.Collection | t.CollectionBind):
            return self._for_documents(node, node.source, following, scope)
        if isinstance(node.source, t.Range):
            return self._for_range(node, node.source, scope)
        source = self.expressions.compile(node.source, scope)
        slot, run = scope.declare(node.variable), self.run

        def loop(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
            for row in rows:
                for value in _list(source(row), node):
                    run.turn()
                    inner = row.copy()
                    inner[slot] = value
                    yield inner

        return loop

    def _for_range(self, node: t.For, source: t.Range, scope: Scope) -> Stage:
        """A range is counted through, never made into a list."""
        low = self.expressions.compile(source.low, scope)
        high = self.expressions.compile(source.high, scope)
        slot, run = scope.declare(node.variable), self.run

        def loop(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
            for row in rows:
                for number in o.range_of(low(row), high(row)):
                    run.turn()
                    inner = row.copy()
                    inner[slot] = number
                    yield inner

        return loop

    def _for_documents(
        self,
        node: t.For,
        name: t.CollectionName,
        following: Sequence[t.Statement],
        scope: Scope,
    ) -> Stage:
        collection = self.expressions.collection(name)
        bounds = self._bounds(node.variable, following, scope)
        order = self._order(node, following)
        slot, run = scope.declare(node.variable), self.run
        self._explain(collection, bounds, order)

        def loop(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
            for row in rows:
                access = choose(collection, [bound.at(row) for bound in bounds], order)
                run.in_order = order is not None and access.ordered_by == order
                full = access.kind == "full"
                for document in run.source.documents(access):
                    run.turn()
                    run.statistics.scanned_full += full
                    run.statistics.scanned_index += not full
                    inner = row.copy()
                    inner[slot] = document
                    yield inner

        return loop

    def _order(self, node: t.For, following: Sequence[t.Statement]) -> Order | None:
        """What the loop that begins everything is asked for by the SORT behind it."""
        if node is not self._outermost:
            return None
        self._sort_wanted = wanted = sort_wanted(node.variable, following)
        return None if wanted is None else order_of(node.variable, wanted)

    def _bounds(
        self, variable: str, following: Sequence[t.Statement], scope: Scope
    ) -> list[ReadyBound]:
        wanted = conditions(variable, following, scope.names())
        codes = [self.expressions.code(one.value, scope) for one in wanted]
        return [
            ReadyBound(one.path, one.comparison, code.evaluate, code.constant)
            for one, code in zip(wanted, codes, strict=True)
        ]

    def _explain(
        self, collection: Collection, bounds: Sequence[ReadyBound], order: Order | None
    ) -> None:
        """Say how the loop will go about it, as far as that is known before it begins."""
        empty = self.run.new_row()
        access = choose(collection, [bound.expected(empty) for bound in bounds], order)
        in_order = order is not None and access.ordered_by == order
        self.run.explained.append(
            {"collection": collection.name, "access": access.kind, "in_order": in_order}
        )

    # FILTER, LET, LIMIT

    def _filter(self, node: t.Filter, _following: Sequence[t.Statement], scope: Scope) -> Stage:
        condition, run = self.expressions.compile(node.condition, scope), self.run

        def keep(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
            for row in rows:
                if o.to_bool(condition(row)):
                    yield row
                else:
                    run.statistics.filtered += 1

        return keep

    def _let(self, node: t.Let, _following: Sequence[t.Statement], scope: Scope) -> Stage:
        code = self.expressions.code(node.value, scope)
        value, slot = code.evaluate, scope.declare(node.variable, code)

        def let(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
            for row in rows:
                row[slot] = value(row)
                yield row

        return let

    def _limit(self, node: t.Limit, _following: Sequence[t.Statement], scope: Scope) -> Stage:
        offset = 0 if node.offset is None else self.limit_number(node.offset, scope)
        count = self.limit_number(node.count, scope)
        if node is self._counted:
            return lambda rows, _base: self._counting(rows, offset, offset + count)
        return lambda rows, _base: islice(rows, offset, offset + count)

    def _counting(self, rows: Iterator[Row], start: int, end: int) -> Iterator[Row]:
        """The rows within the limit; all of them are counted."""
        total = 0
        for row in rows:
            if start <= total < end:
                yield row
            total += 1
        self.run.statistics.full_count = total

    def limit_number(self, node: t.Expression, scope: Scope) -> int:
        """A number of LIMIT; `InvalidQuery` where it is none, or negative."""
        value = self.expressions.constant(node, scope)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise failed(node, "LIMIT takes numbers from 0 on", OUT_OF_RANGE)
        return int(min(value, MAX_LIMIT))

    _own: ClassVar[dict[type[t.Node], _Own]] = {
        t.For: _for,
        t.Filter: _filter,
        t.Let: _let,
        t.Limit: _limit,
        t.Sort: _sort,
    }


def _flow(stages: Sequence[Stage], base: Row) -> Iterator[Row]:
    rows: Iterator[Row] = iter((base.copy(),))
    for stage in stages:
        rows = stage(rows, base)
    return rows


def _exhaust(rows: Iterator[Row]) -> Iterator[Any]:
    """Nothing is returned, but everything is done."""
    for _ in rows:
        pass
    yield from ()


def _list(value: Any, node: t.For) -> list[Any]:
    if not isinstance(value, list):
        raise failed(
            node, f"collection or array expected behind FOR, got {o.type_name(value)}", NOT_A_LIST
        )
    return value


def _is_no_order(node: t.Statement) -> bool:
    return isinstance(node, t.Sort) and node.keys[0].value == t.Literal(None)
