"""Paths between two vertices: the shortest one, the k shortest, all of some length.

Source: ArangoDB manual, "Shortest path in AQL", "k Shortest Paths in AQL", "k Paths in AQL", "All
shortest paths in AQL".
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql.graph import (
    STEP_BYTES,
    Graph,
    Weights,
    compile_depths,
    compile_graph,
    compile_options,
    vertex_id,
)
from mallku_workers.stores.embedded.aql.run import Held, Row, Run
from mallku_workers.stores.embedded.aql.traversal import Place, path_of

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage


@dataclass(frozen=True)
class _Searching:
    """A search from one vertex to another."""

    run: Run
    node: t.ShortestPath | t.Paths
    graph: Graph
    weights: Weights

    def shortest(self, start: str, target: str, held: Held) -> Place | None:
        """The cheapest way, None where there is none (Dijkstra)."""
        number = count()
        waiting = [(0.0, next(number), Place(start))]
        done: set[str] = set()
        while waiting:
            _, _, place = heapq.heappop(waiting)
            if place.vertex == target:
                return place
            if place.vertex in done:
                continue
            done.add(place.vertex)
            for further in self._further(place):
                if further.vertex not in done:
                    held.take(further.weigh(self.run.memory.limit))
                    heapq.heappush(waiting, (further.weight, next(number), further))
        return None

    def in_order(self, start: str, target: str, held: Held) -> Iterator[Place]:
        """Every way without a vertex twice, the cheapest first."""
        if self.shortest(start, target, held) is None:
            return
        number = count()
        waiting = [(0.0, next(number), Place(start))]
        while waiting:
            _, _, place = heapq.heappop(waiting)
            if place.vertex == target:
                yield place
                continue
            for further in self._fresh(place):
                held.take(further.weigh(self.run.memory.limit))
                heapq.heappush(waiting, (further.weight, next(number), further))

    def fewest(self, start: str, target: str, held: Held) -> Iterator[Place]:
        """Every way of as few edges as there can be: on each, every step leads further away."""
        far = {start: 0}
        layer = [Place(start)]
        while layer and target not in far:
            further = [one for place in layer for one in self._further(place)]
            layer = list({one.vertex: one for one in further if one.vertex not in far}.values())
            for place in layer:
                held.take(place.weigh(self.run.memory.limit))
                far[place.vertex] = place.depth
        yield from self.within(start, target, (0, far.get(target, -1)), held, far)

    def within(
        self,
        start: str,
        target: str,
        depths: tuple[int, int],
        held: Held,
        far: Mapping[str, int] | None = None,
    ) -> Iterator[Place]:
        """Every way of so many edges without a vertex twice, `far` telling how far each is off."""
        least, most = depths
        stack = [iter((Place(start),))]
        held.take(STEP_BYTES)
        while stack:
            place = next(stack[-1], None)
            if place is None:
                stack.pop()
                held.give_back(STEP_BYTES)
            elif far is not None and far.get(place.vertex) != place.depth:
                continue
            elif place.vertex == target:
                if least <= place.depth <= most:
                    yield place
            elif place.depth < most:
                stack.append(self._fresh(place))
                held.take(STEP_BYTES)

    def _fresh(self, place: Place) -> Iterator[Place]:
        return (one for one in self._further(place) if not place.passed(one.vertex))

    def _further(self, place: Place) -> Iterator[Place]:
        for step in self.graph.steps(place.vertex):
            weight = place.weight + self.weights.of_edge(self.node, step.edge)
            yield Place(step.vertex, step.edge, place, place.depth + 1, weight)


def compile_shortest_path(
    expressions: Expressions, run: Run, node: t.ShortestPath, scope: Scope
) -> Stage:
    """A stage that gives the vertices of the shortest path, each with the edge that led there."""
    ends, searching = _compile(expressions, run, node, scope)
    vertex = scope.declare(node.vertex)
    edge = None if node.edge is None else scope.declare(node.edge)

    def walk(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
        for row in rows:
            held = Held(run.memory)
            found = searching.shortest(*pair, held) if (pair := ends(row)) else None
            held.let_go()
            for place in found.way() if found is not None else ():
                inner = row.copy()
                inner[vertex] = searching.graph.vertex(place.vertex)
                if edge is not None:
                    inner[edge] = place.edge
                yield inner

    return walk


def compile_paths(expressions: Expressions, run: Run, node: t.Paths, scope: Scope) -> Stage:
    """A stage that gives paths as objects of vertices, edges and weight."""
    least, most = compile_depths(expressions, node.minimum, node.maximum, scope)
    ends, searching = _compile(expressions, run, node, scope)
    slot = scope.declare(node.path)

    def walk(rows: Iterator[Row], _base: Row) -> Iterator[Row]:
        for row in rows:
            pair = ends(row)
            if pair is None:
                continue
            held = Held(run.memory)
            try:
                for place in _paths(searching, node.kind, pair, (least, most), held):
                    inner = row.copy()
                    inner[slot] = path_of(searching.graph, place) | {"weight": place.weight}
                    yield inner
            finally:
                held.let_go()

    return walk


def _paths(
    searching: _Searching,
    kind: t.PathKind,
    pair: tuple[str, str],
    depths: tuple[int, int],
    held: Held,
) -> Iterator[Place]:
    if kind == "K_PATHS":
        return searching.within(*pair, depths, held)
    return (searching.in_order if kind == "K_SHORTEST_PATHS" else searching.fewest)(*pair, held)


def _compile(
    expressions: Expressions, run: Run, node: t.ShortestPath | t.Paths, scope: Scope
) -> tuple[Callable[[Row], tuple[str, str] | None], _Searching]:
    start = expressions.compile(node.start, scope)
    target = expressions.compile(node.target, scope)
    graph = compile_graph(expressions, run, node.graph, node.direction, scope)
    options: dict[str, Any] = compile_options(expressions, node.options, scope)
    weighted = not (isinstance(node, t.Paths) and node.kind == "ALL_SHORTEST_PATHS")

    def ends(row: Row) -> tuple[str, str] | None:
        pair = vertex_id(run, start(row)), vertex_id(run, target(row))
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])

    return ends, _Searching(run, node, graph, Weights.of(options) if weighted else Weights())
