"""Where a query looks documents up by a value: collections that stand there are no names to it.

Pure and without recursion. `Analysis` knows what a text names; this is about the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mallku_contracts.aql.functions import READING
from mallku_contracts.aql.node import Node
from mallku_contracts.aql.tree import (
    BindParameter,
    Call,
    Collection,
    Expression,
    Literal,
    Paths,
    Query,
    ShortestPath,
    Traversal,
)
from mallku_contracts.aql.visitor import walk

RESERVED_NAME: Final = re.compile(r"(?:_|mallku_)[A-Za-z0-9_-]*")
"""A collection of the gateway's own, as a value."""

RESERVED_HANDLE: Final = re.compile(RESERVED_NAME.pattern + r"/\S+")
"""A document in one of them, as a value."""

LOOKING_UP: Final = READING | {"SCHEMA_GET", "WITHIN", "WITHIN_RECTANGLE"}
"""Functions that read what a value names: a collection, or a document."""

_BY_ID: Final = frozenset({"DOCUMENT", "PREGEL_RESULT"})
_CALLING: Final = frozenset({"APPLY", "CALL"})
_SEARCHES: Final = (Traversal, ShortestPath, Paths)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A function that looks documents up, or a search that starts somewhere.

    Args:
        what: Its name, such as `DOCUMENT`.
        collection: The expression that says the collection alone; None where ids say it.
        ids: The expressions that say which document.
    """

    what: str
    node: Node
    collection: Expression | None
    ids: tuple[Expression, ...]

    @property
    def puts_together(self) -> bool:
        """Whether an id comes about in the query: it is neither there as it stands, nor given."""
        return any(not isinstance(each, Literal | BindParameter) for each in self.ids)


def lookups(query: Query) -> Iterator[Lookup]:
    """Every place where `query` looks something up by a value."""
    for node in walk(query):
        if isinstance(node, Call) and node.name in LOOKING_UP:
            yield _of_call(node)
        elif isinstance(node, _SEARCHES):
            target = () if isinstance(node, Traversal) else (node.target,)
            yield Lookup("a traversal", node, None, (node.start, *target))


def beyond_names(query: Query) -> Iterator[str]:
    """What keeps a text from being approved: a collection that a value says, or the gateway's."""
    for node in walk(query):
        if isinstance(node, Call) and node.name in _CALLING and _may_look_up(node):
            yield f"{node.name}() at {node.at}: an approved query calls what looks up by its name"
    for lookup in lookups(query):
        place = f"{lookup.what} at {lookup.node.at}"
        if not isinstance(lookup.collection, Literal | Collection | None):
            yield f"{place}: an approved query names its collections itself"
        if _says(RESERVED_NAME, lookup.collection) or any(
            _says(RESERVED_HANDLE, each) for each in lookup.ids
        ):
            yield f"{place}: names that begin with _ or mallku_ belong to the gateway"


def _of_call(call: Call) -> Lookup:
    if call.name in _BY_ID and len(call.arguments) == 1:
        return Lookup(call.name, call, None, call.arguments)
    first, *rest = call.arguments
    return Lookup(call.name, call, first, tuple(rest) if call.name in _BY_ID else ())


def _may_look_up(call: Call) -> bool:
    called = call.arguments[0]
    return not isinstance(called, Literal) or str(called.value).upper() in LOOKING_UP


def _says(pattern: re.Pattern[str], expression: Expression | None) -> bool:
    value = expression.value if isinstance(expression, Literal) else None
    return isinstance(value, str) and pattern.fullmatch(value) is not None
