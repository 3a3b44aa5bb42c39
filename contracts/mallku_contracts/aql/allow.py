"""Which nodes, functions and options of a query a role may use: an allow-list over the tree.

What is not listed is refused, so that a node or function that is added later is refused until
somebody has thought about it. The collections of a query are not decided here: `analysis` names
them for the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.functions import ARITIES, GRANTED_ONLY, UNDETERMINED
from mallku_contracts.aql.tree import (
    Call,
    Node,
    ObjectLiteral,
    Position,
    Query,
    kind,
)
from mallku_contracts.aql.visitor import walk

READING_KINDS: Final = frozenset(
    [
        "Aggregate",
        "ArrayLiteral",
        "ArrayMatch",
        "Attribute",
        "Binary",
        "BindParameter",
        "Call",
        "Collect",
        "Collection",
        "CollectionBind",
        "Expansion",
        "Filter",
        "For",
        "Group",
        "Index",
        "Item",
        "Let",
        "Limit",
        "Literal",
        "Member",
        "NamedGraph",
        "ObjectLiteral",
        "Paths",
        "Prune",
        "Quantified",
        "Query",
        "Range",
        "Return",
        "ShortestPath",
        "Sort",
        "SortKey",
        "Subquery",
        "Ternary",
        "Traversal",
        "Unary",
        "Variable",
        "Window",
    ]
)
"""Nodes that read nothing but what the query names."""

WRITING_KINDS: Final = frozenset({"Insert", "Remove", "Replace", "Update", "Upsert"})
"""Nodes that change documents."""

GRANTED_KINDS: Final[Mapping[str, str]] = {
    "EdgeCollection": "an anonymous graph reads vertices of collections that it does not name",
    "EdgeCollections": "an anonymous graph reads vertices of collections that it does not name",
}
"""Nodes that a role has to be granted by name, each with the reason."""

SAFE_FUNCTIONS: Final = frozenset(ARITIES) - frozenset(GRANTED_ONLY)
"""Functions whose result depends on their arguments alone, on the clock, or on chance."""

SAFE_OPTIONS: Final = frozenset(
    [
        "bfs",
        "defaultWeight",
        "disableIndex",
        "edgeCollections",
        "forceIndexHint",
        "ignoreErrors",
        "ignoreRevs",
        "indexHint",
        "keepNull",
        "lookahead",
        "maxProjections",
        "mergeObjects",
        "method",
        "order",
        "overwrite",
        "overwriteMode",
        "parallelism",
        "readOwnWrites",
        "refillIndexCaches",
        "uniqueEdges",
        "uniqueVertices",
        "useCache",
        "vertexCollections",
        "waitForSync",
        "weightAttribute",
    ]
)
"""Attributes of OPTIONS that only say how; `exclusive`, which locks others out, is not there."""

USER_FUNCTION: Final = "a function that users have stored on the server"
UNLISTED: Final = "not on the list of what may be used"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be used. `granting` widens it by names; everything else stays refused.

    Args:
        kinds: Kinds of nodes, as `tree.kind` names them.
        functions: Names of functions, user functions (`A::B`) included.
        options: Attributes of OPTIONS.
    """

    kinds: frozenset[str] = READING_KINDS | WRITING_KINDS
    functions: frozenset[str] = SAFE_FUNCTIONS
    options: frozenset[str] = SAFE_OPTIONS

    def granting(
        self,
        *,
        kinds: frozenset[str] = frozenset(),
        functions: frozenset[str] = frozenset(),
        options: frozenset[str] = frozenset(),
    ) -> Allowance:
        """The same, and these names."""
        return replace(
            self,
            kinds=self.kinds | kinds,
            functions=self.functions | functions,
            options=self.options | options,
        )


READ_ONLY: Final = Allowance(kinds=READING_KINDS)
"""No statement that changes documents."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One thing in a query that the allowance does not have.

    Args:
        what: `"node"`, `"function"` or `"option"`.
        name: Its name: `"EdgeCollections"`, `"DOCUMENT"`, `"exclusive"`.
        reason: Why it is not there, one phrase.
        at: Where it stands in the text.
    """

    what: str
    name: str
    reason: str
    at: Position

    def __str__(self) -> str:
        place = f"line {self.at.line}, column {self.at.column}"
        return f"{self.what} {self.name}, at {place}: {self.reason}"


def refusals(query: Query, allowance: Allowance) -> tuple[Refused, ...]:
    """Everything in `query` that `allowance` does not have, in the order of the text."""
    found = [refused for node in walk(query) for refused in _in_node(node, allowance)]
    return tuple(sorted(found, key=lambda refused: refused.at))


def undetermined(query: Query) -> tuple[Refused, ...]:
    """What keeps a query that changes documents from coming to the same when it is run again.

    A trail from which the database can be made again needs that. A query that only reads may use
    what it likes.
    """
    analysis = analyse(query)
    if not analysis.modifies:
        return ()
    found = [
        Refused("function", call.name, _varies(call.name), call.at)
        for call in analysis.calls
        if _varies(call.name)
    ]
    return tuple(sorted(found, key=lambda refused: refused.at))


def _varies(function: str) -> str:
    return USER_FUNCTION if "::" in function else UNDETERMINED.get(function, "")


def _in_node(node: Node, allowance: Allowance) -> Iterator[Refused]:
    name = kind(node)
    if name not in allowance.kinds:
        yield Refused("node", name, GRANTED_KINDS.get(name, UNLISTED), node.at)
    if isinstance(node, Call) and node.name not in allowance.functions:
        yield Refused("function", node.name, _reason(node.name), node.at)
    options = getattr(node, "options", None)
    if isinstance(options, ObjectLiteral):
        yield from _in_options(options, allowance)


def _reason(function: str) -> str:
    return USER_FUNCTION if "::" in function else GRANTED_ONLY.get(function, UNLISTED)


def _in_options(options: ObjectLiteral, allowance: Allowance) -> Iterator[Refused]:
    for member in options.members:
        if not isinstance(member.name, str):
            yield Refused("option", "[computed]", "its name is a value", member.at)
        elif member.name not in allowance.options:
            yield Refused("option", member.name, UNLISTED, member.at)
