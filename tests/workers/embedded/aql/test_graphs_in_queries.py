"""Traversals and paths over generated graphs, held to plain searches over lists of edges."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mallku_contracts import arguments as a
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.writes import insert_new
from tests.workers.embedded.aql.golden import World
from tests.workers.embedded.aql.test_oracle import FEW, run

VERTICES: Final = 5
GRAPHS: Final = settings(FEW, max_examples=80)
DIRECTIONS: Final = st.sampled_from(["OUTBOUND", "INBOUND", "ANY"])


@dataclass(frozen=True)
class Edge:
    """An edge between two vertices by number; one beyond `VERTICES` is not there."""

    key: str
    start: int
    end: int
    weight: int


@st.composite
def edges(draw: st.DrawFn, most: int = 8) -> list[Edge]:
    """Edges with cycles, loops, parallels, and ends that are gone."""
    number = st.integers(0, VERTICES)
    return [
        Edge(f"e{place}", draw(number), draw(number), draw(st.integers(0, 4)))
        for place in range(draw(st.integers(0, most)))
    ]


@dataclass(frozen=True)
class Way:
    """Vertices by number, and the edges between them."""

    vertices: tuple[int, ...]
    edges: tuple[Edge, ...] = ()

    @property
    def weight(self) -> int:
        """What it costs."""
        return sum(edge.weight for edge in self.edges)

    @property
    def keys(self) -> tuple[str, ...]:
        """Its edges by key."""
        return tuple(edge.key for edge in self.edges)

    def on(self, graph: list[Edge], direction: str) -> Iterator[Way]:
        """Everything that is one edge longer; with ANY a loop is there from either end."""
        here = self.vertices[-1]
        for edge in graph:
            ends = [(edge.start, edge.end)] if direction != "INBOUND" else []
            if direction != "OUTBOUND":
                ends.append((edge.end, edge.start))
            for one, other in ends:
                if one == here:
                    yield Way((*self.vertices, other), (*self.edges, edge))


@dataclass(frozen=True)
class Rules:
    """How a graph is walked."""

    direction: str
    minimum: int
    maximum: int
    vertices: str
    edges: str
    order: str
    pruned: int | None

    @property
    def text(self) -> str:
        """The traversal as it is written."""
        prune = "" if self.pruned is None else f" PRUNE v._key == '{self.pruned}'"
        return (
            f"FOR v, e, p IN {self.minimum}..{self.maximum} {self.direction} 'd/0' links{prune}"
            f' OPTIONS {{order: "{self.order}", uniqueVertices: "{self.vertices}",'
            f' uniqueEdges: "{self.edges}", weightAttribute: "w"}}'
        )


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Every combination that is allowed; walks that may go round and round are short."""
    minimum = draw(st.integers(0, 2))
    maximum = minimum + draw(st.integers(0, 2))
    order = draw(st.sampled_from(["dfs", "bfs", "weighted"]))
    allowed = ["none", "path"] if order == "dfs" else ["none", "path", "global"]
    vertices = draw(st.sampled_from(allowed))
    return Rules(
        draw(DIRECTIONS),
        minimum,
        min(maximum, 3),
        vertices,
        draw(st.sampled_from(["path", "none"])),
        order,
        draw(st.none() | st.integers(0, VERTICES - 1)),
    )


def walks(graph: list[Edge], how: Rules) -> list[Way]:
    """Every way that the rules let through, in breadth; `global` aside, which has no one answer."""
    found, waiting = [], deque([Way((0,))])
    while waiting:
        way = waiting.popleft()
        if len(way.edges) >= how.minimum:
            found.append(way)
        if len(way.edges) == how.maximum or way.vertices[-1] == how.pruned:
            continue
        for longer in way.on(graph, how.direction):
            if how.edges == "path" and max(Counter(longer.keys).values()) > 1:
                continue
            if how.vertices == "path" and longer.vertices[-1] in way.vertices:
                continue
            waiting.append(longer)
    return found


def reached(graph: list[Edge], how: Rules) -> dict[int, int]:
    """How far away every vertex is, as far as the walk goes; a pruned one leads nowhere."""
    far, waiting = {0: 0}, deque([0])
    while waiting:
        here = waiting.popleft()
        if far[here] == how.maximum or here == how.pruned:
            continue
        for longer in Way((here,)).on(graph, how.direction):
            if longer.vertices[-1] not in far:
                far[longer.vertices[-1]] = far[here] + 1
                waiting.append(longer.vertices[-1])
    return far


def cheapest(graph: list[Edge], start: int, direction: str, *, weighted: bool) -> dict[int, int]:
    """What the way to every vertex costs at least."""
    done: dict[int, int] = {}
    waiting = [(0, start)]
    while waiting:
        cost, here = heapq.heappop(waiting)
        if here in done:
            continue
        done[here] = cost
        for longer in Way((here,)).on(graph, direction):
            step = longer.edges[0].weight if weighted else 1
            heapq.heappush(waiting, (cost + step, longer.vertices[-1]))
    return done


def simple(graph: list[Edge], direction: str, target: int) -> list[Way]:
    """Every way from 0 to the target without a vertex twice."""
    found, waiting = [], [Way((0,))]
    while waiting:
        way = waiting.pop()
        if way.vertices[-1] == target:
            found.append(way)
            continue
        waiting += [
            longer for longer in way.on(graph, direction) if longer.vertices[-1] not in way.vertices
        ]
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database."""
    world = World(tmp_path_factory.mktemp("graphs") / "graphs.sqlite")
    yield world
    world.close()


@contextmanager
def drawn(world: World, graph: list[Edge]) -> Generator[Session]:
    """A transaction in which the graph is there."""
    with world.transaction() as session:
        create_collection(session, "d", a.CreateCollection())
        create_collection(session, "links", a.CreateCollection(edge=True))
        for number in range(VERTICES):
            insert_new(session, session.catalog.collection("d"), {"_key": str(number)})
        links = session.catalog.collection("links")
        for edge in graph:
            ends = {"_from": f"d/{edge.start}", "_to": f"d/{edge.end}"}
            insert_new(session, links, {"_key": edge.key, "w": edge.weight, **ends})
        session.flush()
        yield session


def seen(way: Way) -> list[Any]:
    """A way as the queries here return it."""
    numbers = [str(one) if one < VERTICES else None for one in way.vertices]
    return [numbers, list(way.keys)]


SHOWN: Final = "[p.vertices[*]._key, p.edges[*]._key]"


def as_seen(rows: list[Any]) -> list[str]:
    """Rows in an order of their own."""
    return sorted(map(repr, rows))


ROUND_AND_ROUND: Final = [Edge("e0", 0, 1, 1), Edge("e1", 1, 0, 2), Edge("e2", 0, 0, 3)]


@settings(GRAPHS, max_examples=250)
@given(graph=edges(), how=rules())
@example(ROUND_AND_ROUND, Rules("ANY", 1, 3, "none", "path", "dfs", None))
@example(ROUND_AND_ROUND, Rules("ANY", 1, 3, "path", "none", "bfs", None))
@example(ROUND_AND_ROUND, Rules("OUTBOUND", 0, 3, "none", "none", "weighted", 1))
def test_traversals_find_what_a_plain_search_finds(
    world: World, graph: list[Edge], how: Rules
) -> None:
    """Every way once: directions, depths, uniqueness, PRUNE, vertices that are gone."""
    with drawn(world, graph) as session:
        rows = run(session, f"{how.text} RETURN [{SHOWN}, v._key, e._key]")
    for (vertices, passed), vertex, edge in rows:
        assert vertices[-1] == vertex
        assert (passed[-1] if passed else None) == edge
    if how.vertices == "global":
        found = [len(passed) for (_, passed), _, _ in rows]
        assert len({repr(row[0]) for row in rows}) == len(rows)
        if how.order == "bfs":
            wanted = sorted(far for far in reached(graph, how).values() if far >= how.minimum)
            assert sorted(found) == wanted
        return
    assert as_seen([row[0] for row in rows]) == as_seen([seen(way) for way in walks(graph, how)])


@GRAPHS
@given(graph=edges(), how=rules())
def test_traversals_keep_their_order(world: World, graph: list[Edge], how: Rules) -> None:
    """In breadth by depth; by weight by what the way costs; in depth after the way before."""
    with drawn(world, graph) as session:
        rows = run(session, f"{how.text} RETURN [p.edges[*]._key, SUM(p.edges[*].w)]")
    if how.order == "bfs":
        depths = [len(keys) for keys, _ in rows]
        assert depths == sorted(depths)
    elif how.order == "weighted":
        weights = [weight or 0 for _, weight in rows]
        assert weights == sorted(weights)
    else:
        paths = [tuple(keys) for keys, _ in rows]
        for place, path in enumerate(paths):
            if len(path) > how.minimum:
                assert path[:-1] in paths[:place]


@GRAPHS
@given(graph=edges(), direction=DIRECTIONS, target=st.integers(0, VERTICES), weighted=st.booleans())
def test_the_shortest_path_is_as_short_as_can_be(
    world: World, graph: list[Edge], direction: str, target: int, *, weighted: bool
) -> None:
    """It leads from start to target edge by edge, costs what Dijkstra says, or is not there."""
    options = "OPTIONS {weightAttribute: 'w'}" if weighted else ""
    text = f"FOR v, e IN {direction} SHORTEST_PATH 'd/0' TO 'd/{target}' links {options}"
    with drawn(world, graph) as session:
        rows = run(session, f"{text} RETURN [v._key, e._key, e.w]")
    costs = cheapest(graph, 0, direction, weighted=weighted)
    if target not in costs:
        assert rows == []
        return
    passed = tuple(next(one for one in graph if one.key == key) for _, key, _ in rows[1:])
    assert sum(edge.weight if weighted else 1 for edge in passed) == costs[target]
    way = Way((0,))
    for edge, (key, _, _) in zip(passed, rows[1:], strict=True):
        nexts = [one for one in way.on([edge], direction) if seen(one)[0][-1] == key]
        assert nexts
        way = nexts[0]
    assert way.vertices[-1] == target


@settings(GRAPHS, max_examples=150)
@given(graph=edges(), direction=DIRECTIONS, target=st.integers(1, VERTICES), data=st.data())
def test_paths_are_all_there_is(
    world: World, graph: list[Edge], direction: str, target: int, data: st.DataObject
) -> None:
    """K_PATHS within its lengths, K_SHORTEST_PATHS cheapest first, ALL_SHORTEST_PATHS no longer."""
    every = simple(graph, direction, target)
    low = data.draw(st.integers(0, 3))
    high = low + data.draw(st.integers(0, 2))
    ends = f"'d/0' TO 'd/{target}' links"
    with drawn(world, graph) as session:
        within = run(session, f"FOR p IN {low}..{high} {direction} K_PATHS {ends} RETURN {SHOWN}")
        cheap = run(
            session,
            f"FOR p IN {direction} K_SHORTEST_PATHS {ends} OPTIONS {{weightAttribute: 'w'}}"
            f" RETURN [{SHOWN}, p.weight]",
        )
        short = run(session, f"FOR p IN {direction} ALL_SHORTEST_PATHS {ends} RETURN {SHOWN}")
    fitting = [way for way in every if low <= len(way.edges) <= high]
    assert as_seen(within) == as_seen([seen(way) for way in fitting])
    assert as_seen([shown for shown, _ in cheap]) == as_seen([seen(way) for way in every])
    assert [weight for _, weight in cheap] == sorted(way.weight for way in every)
    least = min((len(way.edges) for way in every), default=0)
    assert as_seen(short) == as_seen([seen(way) for way in every if len(way.edges) == least])
