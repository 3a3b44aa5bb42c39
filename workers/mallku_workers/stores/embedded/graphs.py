"""Named graphs: which edge collections connect which vertex collections."""

from __future__ import annotations

from collections.abc import Iterable

from mallku_contracts import arguments as a
from mallku_contracts.errors import (
    CollectionExists,
    GraphExists,
    GraphNotFound,
    InvalidArguments,
    NotSupported,
)
from mallku_contracts.results import GraphInfo
from mallku_contracts.subjects import check_name
from mallku_workers.stores.documents import to_text
from mallku_workers.stores.embedded.catalog import Catalog, EdgeDefinition, Graph
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.session import Session


def create_graph(session: Session, _name: str, arguments: a.CreateGraph) -> GraphInfo:
    """A new graph; collections that it names and that are missing are made.

    Raises:
        GraphExists, InvalidArguments
        CollectionExists: an edge collection's name belongs to a collection of documents.
    """
    check_name(arguments.name, "graph")
    if arguments.name in session.catalog.graphs:
        raise GraphExists(f"there is a graph {arguments.name} already")
    graph = _graph(arguments)
    _check(graph)
    _make_missing(session, graph)
    definitions = [
        (one.edge_collection, one.from_vertex_collections, one.to_vertex_collections)
        for one in graph.edge_definitions
    ]
    session.connection.execute(
        "INSERT INTO mallku_graphs (name, definitions, orphans) VALUES (?, ?, ?)",
        (graph.name, to_text(definitions), to_text(graph.orphan_collections)),
    )
    session.change_catalog()
    return _info(graph)


def _graph(arguments: a.CreateGraph) -> Graph:
    definitions = tuple(
        EdgeDefinition(
            one.edge_collection,
            tuple(sorted(set(one.from_vertex_collections))),
            tuple(sorted(set(one.to_vertex_collections))),
        )
        for one in arguments.edge_definitions
    )
    return Graph(arguments.name, definitions, tuple(sorted(set(arguments.orphan_collections))))


def _check(graph: Graph) -> None:
    edges = [one.edge_collection for one in graph.edge_definitions]
    if len(set(edges)) != len(edges):
        raise InvalidArguments("edge_definitions: an edge collection is named twice")
    for one in graph.edge_definitions:
        if not one.from_vertex_collections or not one.to_vertex_collections:
            raise InvalidArguments(f"edge_definitions: {one.edge_collection!r:.80} has no vertices")
    for orphan in set(graph.orphan_collections) & {*graph.vertices, *edges}:
        raise InvalidArguments(f"orphan_collections: {orphan!r:.80} belongs to an edge definition")


def _make_missing(session: Session, graph: Graph) -> None:
    _make(session, (one.edge_collection for one in graph.edge_definitions), edge=True)
    _make(session, sorted(graph.vertices | set(graph.orphan_collections)), edge=False)


def _make(session: Session, names: Iterable[str], *, edge: bool) -> None:
    for name in dict.fromkeys(names):
        known = session.catalog.collections.get(name)
        if known is None:
            create_collection(session, name, a.CreateCollection(edge=edge))
        elif edge and not known.edge:
            raise CollectionExists(f"{name!r:.80} is a collection of documents, not of edges")


def drop_graph(session: Session, _name: str, arguments: a.DropGraph) -> bool:
    """Remove a graph, and none of its collections; False where a missing one is ignored.

    Raises:
        GraphNotFound
        NotSupported: for `drop_collections`: what is dropped has to be named.
    """
    if arguments.drop_collections:
        raise NotSupported("drop_collections: drop each collection by its name instead")
    if arguments.name not in session.catalog.graphs:
        if arguments.ignore_missing:
            return False
        raise GraphNotFound(
            f"there is no graph {arguments.name!r:.80}", details={"name": arguments.name}
        )
    session.connection.execute("DELETE FROM mallku_graphs WHERE name = ?", (arguments.name,))
    session.change_catalog()
    return True


def list_graphs(catalog: Catalog) -> list[GraphInfo]:
    """All graphs by name."""
    return [_info(graph) for _, graph in sorted(catalog.graphs.items())]


def _info(graph: Graph) -> GraphInfo:
    return {
        "name": graph.name,
        "edge_definitions": [
            {
                "edge_collection": one.edge_collection,
                "from_vertex_collections": list(one.from_vertex_collections),
                "to_vertex_collections": list(one.to_vertex_collections),
            }
            for one in graph.edge_definitions
        ],
        "orphan_collections": list(graph.orphan_collections),
    }
