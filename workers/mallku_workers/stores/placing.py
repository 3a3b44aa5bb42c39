"""Where in a query's text stands what the database does not have."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.visitor import walk
from mallku_contracts.errors import CollectionNotFound, GraphNotFound
from mallku_workers.stores.base import RunnableQuery


@contextmanager
def placing(query: RunnableQuery) -> Generator[None]:
    """A collection or graph that is not found within is told with line and column.

    Raises:
        CollectionNotFound, GraphNotFound: with `line` and `column` in their details, where the
            query names what is missing.
    """
    try:
        yield
    except (CollectionNotFound, GraphNotFound) as error:
        at = _place(query, error)
        if at is None or "line" in error.details:
            raise
        details = {**error.details, "line": at.line, "column": at.column}
        where = f"at line {at.line}, column {at.column}"
        raise type(error)(f"{error.message}, {where}", details=details) from None


def _place(query: RunnableQuery, error: CollectionNotFound | GraphNotFound) -> t.Position | None:
    name = error.details.get("name")
    named = _collections if isinstance(error, CollectionNotFound) else _graphs
    places = [at for known, at in named(query) if name in (None, known)]
    # Who says not which one is missing can mean only the one that there is.
    return places[0] if places and (name is not None or len(places) == 1) else None


def _collections(query: RunnableQuery) -> Iterator[tuple[object, t.Position]]:
    for node in walk(query.tree):
        if isinstance(node, t.Collection):
            yield node.name, node.at
        elif isinstance(node, t.CollectionBind):
            yield query.binds.get(node.key), node.at


def _graphs(query: RunnableQuery) -> Iterator[tuple[object, t.Position]]:
    for node in walk(query.tree):
        if isinstance(node, t.NamedGraph):
            yield _value(node.name, query), node.at


def _value(node: t.Expression, query: RunnableQuery) -> object:
    if isinstance(node, t.BindParameter):
        return query.binds.get(node.name)
    return node.value if isinstance(node, t.Literal) else None
