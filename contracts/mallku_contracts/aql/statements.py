"""The nodes of the tree that a query is a sequence of, and the parts of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf
from typing import TypeAlias

from mallku_contracts.aql.expressions import (
    Call,
    CollectionName,
    Expression,
    Member,
    ObjectLiteral,
)
from mallku_contracts.aql.node import Direction, Node, PathKind


@dataclass(frozen=True, slots=True)
class For(Node):
    """`FOR variable IN source OPTIONS {…}`: a collection, an array, a range."""

    variable: str
    source: Expression
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class NamedGraph(Node):
    """`GRAPH "name"`, `GRAPH @name`."""

    name: Expression


@dataclass(frozen=True, slots=True)
class EdgeCollection(Node):
    """One edge collection of an anonymous graph; `direction` overrules the traversal's."""

    collection: CollectionName
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class EdgeCollections(Node):
    """An anonymous graph: `knows, INBOUND follows, ANY @@more`."""

    collections: tuple[EdgeCollection, ...]


Graph: TypeAlias = NamedGraph | EdgeCollections


@dataclass(frozen=True, slots=True)
class Prune(Node):
    """`PRUNE condition`, `PRUNE variable = condition`."""

    condition: Expression
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Traversal(Node):
    """`FOR vertex, edge, path IN minimum..maximum OUTBOUND start GRAPH … PRUNE … OPTIONS …`.

    Without a depth both are None: 1..1. A single depth `2` is `minimum` with `maximum` None.
    """

    vertex: str
    edge: str | None
    path: str | None
    minimum: Expression | None
    maximum: Expression | None
    direction: Direction
    start: Expression
    graph: Graph
    prune: Prune | None = None
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class ShortestPath(Node):
    """`FOR vertex, edge IN OUTBOUND SHORTEST_PATH start TO target … OPTIONS …`."""

    vertex: str
    edge: str | None
    direction: Direction
    start: Expression
    target: Expression
    graph: Graph
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Paths(Node):
    """`FOR path IN 1..3 OUTBOUND K_PATHS start TO target …`; a depth is for `K_PATHS` alone."""

    kind: PathKind
    path: str
    minimum: Expression | None
    maximum: Expression | None
    direction: Direction
    start: Expression
    target: Expression
    graph: Graph
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Filter(Node):
    """`FILTER condition`."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class SortKey(Node):
    """One key of a SORT. A direction that is not a keyword is a bind parameter or a string."""

    value: Expression
    direction: OneOf["ASC", "DESC"] | Expression = "ASC"


@dataclass(frozen=True, slots=True)
class Sort(Node):
    """`SORT a, b DESC`; `SORT null` has the key `Literal(None)` and asks for no order."""

    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """`LIMIT count`, `LIMIT offset, count`: literals or bind parameters."""

    offset: Expression | None
    count: Expression


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`LET variable = value`; `LET a = 1, b = 2` is two of them."""

    variable: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Group(Node):
    """`variable = value` in COLLECT."""

    variable: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """`variable = SUM(x)` in COLLECT AGGREGATE or WINDOW."""

    variable: str
    call: Call


@dataclass(frozen=True, slots=True)
class Collect(Node):
    """`COLLECT groups AGGREGATE … INTO into = projection KEEP … OPTIONS …`, or WITH COUNT INTO.

    Args:
        groups: In the order of the text; none means one group of everything.
        aggregates: In the order of the text.
        into: The variable for a group's members.
        projection: `INTO g = projection`.
        keep: `KEEP a, b`; None where there is no KEEP.
        count: The variable of `WITH COUNT INTO`.
        options: Such as `{method: "hash"}`.
        variables: What `INTO g` without projection and KEEP gathers: the names of the variables
            that the loops of this query or subquery declared, in their order; without any loop,
            those of the query itself. Empty without INTO.
    """

    groups: tuple[Group, ...]
    aggregates: tuple[Aggregate, ...] = ()
    into: str | None = None
    projection: Expression | None = None
    keep: tuple[str, ...] | None = None
    count: str | None = None
    options: ObjectLiteral | None = None
    variables: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Window(Node):
    """`WINDOW {preceding: 1, following: 1} AGGREGATE …`, `WINDOW value WITH {…} AGGREGATE …`."""

    value: Expression | None
    bounds: ObjectLiteral
    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True)
class Return(Node):
    """`RETURN value`, `RETURN DISTINCT value`."""

    value: Expression
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Insert(Node):
    """`INSERT document INTO collection OPTIONS {…}`."""

    document: Expression
    collection: CollectionName
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Update(Node):
    """`UPDATE key WITH patch IN collection`; `UPDATE patch IN collection` has the key None."""

    key: Expression | None
    patch: Expression
    collection: CollectionName
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Replace(Node):
    """`REPLACE key WITH document IN collection`; `REPLACE document IN …` has the key None."""

    key: Expression | None
    document: Expression
    collection: CollectionName
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Remove(Node):
    """`REMOVE key IN collection OPTIONS {…}`; the key is a string or a document with `_key`."""

    key: Expression
    collection: CollectionName
    options: ObjectLiteral | None = None


@dataclass(frozen=True, slots=True)
class Upsert(Node):
    """`UPSERT search INSERT insert UPDATE change IN collection`; REPLACE sets `replace`."""

    search: Expression
    insert: Expression
    change: Expression
    replace: bool
    collection: CollectionName
    options: ObjectLiteral | None = None


Modification: TypeAlias = Insert | Update | Replace | Remove | Upsert
Statement: TypeAlias = (
    For
    | Traversal
    | ShortestPath
    | Paths
    | Filter
    | Sort
    | Limit
    | Let
    | Collect
    | Window
    | Return
    | Modification
)


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query; `collections` are those of `WITH a, b` at its start."""

    statements: tuple[Statement, ...]
    collections: tuple[CollectionName, ...] = ()


AnyNode: TypeAlias = (
    Expression
    | Statement
    | Member
    | NamedGraph
    | EdgeCollection
    | EdgeCollections
    | Prune
    | SortKey
    | Group
    | Aggregate
    | Query
)
