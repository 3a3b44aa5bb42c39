"""What can be refused once the bind values are there, and still without any data.

`check_run` is what a store calls between `parsing.parse` and its own plan.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.aql.checks import ILLEGAL_NAME, is_collection_name
from mallku_contracts.aql.functions import READING
from mallku_contracts.aql.lexer import refuse
from mallku_contracts.aql.tree import (
    START,
    Attribute,
    BindParameter,
    BindValues,
    Call,
    Collection,
    CollectionBind,
    CollectionName,
    For,
    Limit,
    Literal,
    Member,
    Modification,
    NamedGraph,
    Node,
    ObjectLiteral,
    Paths,
    Query,
    ShortestPath,
    Subquery,
    Traversal,
    Unary,
)
from mallku_contracts.aql.visitor import children, walk

MAX_QUERY_COLLECTIONS: Final = 256
"""Collections that one query may name: the policy is asked about each."""

OUT_OF_RANGE: Final = 1504
TOO_MANY_COLLECTIONS: Final = 1522
BIND_MISSING: Final = 1551
BIND_UNDECLARED: Final = 1552
BIND_TYPE: Final = 1553
ARRAY_EXPECTED: Final = 1563
ACCESS_AFTER_MODIFICATION: Final = 1579

_UNKNOWN: Final = object()
"""A value that only running the query would tell."""


def check_run(query: Query, values: BindValues) -> None:
    """Refuse what cannot run with these bind values, whatever the data.

    Raises:
        InvalidQuery: 1551 for a bind parameter without a value, 1552 for a value without a bind
            parameter, 1553 for one of the wrong type, 1208 for no name of a collection, 1504 for a
            LIMIT that is no number or negative, 1563 for a FOR over no array, 1501 for an invalid
            depth or start of a traversal, 1522 for more than `MAX_QUERY_COLLECTIONS`, 1579 for
            reading what the query has written before.
    """
    check_binds(query, values)
    named: set[str] = set()
    for node in walk(query):
        if isinstance(node, Collection | CollectionBind):
            named.add(node.name if isinstance(node, Collection) else str(values[node.key]))
        elif isinstance(node, Limit):
            _check_limit(node, values)
        elif isinstance(node, For):
            _check_source(node, values)
        elif isinstance(node, Traversal | Paths | ShortestPath):
            _check_depth(node, values)
            _check_ends(node, values)
    if len(named) > MAX_QUERY_COLLECTIONS:
        what = f"a query names at most {MAX_QUERY_COLLECTIONS} collections"
        refuse(what, START, number=TOO_MANY_COLLECTIONS)
    _Accesses(values).block(query.statements, level=0)


def check_binds(query: Query, values: BindValues) -> None:
    """Refuse bind values that are missing, not asked for, or of the wrong type."""
    asked: set[str] = set()
    for node in walk(query):
        if isinstance(node, BindParameter | CollectionBind):
            key = node.key if isinstance(node, CollectionBind) else node.name
            if key not in values:
                what = f"no value for the bind parameter {key!r}"
                refuse(what, node.at, number=BIND_MISSING, near=f"@{key}")
            asked.add(key)
            if isinstance(node, CollectionBind):
                _check_collection(node, values[key])
        elif isinstance(node, Attribute | Member | NamedGraph):
            _check_name(node, values)
    for key in values:
        if key not in asked:
            what = f"the query does not ask for the bind parameter {key!r}"
            refuse(what, START, number=BIND_UNDECLARED)


def _check_collection(node: CollectionBind, value: object) -> None:
    if not isinstance(value, str):
        what = f"the bind parameter {node.key!r} has to be the name of a collection"
        refuse(what, node.at, number=BIND_TYPE, near=f"@{node.key}")
    if not is_collection_name(value):
        what = f"the bind parameter {node.key!r} is no name of a collection"
        refuse(what, node.at, number=ILLEGAL_NAME, near=f"@{node.key}")


def _check_name(node: Attribute | Member | NamedGraph, values: BindValues) -> None:
    """`x.@path` takes a list of names too: one below the other."""
    if not isinstance(node.name, BindParameter) or node.name.name not in values:
        return
    value = values[node.name.name]
    steps = value if isinstance(node, Attribute) and isinstance(value, list) else [value]
    if not steps or not all(isinstance(step, str) for step in steps):
        what = f"the bind parameter {node.name.name!r} has to be a name"
        refuse(what, node.name.at, number=BIND_TYPE, near=f"@{node.name.name}")


def constant(node: Node | None, values: BindValues) -> Any:
    """The value of a literal, of `-1` and of a bind parameter; for all else a private mark."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, BindParameter):
        return values[node.name]
    if isinstance(node, Unary) and node.operator == "-":
        value = constant(node.operand, values)
        return -value if _is_number(value) else _UNKNOWN
    return _UNKNOWN


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_limit(limit: Limit, values: BindValues) -> None:
    for node in (limit.offset, limit.count):
        if node is None:
            continue
        value = constant(node, values)
        if value is not None and not (_is_number(value) and value >= 0):
            refuse("LIMIT takes numbers from 0 upwards", node.at, number=OUT_OF_RANGE)


def _check_source(loop: For, values: BindValues) -> None:
    value = constant(loop.source, values)
    if isinstance(loop.source, ObjectLiteral) or not (value is _UNKNOWN or _is_array(value)):
        what = "FOR runs over a collection or an array"
        refuse(what, loop.source.at, number=ARRAY_EXPECTED)


def _is_array(value: object) -> bool:
    return isinstance(value, list | tuple)


def _check_depth(node: Traversal | Paths | ShortestPath, values: BindValues) -> None:
    given = () if isinstance(node, ShortestPath) else (node.minimum, node.maximum)
    depths = [constant(each, values) for each in given if each is not None]
    known = [depth for depth in depths if depth is not _UNKNOWN]
    whole = all(_is_number(each) and each >= 0 and int(each) == each for each in known)
    if not whole or (len(known) > 1 and known[0] > known[1]):
        refuse("a traversal's depth is a whole number, or a range of them", node.at)


def _check_ends(node: Traversal | Paths | ShortestPath, values: BindValues) -> None:
    ends = [node.start] if isinstance(node, Traversal) else [node.start, node.target]
    for end in ends:
        value = constant(end, values)
        if value is None or isinstance(value, bool | int | float):
            refuse("a start or target is an _id, or an object that has one", end.at)


class _Accesses:
    """Goes through a query in its order, and remembers what was read and written so far."""

    def __init__(self, values: BindValues) -> None:
        self._values = values
        self._written: set[str] = set()
        self._read_at: dict[str, int] = {}

    def block(self, statements: tuple[Node, ...], level: int) -> None:
        for statement in statements:
            target = statement.collection if isinstance(statement, Modification) else None
            if isinstance(statement, Traversal | ShortestPath | Paths) and self._written:
                self._refuse("a traversal", statement)
            for child in children(statement):
                if child is not target:
                    self._below(child, level)
            if target is not None:
                self._write(target, level)

    def _below(self, node: Node, level: int) -> None:
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if isinstance(here, Subquery):
                self.block(here.statements, level + 1)
                continue
            self._look(here, level)
            waiting.extend(reversed(children(here)))

    def _look(self, node: Node, level: int) -> None:
        if isinstance(node, Call) and node.name in READING and self._written:
            self._refuse(f"{node.name}()", node)
        if isinstance(node, Collection | CollectionBind):
            name = self._name(node)
            if name in self._written:
                self._refuse(f"reading {name!r}", node)
            self._read_at.setdefault(name, level)

    def _write(self, target: CollectionName, level: int) -> None:
        name = self._name(target)
        if name in self._written or self._read_at.get(name, level) < level:
            self._refuse(f"writing {name!r}", target)
        self._written.add(name)

    def _name(self, node: CollectionName) -> str:
        return node.name if isinstance(node, Collection) else str(self._values[node.key])

    def _refuse(self, what: str, node: Node) -> None:
        refuse(f"{what} after the query has changed it", node.at, number=ACCESS_AFTER_MODIFICATION)
