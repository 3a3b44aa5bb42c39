"""The tree of an AQL query: one frozen node for each thing that the language can say.

Names are resolved: what the text calls `x` is a `Variable` where a variable of that name is in
scope, and a `Collection` where none is. Keywords are in upper case, function names too. Two nodes
are equal when they say the same; `at`, the place in the text, is not compared.

Source: ArangoDB 3.12 manual, "AQL", and `arangod/Aql/grammar.y` for what the manual leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias
from typing import Literal as OneOf


class Position(NamedTuple):
    """A place in a query's text; both numbers begin at 1, columns count characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


START: Final = Position(1, 1)

UnaryOperator: TypeAlias = OneOf["!", "-", "+"]
ArithmeticOperator: TypeAlias = OneOf["+", "-", "*", "/", "%"]
ComparisonOperator: TypeAlias = OneOf[
    "==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "NOT LIKE", "=~", "!~"
]
LogicalOperator: TypeAlias = OneOf["AND", "OR"]
BinaryOperator: TypeAlias = ArithmeticOperator | ComparisonOperator | LogicalOperator
QuantifiedOperator: TypeAlias = OneOf["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN"]
Quantifier: TypeAlias = OneOf["ANY", "ALL", "NONE", "AT LEAST"]
Direction: TypeAlias = OneOf["OUTBOUND", "INBOUND", "ANY"]
PathKind: TypeAlias = OneOf["K_SHORTEST_PATHS", "K_PATHS", "ALL_SHORTEST_PATHS"]


@dataclass(frozen=True, slots=True)
class Node:
    """Anything in the tree; `at` is where it begins in the text."""

    at: Position = field(default=START, compare=False, repr=False, kw_only=True)


# --- expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    """A constant: null, a boolean, a string, or a number that is finite and not negative.

    `1`, `1.0` and `true` are three different literals here. A number too large for a double is
    read as null, with `overflow` set: the evaluator warns (1504).
    """

    value: bool | int | float | str | None
    overflow: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[type, object, bool]:
        return type(self.value), self.value, self.overflow


@dataclass(frozen=True, slots=True)
class ArrayLiteral(Node):
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member(Node):
    """One attribute of an object literal; the same name may stand there twice, the last one counts.

    `name` is a string for `a: 1`, `"a": 1` and the shorthand `{a}` (its value is the variable `a`,
    and `shorthand` is set); a `BindParameter` for `@a: 1`; any other expression is a computed name,
    `[CONCAT("a", x)]: 1`.
    """

    name: str | Expression
    value: Expression
    shorthand: bool = False


@dataclass(frozen=True, slots=True)
class ObjectLiteral(Node):
    """`{a: 1, [b]: 2, c}`."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """A variable in scope; also `CURRENT`, `OLD` and `NEW` where they mean something."""

    name: str


@dataclass(frozen=True, slots=True)
class Collection(Node):
    """A collection by its name; as an expression, all of its documents."""

    name: str


@dataclass(frozen=True, slots=True)
class BindParameter(Node):
    """`@name`: a value that travels beside the text."""

    name: str


@dataclass(frozen=True, slots=True)
class CollectionBind(Node):
    """`@@name`: a collection whose name travels beside the text, under the key `"@name"`.

    Lists of edge collections and WITH take `@name` too; that is `plain`, and its key is the name.
    """

    name: str
    plain: bool = False

    @property
    def key(self) -> str:
        """Its key among the bind values."""
        return self.name if self.plain else "@" + self.name


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`subject.name`, `subject.@name`; `subject?.name` is `optional` (and means the same)."""

    subject: Expression
    name: str | BindParameter
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`subject[index]`: an attribute's name or a position; `subject?.[index]` is `optional`."""

    subject: Expression
    index: Expression
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`!a` (also written `NOT a`), `-a`, `+a`."""

    operator: UnaryOperator
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`a + b`, `a == b`, `a NOT IN b`, `a AND b` (also written `&&`)."""

    operator: BinaryOperator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Quantified(Node):
    """`a ALL > b`, `a ANY IN b`, `a AT LEAST (2) == b`; `count` is given for `AT LEAST` alone."""

    quantifier: Quantifier
    operator: QuantifiedOperator
    left: Expression
    right: Expression
    count: Expression | None = None


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`low..high`: whole numbers, both ends included."""

    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True)
class Ternary(Node):
    """`condition ? then : otherwise`; without `then` (`a ?: b`) the condition's own value."""

    condition: Expression
    then: Expression | None
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`NAME(arguments)`; a user function's name has `::` in it."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """`(FOR … RETURN …)`: an array of what it returns; without a final RETURN, an empty one."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Item(Node):
    """The element at hand in the `tail` of the innermost `Expansion`; never written in a text."""


@dataclass(frozen=True, slots=True)
class Expansion(Node):
    """`subject[*]`, with what follows it: for each element, `tail` is evaluated.

    `a[*].b.c` has the subject `a` and the tail `Attribute(Attribute(Item(), "b"), "c")`; `a[*]`
    has the tail `Item()`. `a[*].b[*].c` is an expansion whose tail is an expansion, whose subject
    is `Attribute(Item(), "b")`: the outer expansion's element. `(a[*].b)[0]` is an `Index`.

    Args:
        subject: What is expanded; anything but an array counts as an empty one.
        levels: The number of stars; `levels - 1` levels are flattened first.
        tail: What follows, for each element. With a projection, ArangoDB ignores it.
        condition: `FILTER`, in which `Variable("CURRENT")` is the element.
        offset: Of `LIMIT offset, count`.
        count: Of `LIMIT`.
        projection: `RETURN`, in which `Variable("CURRENT")` is the element.
    """

    subject: Expression
    levels: int
    tail: Expression
    condition: Expression | None = None
    offset: Expression | None = None
    count: Expression | None = None
    projection: Expression | None = None


@dataclass(frozen=True, slots=True)
class ArrayMatch(Node):
    """`subject[? 2..3 FILTER …]`: whether that many elements match, a boolean.

    Without a quantifier and count: at least one element. `count` is the number or range of
    `[? 2 FILTER …]`, or the number of `[? AT LEAST (2) FILTER …]`. `Variable("CURRENT")` is the
    element in the condition; no condition (`[?]`) asks whether there is any element.
    """

    subject: Expression
    quantifier: Quantifier | None = None
    count: Expression | None = None
    condition: Expression | None = None


Expression: TypeAlias = (
    Literal
    | ArrayLiteral
    | ObjectLiteral
    | Variable
    | Collection
    | BindParameter
    | CollectionBind
    | Attribute
    | Index
    | Unary
    | Binary
    | Quantified
    | Range
    | Ternary
    | Call
    | Subquery
    | Item
    | Expansion
    | ArrayMatch
)

CollectionName: TypeAlias = Collection | CollectionBind


# --- statements ----------------------------------------------------------------------------------


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
            that were in scope in this query or subquery, in order of their declaration.
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


def kind(node: Node) -> str:
    """The node's kind, as allow-lists and explanations name it: `"Traversal"`."""
    return type(node).__name__


BindValues: TypeAlias = Mapping[str, Any]
"""Bind values as they travel: `{"x": 1, "@coll": "people"}` for `@x` and `@@coll`."""
