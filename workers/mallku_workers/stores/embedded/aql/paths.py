"""Paths between two vertices: the shortest one, the k shortest, all of some length.

Source: ArangoDB manual, "Shortest path in AQL", "k Shortest Paths in AQL", "k Paths in AQL", "All
shortest paths in AQL".
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql.graph import (
    Graph,
    Weights,
    compile_depths,
    compile_graph,
    compile_options,
    vertex_id,
)
from mallku_workers.stores.embedded.aql.run import POINTER_BYTES, Row, Run
from mallku_workers.stores.embedded.aql.traversal import Place, path_of

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

_EDGE_BYTES = 8 * POINTER_BYTES


@dataclass(frozen=True)
class _Searching:
    """A search from one vertex to another."""

    run: Run
    node: t.ShortestPath | t.Paths
    graph: Graph
    weights: Weights

    def shortest(self, start: str, target: str) -> Place | None:
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
                    heapq.heappush(waiting, (further.weight, next(number), further))
        return None

    def in_order(self, start: str, target: str) -> Iterator[Place]:
        """Every way without a vertex twice, the cheapest first."""
        number = count()
        waiting = [(0.0, next(number), Place(start))]
        while waiting:
            _, _, place = heapq.heappop(waiting)
            if place.vertex == target:
                yield place
                continue
            for further in self._further(place):
                if not place.passed(further.vertex):
                    heapq.heappush(waiting, (further.weight, next(number), further))

    def within(self, start: str, target: str, least: int, most: int) -> Iterator[Place]:
        """Every way of so many edges without a vertex twice."""
        stack = [iter((Place(start),))]
        while stack:
            place = next(stack[-1], None)
            if place is None:
                stack.pop()
                continue
            if place.vertex == target:
                if place.depth >= least:
                    yield place
            elif place.depth < most:
                stack.append(self._fresh(place))

    def _fresh(self, place: Place) -> Iterator[Place]:
        return (one for one in self._further(place) if not place.passed(one.vertex))

    def _further(self, place: Place) -> Iterator[Place]:
        for step in self.graph.steps(place.vertex):
            self.run.memory.take(_EDGE_BYTES)
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
            found = searching.shortest(*pair) if (pair := ends(row)) else None
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
            for place in _paths(searching, node.kind, pair, least, most):
                inner = row.copy()
                inner[slot] = path_of(searching.graph, place) | {"weight": place.weight}
                yield inner

    return walk


def _paths(
    searching: _Searching, kind: t.PathKind, pair: tuple[str, str], least: int, most: int
) -> Iterator[Place]:
    if kind == "K_PATHS":
        return searching.within(*pair, least, most)
    found = searching.in_order(*pair)
    return found if kind == "K_SHORTEST_PATHS" else _all_shortest(found)


def _all_shortest(paths: Iterator[Place]) -> Iterator[Place]:
    shortest: int | None = None
    for place in paths:
        if shortest is not None and place.depth > shortest:
            return
        shortest = place.depth
        yield place


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
