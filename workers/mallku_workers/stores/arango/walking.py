"""Traversals of queries that may not read everything, held to the collections that they may.

A traversal meets whatever documents the edges lead to. ArangoDB can be told from which collections
they may come (manual, "Graph traversals", option `vertexCollections`), and it holds to that
everywhere but at the start, which is always allowed: where the start is not a constant, the query
itself checks it. A path search has no such option, and a function that looks documents up by a
value neither: these stay refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.functions import READING
from mallku_contracts.aql.visitor import map_children, walk
from mallku_contracts.errors import NotSupported, PermissionDenied
from mallku_workers.stores.base import RunnableQuery

VERTICES: Final = "vertexCollections"
"""The option that says from which collections vertices may come; an empty list says nothing."""

_LOOKS_UP: Final = READING | {"APPLY", "CALL", "WITHIN", "WITHIN_RECTANGLE"}
"""Functions that read by a name or an id that is a value, or may be told to call one that does."""

_CANDIDATE: Final = "mallku_start"


def confined(query: RunnableQuery) -> t.Query:
    """The query's tree, with traversals that meet nothing which the asker may not read.

    Vertices come from the collections that the query was authorized to read: those of the named
    graph, or of WITH.

    Raises:
        NotSupported: it uses what cannot be held to collections.
        PermissionDenied: a traversal starts in another collection.
    """
    if query.may_read is None:
        return query.tree
    _refuse_wandering(query.tree)
    if not any(isinstance(node, t.Traversal) for node in walk(query.tree)):
        return query.tree
    if query.uses is None:
        raise NotSupported("it is not known which collections this traversal may meet")
    return _Confining(query.binds, query.uses.reads, query.tree).query()


def _refuse_wandering(tree: t.Query) -> None:
    for node in walk(tree):
        if isinstance(node, t.ShortestPath | t.Paths):
            what = "a path search"
        elif isinstance(node, t.Call) and node.name in _LOOKS_UP:
            what = node.name
        else:
            continue
        raise NotSupported(
            f"on ArangoDB {what} may meet documents of any collection: have the query's text"
            " approved as a named query"
        )


class _Confining:
    def __init__(self, binds: t.BindValues, reads: Iterable[str], tree: t.Query) -> None:
        self._binds = binds
        self._reads = tuple(sorted(reads))
        self._tree = tree

    def query(self) -> t.Query:
        """The whole query."""
        return map_children(self._tree, self._node)

    def _node(self, node: Any) -> Any:
        node = map_children(node, self._node)
        return self._traversal(node) if isinstance(node, t.Traversal) else node

    def _traversal(self, node: t.Traversal) -> t.Traversal:
        if isinstance(node.graph, t.EdgeCollections) and not self._tree.collections:
            raise NotSupported(
                f"{node.at}: on ArangoDB, name the collections of the vertices by WITH at the start"
            )
        options = () if node.options is None else node.options.members
        if any(member.name == VERTICES or not isinstance(member.name, str) for member in options):
            raise NotSupported(f"{node.at}: on ArangoDB, {VERTICES} is set to what you may read")
        member = t.Member(VERTICES, _texts(self._reads))
        held = t.ObjectLiteral((*options, member))
        return replace(node, start=self._start(node.start), options=held)

    def _start(self, start: t.Expression) -> t.Expression:
        if isinstance(start, t.Literal | t.BindParameter):
            value = start.value if isinstance(start, t.Literal) else self._binds.get(start.name)
            handle = value.get("_id") if isinstance(value, dict) else value
            if isinstance(handle, str) and handle.partition("/")[0] in self._reads:
                return start
            raise PermissionDenied(f"{start.at}: a traversal starts at a document you may read")
        return _checked(start, self._reads)


def _checked(start: t.Expression, reads: tuple[str, ...]) -> t.Expression:
    """`FIRST(FOR s IN [start] FILTER PARSE_IDENTIFIER(s).collection IN [reads] RETURN s)`."""
    candidate = t.Variable(_CANDIDATE)
    collection = t.Attribute(t.Call("PARSE_IDENTIFIER", (candidate,)), "collection")
    among = t.Binary("IN", collection, _texts(reads))
    return t.Call(
        "FIRST",
        (
            t.Subquery(
                (
                    t.For(_CANDIDATE, t.ArrayLiteral((start,))),
                    t.Filter(among),
                    t.Return(candidate),
                )
            ),
        ),
    )


def _texts(values: Iterable[str]) -> t.ArrayLiteral:
    return t.ArrayLiteral(tuple(t.Literal(value) for value in values))
