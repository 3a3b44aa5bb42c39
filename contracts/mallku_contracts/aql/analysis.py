"""What a query is about: collections, bind parameters, functions and kinds of nodes.

Pure and without recursion. Only what the text and the bind values name is found: what DOCUMENT()
and its like read, and the collections of a named graph, are not in there (`calls` and `graphs` tell
that there is something to ask).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mallku_contracts.aql.tree import (
    BindParameter,
    BindValues,
    Call,
    Collection,
    CollectionBind,
    CollectionName,
    Expression,
    Insert,
    Literal,
    Modification,
    NamedGraph,
    Node,
    Query,
    Remove,
    Replace,
    Update,
    Upsert,
    kind,
)
from mallku_contracts.aql.visitor import walk

OPERATIONS: Final[dict[type[Node], frozenset[str]]] = {
    Insert: frozenset({"insert"}),
    Update: frozenset({"update"}),
    Replace: frozenset({"replace"}),
    Remove: frozenset({"delete"}),
}
"""Which write operation of the gateway a statement amounts to; for UPSERT see `operations_of`."""


@dataclass(frozen=True, slots=True)
class Write:
    """One statement that changes a collection, and the write operations that it amounts to."""

    collection: CollectionName
    operations: frozenset[str]
    statement: Modification


@dataclass(frozen=True)
class Analysis:
    """What one query names.

    Args:
        reads: Collections that are read, in the order of the text.
        writes: Statements that change a collection.
        graphs: The names of named graphs: literals and bind parameters.
        calls: Function calls.
        binds: The keys of all bind values that it asks for, such as `x` and `@coll`.
        kinds: The kinds of all nodes, as `tree.kind` names them.
    """

    reads: tuple[CollectionName, ...]
    writes: tuple[Write, ...]
    graphs: tuple[Expression, ...]
    calls: tuple[Call, ...]
    binds: frozenset[str]
    kinds: frozenset[str]

    @property
    def modifies(self) -> bool:
        """Whether the query can change data."""
        return bool(self.writes)

    @cached_property
    def functions(self) -> frozenset[str]:
        """The names of the functions called."""
        return frozenset(call.name for call in self.calls)

    def read_names(self, values: BindValues) -> frozenset[str]:
        """The names of the collections read, with these bind values."""
        return frozenset(collection_name(each, values) for each in self.reads)

    def write_names(self, values: BindValues) -> dict[str, frozenset[str]]:
        """For each collection that is changed the write operations, with these bind values."""
        found: dict[str, frozenset[str]] = {}
        for write in self.writes:
            name = collection_name(write.collection, values)
            found[name] = found.get(name, frozenset()) | write.operations
        return found

    def graph_names(self, values: BindValues) -> frozenset[str]:
        """The names of the named graphs, with these bind values."""
        return frozenset(
            str(values[name.name] if isinstance(name, BindParameter) else name.value)
            for name in self.graphs
            if isinstance(name, BindParameter | Literal)
        )


def collection_name(collection: CollectionName, values: BindValues) -> str:
    """The name of a collection; `binding.check_binds` has seen to it that the value is there."""
    if isinstance(collection, Collection):
        return collection.name
    return str(values[collection.key])


def operations_of(statement: Modification) -> frozenset[str]:
    """The write operations of the gateway that `statement` amounts to.

    UPSERT inserts and updates or replaces, and an INSERT with `overwrite` replaces or updates.
    """
    if isinstance(statement, Upsert):
        return frozenset({"insert", "replace" if statement.replace else "update"})
    found = OPERATIONS[type(statement)]
    if isinstance(statement, Insert) and _may_overwrite(statement):
        return found | {"replace", "update"}
    return found


def _may_overwrite(statement: Insert) -> bool:
    members = statement.options.members if statement.options else ()
    return any(
        not isinstance(member.name, str) or member.name in {"overwrite", "overwriteMode"}
        for member in members
    )


def analyse(query: Query) -> Analysis:
    """What `query` names. UPSERT, UPDATE, REPLACE and REMOVE count as reading their collection."""
    nodes = list(walk(query))
    writes = tuple(
        Write(node.collection, operations_of(node), node)
        for node in nodes
        if isinstance(node, Modification)
    )
    only_inserted = {
        id(write.collection) for write in writes if isinstance(write.statement, Insert)
    }
    return Analysis(
        reads=tuple(
            node
            for node in nodes
            if isinstance(node, Collection | CollectionBind) and id(node) not in only_inserted
        ),
        writes=writes,
        graphs=tuple(node.name for node in nodes if isinstance(node, NamedGraph)),
        calls=tuple(node for node in nodes if isinstance(node, Call)),
        binds=frozenset(_keys(nodes)),
        kinds=frozenset(kind(node) for node in nodes),
    )


def _keys(nodes: list[Node]) -> list[str]:
    return [
        node.key if isinstance(node, CollectionBind) else node.name
        for node in nodes
        if isinstance(node, BindParameter | CollectionBind)
    ]
