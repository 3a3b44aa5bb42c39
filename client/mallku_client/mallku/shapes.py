"""What the value of an expression can be, as far as secured documents are in it.

A name in a query means a field of a secured document only where the value in front of it is one.
Shapes say where that is: they are the types of a small type system over a query's tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.lexer import refuse

CANNOT_FOLLOW = 1501
"""ArangoDB's number for a query that cannot be read; there is none for ours."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A value in which no secured document is."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A document of a secured collection, or null."""


@dataclass(frozen=True, slots=True)
class Many:
    """An array of such values."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Parts:
    """An object that a query made, with secured documents in some of its attributes."""

    members: Mapping[str, Shape] = field(hash=False)


Shape: TypeAlias = Plain | Secured | Many | Parts

PLAIN = Plain()
SECURED = Secured()


def many(shape: Shape) -> Shape:
    """An array of values of one shape."""
    return PLAIN if shape == PLAIN else Many(shape)


def element(shape: Shape) -> Shape:
    """What an element of an array is; whatever is no array has none."""
    return shape.of if isinstance(shape, Many) else PLAIN


def parts(members: Mapping[str, Shape]) -> Shape:
    """An object of these attributes."""
    return PLAIN if all(shape == PLAIN for shape in members.values()) else Parts(members)


def joined(found: Iterable[tuple[t.Node, Shape]], node: t.Node) -> Shape:
    """What a value is that may come from several places; constants fit to everything."""
    shapes = {
        _key(shape): shape
        for each, shape in found
        if shape != PLAIN or not isinstance(each, t.Literal | t.ArrayLiteral)
    }
    if len(shapes) > 1:
        cannot_follow("a value that is a secured document or something else", node)
    return next(iter(shapes.values()), PLAIN)


def _key(shape: Shape) -> str:
    return repr(shape)


def cannot_follow(what: str, node: t.Node) -> None:
    """Refuse a query in which nobody can tell which names are secured fields.

    Raises:
        InvalidQuery: with the place.
    """
    refuse(
        f"{what}: the names of secured fields cannot follow there; name the fields that are meant",
        node.at,
        number=CANNOT_FOLLOW,
    )
