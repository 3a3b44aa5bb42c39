"""Traversals: the vertices that a graph leads to, and the way there.

Source: ArangoDB manual, "Graph traversals in AQL".
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mallku_contracts.aql import tree as t
from mallku_contracts.arguments import Document
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.graph import (
    BAD_PARAMETER,
    STEP_BYTES,
    Graph,
    Weights,
    compile_depths,
    compile_graph,
    compile_options,
    vertex_id,
)
from mallku_workers.stores.embedded.aql.run import (
    POINTER_BYTES,
    Evaluate,
    Held,
    Row,
    Run,
    weigh,
    wrong,
)

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

Order: TypeAlias = Literal["dfs", "bfs", "weighted"]
Unique: TypeAlias = Literal["none", "path", "global"]

PLACE_BYTES: Final = 8 * POINTER_BYTES
"""What a place takes without its edge, bytes."""

_ORDERS: Final = ("dfs", "bfs", "weighted")
_UNIQUE: Final = ("none", "path", "global")


@dataclass(frozen=True, slots=True)
class Place:
    """A vertex that was reached, and the way there: a list linked backwards."""

    vertex: str
    edge: Document | None = None
    before: Place | None = None
    depth: int = 0
    weight: float = 0.0

    def weigh(self, most: int) -> int:
        """What it takes, the way there aside, bytes."""
        return PLACE_BYTES + weigh(self.edge, most)

    def way(self) -> list[Place]:
        """From the start to here."""
        places: list[Place] = []
        place: Place | None = self
        while place is not None:
            places.append(place)
            place = place.before
        return places[::-1]

    def went_over(self, edge: Document) -> bool:
        """Whether the way here leads over this edge."""
        place: Place | None = self
        while place is not None and place.edge is not None:
            if place.edge["_id"] == edge["_id"]:
                return True
            place = place.before
        return False

    def passed(self, vertex: str) -> bool:
        """Whether the way here leads through this vertex."""
        place: Place | None = self
        while place is not None:
            if place.vertex == vertex:
                return True
            place = place.before
        return False


@dataclass(frozen=True, slots=True)
class Rules:
    """How a graph is walked."""

    minimum: int
    maximum: int
    order: Order
    unique_vertices: Unique
    unique_edges: Unique
    weights: Weights


def compile_traversal(expressions: Expressions, run: Run, node: t.Traversal, scope: Scope) -> Stage:
    """A stage that walks a graph from a start, and gives vertex, edge and path."""
    start = expressions.compile(node.start, scope)
    options = compile_options(expressions, node.options, scope)
    rules = _rules(expressions, node, options, scope)
    graph = compile_graph(expressions, run, node.graph, node.direction, scope).restricted(options)
    slots = _Slots(
        scope.declare(node.vertex),
        None if node.edge is None else scope.declare(node.edge),
        None if node.path is None else scope.declare(node.path),
    )
    prune, pruned_slot = _compile_prune(expressions, node, scope)
    walk = _Traversing(run, node, graph, rules, slots, prune, pruned_slot)

    def traverse(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
        for row in rows:
            handle = vertex_id(run, start(row))
            if handle is not None:
                yield from walk.rows(row, handle)

    return traverse


def _compile_prune(
    expressions: Expressions, node: t.Traversal, scope: Scope
) -> tuple[Evaluate | None, int | None]:
    if node.prune is None:
        return None, None
    condition = expressions.compile(node.prune.condition, scope)
    name = node.prune.variable
    return condition, None if name is None else scope.declare(name)


def _rules(
    expressions: Expressions, node: t.Traversal, options: dict[str, Any], scope: Scope
) -> Rules:
    minimum, maximum = compile_depths(expressions, node.minimum, node.maximum, scope)
    order = _option(options, "order", "bfs" if o.to_bool(options.get("bfs")) else "dfs")
    vertices = _option(options, "uniqueVertices", "none", _UNIQUE)
    edges = _option(options, "uniqueEdges", "path", _UNIQUE)
    if order not in _ORDERS:
        raise wrong(node, "order is one of dfs, bfs and weighted", BAD_PARAMETER)
    if edges == "global":
        raise wrong(node, "uniqueEdges is either 'path' or 'none'", BAD_PARAMETER)
    if vertices == "global" and order == "dfs":
        raise wrong(node, "uniqueVertices: 'global' needs order: 'bfs'", BAD_PARAMETER)
    return Rules(minimum, maximum, order, vertices, edges, Weights.of(options))


def _option(
    options: dict[str, Any], name: str, default: str, known: Sequence[str] | None = None
) -> Any:
    """An option in lower case; the default where it is no string, or none of the known ones."""
    value = options.get(name)
    found = value.lower() if isinstance(value, str) else default
    return found if known is None or found in known else default


@dataclass(frozen=True, slots=True)
class _Slots:
    vertex: int
    edge: int | None
    path: int | None


@dataclass(frozen=True)
class _Traversing:
    run: Run
    node: t.Traversal
    graph: Graph
    rules: Rules
    slots: _Slots
    prune: Evaluate | None
    pruned_slot: int | None

    def rows(self, row: Row, start: str) -> Iterator[Row]:
        """A row for each place within the depths."""
        walk = {"dfs": self._deep, "bfs": self._broad, "weighted": self._cheap}[self.rules.order]
        held = Held(self.run.memory)
        try:
            for place, reached in walk(row, Place(start), held):
                if place.depth >= self.rules.minimum:
                    yield reached
        finally:
            held.let_go()

    def _visit(self, row: Row, place: Place) -> tuple[Row, bool]:
        """The row at a place, and whether the walk goes on from there."""
        self.run.turn()
        reached = row.copy()
        reached[self.slots.vertex] = self.graph.vertex(place.vertex)
        if self.slots.edge is not None:
            reached[self.slots.edge] = place.edge
        if self.slots.path is not None:
            reached[self.slots.path] = path_of(self.graph, place)
        pruned = self.prune is not None and o.to_bool(self.prune(reached))
        if self.pruned_slot is not None:
            reached[self.pruned_slot] = pruned
        return reached, not pruned and place.depth < self.rules.maximum

    def _next(self, place: Place, seen: set[str], held: Held) -> Iterator[Place]:
        rules = self.rules
        for step in self.graph.steps(place.vertex):
            if rules.unique_edges == "path" and place.went_over(step.edge):
                continue
            if rules.unique_vertices == "path" and place.passed(step.vertex):
                continue
            if rules.unique_vertices == "global":
                if step.vertex in seen:
                    continue
                held.take(POINTER_BYTES + len(step.vertex))
                seen.add(step.vertex)
            weight = place.weight + rules.weights.of_edge(self.node, step.edge)
            yield Place(step.vertex, step.edge, place, place.depth + 1, weight)

    def _deep(self, row: Row, start: Place, held: Held) -> Iterator[tuple[Place, Row]]:
        seen = {start.vertex}
        stack: list[Iterator[Place]] = [iter((start,))]
        held.take(STEP_BYTES)
        while stack:
            place = next(stack[-1], None)
            if place is None:
                stack.pop()
                held.give_back(STEP_BYTES)
                continue
            reached, goes_on = self._visit(row, place)
            yield place, reached
            if goes_on:
                stack.append(self._next(place, seen, held))
                held.take(STEP_BYTES)

    def _broad(self, row: Row, start: Place, held: Held) -> Iterator[tuple[Place, Row]]:
        return self._from(row, start, held, _Line())

    def _cheap(self, row: Row, start: Place, held: Held) -> Iterator[tuple[Place, Row]]:
        return self._from(row, start, held, _Cheapest())

    def _from(
        self, row: Row, start: Place, held: Held, waiting: _Line | _Cheapest
    ) -> Iterator[tuple[Place, Row]]:
        seen, most = {start.vertex}, self.run.memory.limit
        waiting.put(start)
        while (place := waiting.take()) is not None:
            reached, goes_on = self._visit(row, place)
            yield place, reached
            if goes_on:
                for further in self._next(place, seen, held):
                    held.take(further.weigh(most))
                    waiting.put(further)
            elif place is not start:
                held.give_back(place.weigh(most))


class _Line:
    """Places in the order in which they came."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque()

    def put(self, place: Place) -> None:
        """Wait."""
        self._places.append(place)

    def take(self) -> Place | None:
        """The next one, None where there is none."""
        return self._places.popleft() if self._places else None


class _Cheapest:
    """Places, the one that costs least first."""

    def __init__(self) -> None:
        self._places: list[tuple[float, int, Place]] = []
        self._number = count()

    def put(self, place: Place) -> None:
        """Wait."""
        heapq.heappush(self._places, (place.weight, next(self._number), place))

    def take(self) -> Place | None:
        """The next one, None where there is none."""
        return heapq.heappop(self._places)[2] if self._places else None


def path_of(graph: Graph, place: Place) -> dict[str, Any]:
    """The way to a place, as AQL shows paths."""
    places = place.way()
    return {
        "edges": [one.edge for one in places[1:]],
        "vertices": [graph.vertex(one.vertex) for one in places],
    }
