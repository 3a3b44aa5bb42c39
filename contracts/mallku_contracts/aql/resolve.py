"""What each name means, and what ArangoDB refuses before it has seen any data.

The parser leaves every name a `Variable`; this turns those that no scope knows into `Collection`
nodes and refuses, with ArangoDB's numbers, what cannot be run whatever the data. Nodes that do not
change are shared, not copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from mallku_contracts.aql import tree
from mallku_contracts.aql.checks import (
    UNKNOWN_VARIABLE,
    check_aggregate,
    check_bounds,
    check_call,
    check_collection,
    check_options,
)
from mallku_contracts.aql.lexer import SYNTAX, TOO_DEEP, refuse
from mallku_contracts.aql.scopes import NEW, OLD, Scopes
from mallku_contracts.aql.visitor import map_children, walk

MAX_TREE_DEPTH: Final = 150
"""Expressions below expressions, levels (`a OR b OR c` is two); see `lexer.MAX_NESTING`."""

_NodeT = TypeVar("_NodeT", bound=tree.Node)


def resolve(query: tree.Query) -> tree.Query:
    """`query` with its names resolved.

    Raises:
        InvalidQuery: see `parsing.parse`.
    """
    return _Resolver().query(query)


class _Resolver:
    def __init__(self) -> None:
        self._scopes = Scopes()
        self._depth = 0

    def query(self, query: tree.Query) -> tree.Query:
        for collection in query.collections:
            check_collection(collection)
        statements = self._statements(query.statements)
        return replace(query, statements=statements)

    def _statements(self, statements: tuple[tree.Statement, ...]) -> tuple[tree.Statement, ...]:
        resolved: list[tree.Statement] = []
        for each in statements:
            resolved.append(_STATEMENTS[type(each)](self, each))  # noqa: PERF401 - a frame less
        return tuple(resolved)

    # --- expressions ---

    def expression(self, node: Any) -> Any:
        """`node` with the names below it resolved."""
        self._depth += 1
        if self._depth > MAX_TREE_DEPTH:
            what = f"the query nests deeper than {MAX_TREE_DEPTH} levels"
            refuse(what, node.at, number=TOO_DEEP)
        special = _EXPRESSIONS.get(type(node))
        new = special(self, node) if special else map_children(node, self.expression)
        self._depth -= 1
        return new

    def _maybe(self, node: Any) -> Any:
        return None if node is None else self.expression(node)

    def variable(self, node: tree.Variable) -> tree.Expression:
        name = self._scopes.resolve(node.name)
        if name is None:
            collection = tree.Collection(node.name, at=node.at)
            check_collection(collection)
            return collection
        return node if name == node.name else tree.Variable(name, at=node.at)

    def member(self, node: tree.Member) -> tree.Member:
        if node.shorthand and self._scopes.resolve(str(node.name)) is None:
            what = f"unknown variable {node.name!r} in an object"
            refuse(what, node.at, number=UNKNOWN_VARIABLE, near=str(node.name))
        return map_children(node, self.expression)

    def call(self, node: tree.Call) -> tree.Call:
        check_call(node)
        return map_children(node, self.expression)

    def subquery(self, node: tree.Subquery) -> tree.Subquery:
        self._scopes.begin_subquery()
        statements = self._statements(node.statements)
        self._scopes.end_subquery()
        return replace(node, statements=statements)

    def expansion(self, node: tree.Expansion) -> tree.Expansion:
        subject = self.expression(node.subject)
        tail = self.expression(node.tail)
        self._scopes.enter_brackets()
        inline = {
            name: self._maybe(getattr(node, name))
            for name in ("condition", "offset", "count", "projection")
        }
        self._scopes.leave_brackets()
        return replace(node, subject=subject, tail=tail, **inline)

    def array_match(self, node: tree.ArrayMatch) -> tree.ArrayMatch:
        subject = self.expression(node.subject)
        self._scopes.enter_brackets()
        count, condition = self._maybe(node.count), self._maybe(node.condition)
        self._scopes.leave_brackets()
        return replace(node, subject=subject, count=count, condition=condition)

    # --- statements that read ---

    def for_each(self, node: tree.For) -> tree.For:
        source = self.expression(node.source)
        self._scopes.begin_loop()
        self._scopes.declare(node.variable, node.at)
        return replace(node, source=source, options=self._options(node.options))

    def _options(self, options: tree.ObjectLiteral | None) -> tree.ObjectLiteral | None:
        check_options(options)
        return options

    def traversal(self, node: tree.Traversal) -> tree.Traversal:
        depth = {"minimum": self._maybe(node.minimum), "maximum": self._maybe(node.maximum)}
        start = self.expression(node.start)
        self._graph(node.graph)
        self._declare_loop(node, node.vertex, node.edge, node.path)
        prune = node.prune and self._prune(node.prune)
        options = self._options(node.options)
        return replace(node, **depth, start=start, prune=prune, options=options)

    def _prune(self, prune: tree.Prune) -> tree.Prune:
        for node in walk(prune.condition):
            if isinstance(node, tree.Subquery):
                refuse("a PRUNE condition must not use a subquery", node.at)
        condition = self.expression(prune.condition)
        if prune.variable is not None:
            self._scopes.declare(prune.variable, prune.at)
        return replace(prune, condition=condition)

    def _declare_loop(self, node: tree.Node, *names: str | None) -> None:
        self._scopes.begin_loop()
        for name in names:
            if name is not None:
                self._scopes.declare(name, node.at)

    def _graph(self, graph: tree.Graph) -> None:
        if isinstance(graph, tree.EdgeCollections):
            for edge in graph.collections:
                check_collection(edge.collection)

    def shortest_path(self, node: tree.ShortestPath) -> tree.ShortestPath:
        start, target = self.expression(node.start), self.expression(node.target)
        self._graph(node.graph)
        self._declare_loop(node, node.vertex, node.edge)
        return replace(node, start=start, target=target, options=self._options(node.options))

    def paths(self, node: tree.Paths) -> tree.Paths:
        depth = {"minimum": self._maybe(node.minimum), "maximum": self._maybe(node.maximum)}
        start, target = self.expression(node.start), self.expression(node.target)
        self._graph(node.graph)
        self._declare_loop(node, node.path)
        options = self._options(node.options)
        return replace(node, **depth, start=start, target=target, options=options)

    def plain(self, node: _NodeT) -> _NodeT:
        return map_children(node, self.expression)

    def let(self, node: tree.Let) -> tree.Let:
        value = self.expression(node.value)
        self._scopes.declare(node.variable, node.at)
        return replace(node, value=value)

    def returns(self, node: tree.Return) -> tree.Return:
        if node.distinct and not self._scopes.in_loop:
            refuse("RETURN DISTINCT needs a FOR before it", node.at, near="DISTINCT")
        new = map_children(node, self.expression)
        self._scopes.end_loops()
        return new

    # --- COLLECT and WINDOW ---

    def collect(self, node: tree.Collect) -> tree.Collect:
        gathered = self._scopes.gathered()
        introduced: list[str] = []
        groups = tuple([self._introduce(group, introduced) for group in node.groups])
        aggregates = self._aggregates(node.aggregates, introduced)
        projection = self._fresh(node.projection, introduced)
        self._keep(node, introduced)
        self._switch(node, introduced)
        return replace(
            node,
            groups=groups,
            aggregates=aggregates,
            projection=projection,
            options=self._options(node.options),
            variables=gathered if node.into is not None else (),
        )

    def _introduce(self, group: tree.Group, introduced: list[str]) -> tree.Group:
        value = self._fresh(group.value, introduced)
        self._scopes.declare(group.variable, group.at)
        introduced.append(group.variable)
        return replace(group, value=value)

    def _aggregates(
        self, aggregates: tuple[tree.Aggregate, ...], introduced: list[str]
    ) -> tuple[tree.Aggregate, ...]:
        new: list[tree.Aggregate] = []
        for aggregate in aggregates:
            check_aggregate(aggregate.call)
            call = map_children(aggregate.call, lambda each: self._fresh(each, introduced))
            self._scopes.declare(aggregate.variable, aggregate.at)
            introduced.append(aggregate.variable)
            new.append(replace(aggregate, call=call))
        return tuple(new)

    def _fresh(self, node: Any, introduced: list[str]) -> Any:
        """Resolve what must not use the variables that the same COLLECT introduces."""
        if node is None:
            return None
        for each in walk(node):
            if isinstance(each, tree.Variable) and each.name in introduced:
                what = f"variable {each.name!r} is made by the same COLLECT"
                refuse(what, each.at, number=UNKNOWN_VARIABLE, near=each.name)
        return self.expression(node)

    def _keep(self, node: tree.Collect, introduced: list[str]) -> None:
        if node.keep is None:
            return
        if node.into is None:
            refuse("KEEP needs an INTO before it", node.at, near="KEEP")
        for name in node.keep:
            number = UNKNOWN_VARIABLE if name in introduced else SYNTAX
            if name in introduced or not self._scopes.has(name):
                refuse(f"unknown variable {name!r} for KEEP", node.at, number=number, near=name)

    def _switch(self, node: tree.Collect, introduced: list[str]) -> None:
        """From here on only what COLLECT made is left of this query's loops."""
        if self._scopes.in_loop:
            self._scopes.end_loops()
            self._scopes.begin_loop()
            for name in introduced:
                self._scopes.declare(name, node.at)
        for made in (node.into, node.count):
            if made is not None:
                self._scopes.declare(made, node.at)

    def window(self, node: tree.Window) -> tree.Window:
        check_bounds(node)
        value, bounds = self._maybe(node.value), self.expression(node.bounds)
        aggregates = self._aggregates(node.aggregates, [])
        return replace(node, value=value, bounds=bounds, aggregates=aggregates)

    # --- statements that write ---

    def writes(self, node: Any) -> Any:
        check_collection(node.collection)
        self._options(node.options)
        changes = {
            name: self._maybe(getattr(node, name))
            for name in ("key", "document", "patch")
            if hasattr(node, name)
        }
        self._scopes.declare_special(*_MAKES[type(node)])
        return replace(node, **changes)

    def upsert(self, node: tree.Upsert) -> tree.Upsert:
        check_collection(node.collection)
        self._options(node.options)
        search = self.expression(node.search)
        self._scopes.declare_special(OLD)
        insert, change = self.expression(node.insert), self.expression(node.change)
        self._scopes.declare_special(NEW)
        return replace(node, search=search, insert=insert, change=change)


_MAKES: Final[dict[type, tuple[str, ...]]] = {
    tree.Insert: (OLD, NEW),
    tree.Update: (OLD, NEW),
    tree.Replace: (OLD, NEW),
    tree.Remove: (OLD,),
}

_Action = Callable[[_Resolver, Any], Any]

_EXPRESSIONS: Final[dict[type, _Action]] = {
    tree.Variable: _Resolver.variable,
    tree.Member: _Resolver.member,
    tree.Call: _Resolver.call,
    tree.Subquery: _Resolver.subquery,
    tree.Expansion: _Resolver.expansion,
    tree.ArrayMatch: _Resolver.array_match,
}

_STATEMENTS: Final[dict[type, _Action]] = {
    tree.For: _Resolver.for_each,
    tree.Traversal: _Resolver.traversal,
    tree.ShortestPath: _Resolver.shortest_path,
    tree.Paths: _Resolver.paths,
    tree.Filter: _Resolver.plain,
    tree.Sort: _Resolver.plain,
    tree.Limit: _Resolver.plain,
    tree.Let: _Resolver.let,
    tree.Collect: _Resolver.collect,
    tree.Window: _Resolver.window,
    tree.Return: _Resolver.returns,
    tree.Insert: _Resolver.writes,
    tree.Update: _Resolver.writes,
    tree.Replace: _Resolver.writes,
    tree.Remove: _Resolver.writes,
    tree.Upsert: _Resolver.upsert,
}
