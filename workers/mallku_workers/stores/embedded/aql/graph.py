"""Edges and vertices as graph statements see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.arguments import Document
from mallku_contracts.errors import GraphNotFound, PermissionDenied
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.access import Bound, choose
from mallku_workers.stores.embedded.aql.lookups import find_document
from mallku_workers.stores.embedded.aql.run import Run, failed, wrong
from mallku_workers.stores.embedded.catalog import Collection

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope

NOT_EDGES: Final = 1218
BAD_PARAMETER: Final = 10
NEGATIVE_WEIGHT: Final = 1507

STEP_BYTES: Final = 2_048
"""What a way back costs at every vertex of a walk in depth: edges that were read ahead, bytes."""

_ENDS: Final[dict[t.Direction, tuple[tuple[str, str], ...]]] = {
    "OUTBOUND": (("_from", "_to"),),
    "INBOUND": (("_to", "_from"),),
    "ANY": (("_from", "_to"), ("_to", "_from")),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One edge, and the id of the vertex that it leads to."""

    edge: Document
    vertex: str


@dataclass(frozen=True)
class Graph:
    """Edge collections, each with the direction in which its edges are followed.

    Attributes:
        vertices: The only collections whose vertices are walked to; None for all.
    """

    run: Run
    edges: Sequence[tuple[Collection, t.Direction]]
    vertices: frozenset[str] | None = None

    def restricted(self, options: dict[str, Any]) -> Graph:
        """The same within `edgeCollections` and `vertexCollections`, where OPTIONS name them."""
        edges, vertices = _names(options, "edgeCollections"), _names(options, "vertexCollections")
        kept = [one for one in self.edges if edges is None or one[0].name in edges]
        return replace(self, edges=kept, vertices=vertices)

    def steps(self, vertex: str) -> Iterator[Step]:
        """Every edge that leads on from `vertex`; with ANY a loop does so from either end."""
        for collection, direction in self.edges:
            for here, there in _ENDS[direction]:
                way = choose(collection, [Bound((here,), "==", vertex)])
                for edge in self.run.source.documents(way):
                    self.run.turn()
                    self.run.statistics.scanned_index += 1
                    if self._leads_within(edge[there]):
                        yield Step(edge, edge[there])

    def _leads_within(self, vertex: str) -> bool:
        return self.vertices is None or vertex.partition("/")[0] in self.vertices

    def vertex(self, handle: str) -> Document | None:
        """The document of a vertex, None where it is gone."""
        self.run.turn()
        return find_document(self.run, handle)


def _names(options: dict[str, Any], option: str) -> frozenset[str] | None:
    value = options.get(option)
    if isinstance(value, str):
        return frozenset((value,))
    return frozenset(filter(_is_text, value)) if isinstance(value, list) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def compile_graph(
    expressions: Expressions, run: Run, node: t.Graph, direction: t.Direction, scope: Scope
) -> Graph:
    """The graph that a statement names.

    Raises:
        GraphNotFound, CollectionNotFound: there is none of that name.
        InvalidQuery: a collection holds no edges, or is named with two directions (1218).
    """
    if isinstance(node, t.NamedGraph):
        return Graph(run, _named(expressions, run, node, direction, scope))
    found: dict[str, tuple[Collection, t.Direction]] = {}
    for one in node.collections:
        edges = _edges(expressions.collection(one.collection), one), one.direction or direction
        if found.setdefault(edges[0].name, edges) != edges:
            raise wrong(one, f"two directions for {edges[0].name!r}", NOT_EDGES)
    return Graph(run, list(found.values()))


def _named(
    expressions: Expressions, run: Run, node: t.NamedGraph, direction: t.Direction, scope: Scope
) -> list[tuple[Collection, t.Direction]]:
    name = expressions.constant(node.name, scope)
    graph = run.source.catalog.graphs.get(name) if isinstance(name, str) else None
    if graph is None:
        raise GraphNotFound(f"there is no graph {name!r:.80}", details={"name": name})
    catalog = run.source.catalog
    edges = [catalog.collection(one.edge_collection) for one in graph.edge_definitions]
    for collection in edges:
        if run.may_read is not None and not run.may_read(collection.name):
            raise PermissionDenied(f"{node.at}: you may not read {collection.name!r} by a query")
    return [(collection, direction) for collection in edges]


def _edges(collection: Collection, node: t.EdgeCollection) -> Collection:
    if not collection.edge:
        raise wrong(node, f"{collection.name!r} is no edge collection", NOT_EDGES)
    return collection


def vertex_id(run: Run, value: Any) -> str | None:
    """The id of a start or target: an id, or a document with one.

    What is neither warns; an object without an id is passed over in silence, as by ArangoDB 3.2.
    """
    handle = value.get("_id") if isinstance(value, dict) else value
    if isinstance(value, dict) and not isinstance(handle, str):
        return None
    if isinstance(handle, str) and "/" in handle:
        return handle
    run.warn(BAD_PARAMETER, "a vertex is named by its _id, or by a document that has one")
    return None


@dataclass(frozen=True, slots=True)
class Weights:
    """What an edge costs: an attribute of it, or as much as every other."""

    attribute: str | None = None
    default: float = 1.0

    @classmethod
    def of(cls, options: dict[str, Any]) -> Weights:
        """As `OPTIONS {weightAttribute: …, defaultWeight: …}` says."""
        name, default = options.get("weightAttribute"), options.get("defaultWeight")
        return cls(
            name if isinstance(name, str) else None,
            float(default) if default is not None and o.is_number(default) else 1.0,
        )

    def of_edge(self, node: t.Node, edge: Document) -> float:
        """The cost of one edge; `QueryFailed` where it is negative."""
        value = edge.get(self.attribute) if self.attribute is not None else None
        if value is None or not o.is_number(value):
            return self.default
        if value < 0:
            raise failed(node, "negative weights are not supported", NEGATIVE_WEIGHT)
        return float(value)


def compile_options(
    expressions: Expressions, node: t.ObjectLiteral | None, scope: Scope
) -> dict[str, Any]:
    """OPTIONS as values."""
    found: dict[str, Any] = {} if node is None else expressions.constant(node, scope)
    return found


def compile_depths(
    expressions: Expressions,
    minimum: t.Expression | None,
    maximum: t.Expression | None,
    scope: Scope,
) -> tuple[int, int]:
    """How far to go, at least and at most; 1..1 where nothing is said."""
    if minimum is None:
        return 1, 1
    low = _depth(expressions, minimum, scope)
    high = low if maximum is None else _depth(expressions, maximum, scope)
    if high < low:
        raise wrong(minimum, "the least depth is greater than the greatest", BAD_PARAMETER)
    return low, high


def _depth(expressions: Expressions, node: t.Expression, scope: Scope) -> int:
    value = o.to_number(expressions.constant(node, scope))
    if value < 0:
        raise wrong(node, "a depth is a number from 0 on", BAD_PARAMETER)
    return int(value)
