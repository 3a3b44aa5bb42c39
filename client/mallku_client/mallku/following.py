"""A query followed through its tree: which names in it are fields of secured documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_client.mallku.registry import is_field_uuid
from mallku_client.mallku.shapes import (
    PLAIN,
    SECURED,
    Many,
    Parts,
    Shape,
    cannot_follow,
    element,
    joined,
    many,
    parts,
)
from mallku_contracts.aql import tree as t
from mallku_contracts.aql.analysis import collection_name
from mallku_contracts.aql.visitor import map_children, walk

_MADE: Final = "mallku_field_"
"""What bind parameters begin with that stand for a secured field."""

_CURRENT: Final = "CURRENT"
_ITEM: Final = " item"
"""The element at hand of an expansion: no variable can be called so."""

_TELLS_NO_NAME: Final = frozenset(
    {"LENGTH", "COUNT", "COUNT_DISTINCT", "COUNT_UNIQUE", "IS_NULL", "IS_BOOL", "IS_NUMBER",
     "IS_STRING", "IS_ARRAY", "IS_LIST", "IS_OBJECT", "IS_DOCUMENT", "TYPENAME", "TO_BOOL",
     "POSITION", "HASH"}
)  # fmt: skip
"""Functions whose answer has nothing of their argument in it."""

_ELEMENT: Final = frozenset({"FIRST", "LAST", "NTH"})
_SAME: Final = frozenset(
    {"UNIQUE", "SORTED", "SORTED_UNIQUE", "REVERSE", "SLICE", "POP", "SHIFT", "REMOVE_NTH"}
)
_UNITED: Final = frozenset(
    {"UNION", "UNION_DISTINCT", "INTERSECTION", "APPEND", "MINUS", "NOT_NULL", "FIRST_DOCUMENT",
     "FIRST_LIST"}
)  # fmt: skip
_NAMING: Final[dict[str, Shape]] = {"KEEP": SECURED, "UNSET": SECURED, "HAS": PLAIN}
"""Functions that take names of attributes behind a document, and what they give."""

_MET_ON_THE_WAY: Final = frozenset({"DOCUMENT"})


@dataclass(frozen=True, slots=True)
class SecuredNames:
    """Which collections are secured, and what a field of theirs is called in the store."""

    collections: frozenset[str]
    rename: Callable[[str], str]


Scope = dict[str, Shape]
Seen = tuple[Any, Shape]
"""A node as it is sent, and what its value is."""


class Follower:
    """Goes through a query in its order, with what every variable is.

    Attributes:
        binds: The bind values, with those that stand for fields.
        met: Whether a secured collection was met.
    """

    def __init__(self, names: SecuredNames, binds: Mapping[str, Any]) -> None:
        self._names = names
        self.binds = dict(binds)
        self.met = False

    def query(self, query: t.Query) -> tuple[t.Query, Shape]:
        """The query with the UUIDs of secured fields, and what its rows are.

        Raises:
            InvalidQuery: names cannot follow; with line and column.
        """
        statements, shape = self._block(query.statements, {})
        return replace(query, statements=statements), shape

    def asked(self, query: t.Query) -> dict[str, Any]:
        """The bind values that a followed query asks for."""
        keys = {
            node.key if isinstance(node, t.CollectionBind) else node.name
            for node in walk(query)
            if isinstance(node, t.BindParameter | t.CollectionBind)
        }
        return {key: value for key, value in self.binds.items() if key in keys}

    # --- statements

    def _block(
        self, statements: tuple[t.Statement, ...], scope: Scope
    ) -> tuple[tuple[t.Statement, ...], Shape]:
        made: list[t.Statement] = []
        returned: Shape = PLAIN
        for statement in statements:
            if isinstance(statement, t.Return):
                value, returned = self._see(statement.value, scope)
                made.append(replace(statement, value=value))
            else:
                made.append(self._statement(statement, scope))
        return tuple(made), returned

    def _statement(self, statement: Any, scope: Scope) -> Any:
        match statement:
            case t.For():
                source, shape = self._see(statement.source, scope)
                scope[statement.variable] = element(shape)
                return replace(statement, source=source)
            case t.Let():
                value, scope[statement.variable] = self._see(statement.value, scope)
                return replace(statement, value=value)
            case t.Collect():
                return self._collect(statement, scope)
            case t.Traversal() | t.ShortestPath() | t.Paths():
                cannot_follow("a traversal meets documents of any collection", statement)
            case t.Insert() | t.Update() | t.Replace() | t.Remove() | t.Upsert():
                if self._is_secured(statement.collection):
                    cannot_follow("a query changes a secured collection", statement)
                return map_children(statement, lambda child: self._unless_name(child, scope))
            case _:
                pass
        return map_children(statement, lambda child: self._part(child, scope))

    def _part(self, node: t.Node, scope: Scope) -> t.Node:
        """Something below a statement that has no value of its own, or whose value ends there."""
        if isinstance(node, t.SortKey | t.Group | t.Aggregate | t.Prune):
            if isinstance(node, t.Aggregate):
                call, scope[node.variable] = self._see(node.call, scope)
                return replace(node, call=call)
            whole: t.Node = map_children(node, lambda child: self._part(child, scope))
            return whole
        made: t.Node = self._see(node, scope)[0]
        return made

    def _unless_name(self, node: t.Node, scope: Scope) -> t.Node:
        named = isinstance(node, t.Collection | t.CollectionBind)
        return node if named else self._part(node, scope)

    def _collect(self, statement: t.Collect, scope: Scope) -> t.Collect:
        gathered = {name: scope.get(name, PLAIN) for name in statement.keep or statement.variables}
        groups: list[t.Group] = []
        found: Scope = {}
        for group in statement.groups:
            value, found[group.variable] = self._see(group.value, scope)
            groups.append(replace(group, value=value))
        aggregates: list[t.Aggregate] = []
        for aggregate in statement.aggregates:
            call, found[aggregate.variable] = self._see(aggregate.call, scope)
            aggregates.append(replace(aggregate, call=call))
        projection, shape = statement.projection, parts(gathered)
        if projection is not None:
            projection, shape = self._see(projection, scope)
        if statement.into is not None:
            found[statement.into] = many(shape)
        scope |= found
        return replace(
            statement, groups=tuple(groups), aggregates=tuple(aggregates), projection=projection
        )

    # --- expressions

    def _see(self, node: Any, scope: Scope) -> Seen:
        match node:
            case t.Variable() | t.Item():
                name = _ITEM if isinstance(node, t.Item) else node.name
                return node, scope.get(name, PLAIN)
            case t.Collection() | t.CollectionBind():
                return node, many(SECURED) if self._is_secured(node) else PLAIN
            case _:
                return self._compound(node, scope)

    def _compound(self, node: Any, scope: Scope) -> Seen:
        match node:
            case t.Attribute():
                return self._attribute(node, scope)
            case t.Index():
                return self._index(node, scope)
            case t.ObjectLiteral():
                return self._object(node, scope)
            case t.Call():
                return self._function(node, scope)
            case t.Subquery() | t.Expansion() | t.ArrayMatch():
                return self._inner(node, scope)
            case _:
                return self._combined(node, scope)

    def _inner(self, node: t.Subquery | t.Expansion | t.ArrayMatch, scope: Scope) -> Seen:
        """What has variables of its own."""
        if isinstance(node, t.Subquery):
            statements, shape = self._block(node.statements, dict(scope))
            return replace(node, statements=statements), many(shape)
        if isinstance(node, t.Expansion):
            return self._expansion(node, scope)
        subject, shape = self._see(node.subject, scope)
        condition = self._maybe(node.condition, {**scope, _CURRENT: element(shape)})
        return replace(node, subject=subject, condition=condition), PLAIN

    def _combined(self, node: Any, scope: Scope) -> Seen:
        """What operators, ternaries and arrays make of their parts."""
        seen: list[tuple[t.Node, Shape]] = []

        def look(child: t.Node) -> t.Node:
            seen.append(self._see(child, scope))
            return seen[-1][0]

        made = map_children(node, look)
        match node:
            case t.ArrayLiteral():
                return made, many(joined(seen, node))
            case t.Ternary():
                return made, joined(seen[1:] if node.then is not None else seen, node)
            case t.Binary() if node.operator in ("AND", "OR"):
                whole = [each for each in seen if each[1] != PLAIN]
                return made, joined(seen, node) if whole else PLAIN
            case _:
                return made, PLAIN

    def _attribute(self, node: t.Attribute, scope: Scope) -> Seen:
        subject, shape = self._see(node.subject, scope)
        name: Any = node.name
        if shape == SECURED:
            return replace(node, subject=subject, name=self._renamed(name)), PLAIN
        if isinstance(shape, Parts):
            return replace(node, subject=subject), self._member(shape, name, node)
        return replace(node, subject=subject), PLAIN

    def _index(self, node: t.Index, scope: Scope) -> Seen:
        subject, shape = self._see(node.subject, scope)
        index: Any = node.index
        if shape == SECURED:
            if isinstance(index, t.BindParameter):
                return replace(node, subject=subject, index=self._renamed(index)), PLAIN
            if isinstance(index, t.Literal) and isinstance(index.value, str):
                renamed = replace(index, value=self._renamed(index.value))
                return replace(node, subject=subject, index=renamed), PLAIN
            cannot_follow("a computed name of a field", index)
        made = replace(node, subject=subject, index=self._see(index, scope)[0])
        if isinstance(shape, Parts):
            name = index.value if isinstance(index, t.Literal) else index
            return made, self._member(shape, name, node)
        return made, element(shape)

    def _object(self, node: t.ObjectLiteral, scope: Scope) -> Seen:
        members: list[t.Member] = []
        found: dict[str, Shape] = {}
        for member in node.members:
            value, shape = self._see(member.value, scope)
            name: Any = member.name
            if isinstance(name, t.BindParameter):
                found[str(self.binds[name.name])] = shape
            elif isinstance(name, str):
                found[name] = shape
            else:
                name = self._see(name, scope)[0]
                if shape != PLAIN:
                    cannot_follow("a secured document under a computed name", member)
            shorthand = member.shorthand and value == member.value
            members.append(replace(member, name=name, value=value, shorthand=shorthand))
        return replace(node, members=tuple(members)), parts(found)

    def _function(self, node: t.Call, scope: Scope) -> Seen:
        if node.name in _MET_ON_THE_WAY:
            cannot_follow(f"{node.name}() reads documents of any collection", node)
        seen = [self._see(argument, scope) for argument in node.arguments]
        made = replace(node, arguments=tuple(argument for argument, _ in seen))
        if all(shape == PLAIN for _, shape in seen):
            return made, PLAIN
        if node.name in _NAMING and seen[0][1] == SECURED:
            return self._named(made), _NAMING[node.name]
        return made, self._result(node, seen)

    def _result(self, node: t.Call, seen: list[Seen]) -> Shape:
        """What a function gives of secured documents that it is given."""
        first = seen[0][1]
        if node.name in _ELEMENT:
            return element(first)
        if node.name in _SAME:
            return first
        if node.name in _UNITED or (node.name == "MERGE" and _all_secured(seen)):
            return joined(seen, node)
        if node.name in ("FLATTEN", "PUSH", "UNSHIFT"):
            return self._array_function(node, seen)
        if node.name not in _TELLS_NO_NAME:
            cannot_follow(f"{node.name}() of a secured document", node)
        return PLAIN

    def _array_function(self, node: t.Call, seen: list[Seen]) -> Shape:
        if node.name == "FLATTEN":
            inner = element(seen[0][1])
            if len(seen) > 1 or not isinstance(inner, Many):
                cannot_follow("FLATTEN() of secured documents", node)
            return inner
        return many(joined([(seen[0][0], element(seen[0][1])), seen[1]], node))

    def _named(self, node: t.Call) -> t.Call:
        """KEEP, UNSET and HAS: what stands behind the document are names of its fields."""
        document, *named = node.arguments
        return replace(node, arguments=(document, *map(self._name_argument, named)))

    def _name_argument(self, node: t.Expression) -> t.Expression:
        if isinstance(node, t.Literal) and isinstance(node.value, str):
            return replace(node, value=self._renamed(node.value))
        if isinstance(node, t.BindParameter):
            renamed: t.Expression = self._renamed(node)
            return renamed
        if isinstance(node, t.ArrayLiteral):
            return replace(node, items=tuple(map(self._name_argument, node.items)))
        cannot_follow("a computed name of a field", node)
        return node

    def _expansion(self, node: t.Expansion, scope: Scope) -> Seen:
        subject, shape = self._see(node.subject, scope)
        for _ in range(node.levels):
            shape = element(shape)
        inner = {**scope, _ITEM: shape, _CURRENT: shape}
        tail, found = self._see(node.tail, inner)
        projection = node.projection
        if projection is not None:
            projection, found = self._see(projection, inner)
        made = replace(
            node,
            subject=subject,
            tail=tail,
            condition=self._maybe(node.condition, inner),
            projection=projection,
        )
        return made, many(found)

    def _maybe(self, node: Any, scope: Scope) -> Any:
        return None if node is None else self._see(node, scope)[0]

    # --- names

    def _member(self, shape: Parts, name: Any, node: t.Node) -> Shape:
        if isinstance(name, t.BindParameter):
            name = self.binds.get(name.name)
        if not isinstance(name, str):
            cannot_follow("a computed name in front of a secured document", node)
        return shape.members.get(name, PLAIN)

    def _renamed(self, name: Any) -> Any:
        """What a field is called in the store; a bind parameter becomes one of our own."""
        if isinstance(name, str):
            return self._stored(name)
        value = self.binds[name.name]
        stored: Any = None
        if isinstance(value, str):
            stored = self._stored(value)
        elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            stored = [self._stored(value[0]), *value[1:]]
        else:
            cannot_follow("a bind value in the place of a name", name)
        made = f"{_MADE}{len(self.binds)}"
        self.binds[made] = stored
        return replace(name, name=made)

    def _stored(self, name: str) -> str:
        return name if name.startswith("_") or is_field_uuid(name) else self._names.rename(name)

    def _is_secured(self, node: t.CollectionName) -> bool:
        secured = collection_name(node, self.binds) in self._names.collections
        self.met = self.met or secured
        return secured


def _all_secured(seen: list[Seen]) -> bool:
    return all(shape == SECURED for _, shape in seen)
