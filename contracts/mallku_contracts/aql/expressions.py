"""The nodes of the tree that have a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mallku_contracts.aql.node import (
    BinaryOperator,
    Node,
    QuantifiedOperator,
    Quantifier,
    UnaryOperator,
)

if TYPE_CHECKING:
    from mallku_contracts.aql.statements import Statement


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
