"""COLLECT: rows that agree become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.aggregates import AGGREGATORS, Aggregator
from mallku_workers.stores.embedded.aql.run import (
    LARGE,
    POINTER_BYTES,
    Evaluate,
    Row,
    Run,
    key_bytes,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

INVALID_AGGREGATE = 1574


@dataclass(slots=True)
class _Group:
    """One group: its values, and what was gathered of its rows."""

    values: list[Any]
    aggregators: list[Aggregator]
    members: list[Any] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One `variable = FUNCTION(value)`."""

    make: Callable[[Run], Aggregator]
    value: Evaluate


def compile_collect(  # noqa: PLR0913 - what a statement is compiled with
    expressions: Expressions,
    run: Run,
    node: t.Collect,
    scope: Scope,
    *,
    is_sorted: bool,
    by_index: bool = False,
) -> Stage:
    """A stage that groups. Of the variables so far only those from before the first loop stay.

    Args:
        by_index: An index gives the order of the groups.
    """
    values = [expressions.compile(group.value, scope) for group in node.groups]
    aggregates = compile_aggregates(expressions, node.aggregates, scope)
    member = _member(expressions, node, scope)
    collecting = _Collecting(
        run,
        values,
        aggregates,
        member,
        lasting_slots=scope.end_loops(),
        group_slots=[scope.declare(group.variable) for group in node.groups],
        aggregate_slots=[scope.declare(one.variable) for one in node.aggregates],
        into_slot=None if node.into is None else scope.declare(node.into),
        count_slot=None if node.count is None else scope.declare(node.count),
        is_sorted=is_sorted,
        key=_key_of_groups(expressions, node, scope, by_index=by_index),
    )
    return collecting.stage


def _key_of_groups(
    expressions: Expressions, node: t.Collect, scope: Scope, *, by_index: bool
) -> Callable[[Any], Hashable]:
    """What tells groups apart: order alone where ArangoDB sorts, as it does for INTO."""
    given = {} if node.options is None else expressions.constant(node.options, scope)
    method = given.get("method", "sorted" if by_index else "hash")
    return o.sort_key if node.into is not None or method == "sorted" else o.group_key


def compile_aggregates(
    expressions: Expressions, aggregates: Sequence[t.Aggregate], scope: Scope
) -> list[AggregateCall]:
    """The calls of AGGREGATE; `InvalidQuery` where a function cannot aggregate."""
    found = []
    for one in aggregates:
        make = AGGREGATORS.get(one.call.name)
        if make is None:
            raise wrong(one.call, f"{one.call.name}() cannot aggregate", INVALID_AGGREGATE)
        argument = one.call.arguments[0] if one.call.arguments else t.Literal(None)
        found.append(AggregateCall(make, expressions.compile(argument, scope)))
    return found


def _member(expressions: Expressions, node: t.Collect, scope: Scope) -> Evaluate | None:
    """What INTO keeps of each row."""
    if node.into is None:
        return None
    if node.projection is not None:
        return expressions.compile(node.projection, scope)
    names = node.keep if node.keep is not None else node.variables
    slots = [(name, slot) for name in names if (slot := scope.find(name)) is not None]
    return lambda row: {name: row[slot] for name, slot in slots}


@dataclass(frozen=True)
class _Collecting:
    run: Run
    values: Sequence[Evaluate]
    aggregates: Sequence[AggregateCall]
    member: Evaluate | None
    lasting_slots: Sequence[int]
    group_slots: Sequence[int]
    aggregate_slots: Sequence[int]
    into_slot: int | None
    count_slot: int | None
    is_sorted: bool
    key: Callable[[Any], Hashable]

    def stage(self, rows: Iterator[Row], base: Row) -> Iterator[Row]:
        """One row for each group, in the order of the groups' values."""
        groups: dict[Hashable, _Group] = {}
        outer = base.copy()
        for row in rows:
            values = [value(row) for value in self.values]
            key = self.key(values)
            group = groups.get(key)
            weight = key_bytes(key)
            if weight > LARGE:
                self.run.source.check()
            if group is None:
                self.run.memory.keep(values)
                self.run.memory.take(weight)
                self.run.memory.take(POINTER_BYTES * len(self.aggregates))
                group = groups[key] = self._new(values)
                for slot in self.lasting_slots:
                    outer[slot] = row[slot]
            self._add(group, row)
        if not self.values and not groups:
            groups[b""] = self._new([])
        for group in self._ordered(groups):
            yield self._row(group, outer)

    def _new(self, values: list[Any]) -> _Group:
        return _Group(values, [one.make(self.run) for one in self.aggregates])

    def _add(self, group: _Group, row: Row) -> None:
        group.count += 1
        for aggregator, one in zip(group.aggregators, self.aggregates, strict=True):
            aggregator.add(one.value(row))
        if self.member is not None:
            member = self.member(row)
            self.run.memory.keep(member)
            group.members.append(member)

    def _ordered(self, groups: dict[Hashable, _Group]) -> Sequence[_Group]:
        found = list(groups.values())
        return sorted(found, key=lambda one: o.sort_key(one.values)) if self.is_sorted else found

    def _row(self, group: _Group, outer: Row) -> Row:
        row = outer.copy()
        for slot, value in zip(self.group_slots, group.values, strict=True):
            row[slot] = value
        for slot, aggregator in zip(self.aggregate_slots, group.aggregators, strict=True):
            row[slot] = aggregator.result() if group.count else None
        if self.into_slot is not None:
            row[self.into_slot] = group.members
        if self.count_slot is not None:
            row[self.count_slot] = group.count
        return row
