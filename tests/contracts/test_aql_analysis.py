"""What is known of a query without running it."""

from __future__ import annotations

import dataclasses

import pytest

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.allow import GRANTED_KINDS, READING_KINDS, WRITING_KINDS
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.functions import AGGREGATES, ARITIES, GRANTED_ONLY, READING
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.printing import _PRINTERS


def kinds() -> set[str]:
    """Every kind of node that the tree has."""
    found, waiting = set[str](), [t.Node]
    while waiting:
        for child in waiting.pop().__subclasses__():
            found.add(child.__name__)
            waiting.append(child)
    return found


@pytest.mark.parametrize(
    ("text", "reads", "writes"),
    [
        ("RETURN 1", set(), {}),
        ("FOR x IN a FOR y IN @@b RETURN LENGTH(c)", {"a", "bound", "c"}, {}),
        ("RETURN (FOR x IN a RETURN (FOR y IN b RETURN 1))", {"a", "b"}, {}),
        ("FOR v IN OUTBOUND 'p/1' a, INBOUND @@b RETURN v", {"a", "bound"}, {}),
        ("WITH a RETURN 1", {"a"}, {}),
        ("INSERT {} INTO a", set(), {"a": {"insert"}}),
        (
            "INSERT {} INTO a OPTIONS {overwrite: true}",
            set(),
            {"a": {"insert", "replace", "update"}},
        ),
        ("UPDATE 'k' WITH {} IN @@b", {"bound"}, {"bound": {"update"}}),
        ("REPLACE 'k' WITH {} IN a", {"a"}, {"a": {"replace"}}),
        ("REMOVE 'k' IN a", {"a"}, {"a": {"delete"}}),
        ("UPSERT {} INSERT {} UPDATE {} IN a", {"a"}, {"a": {"insert", "update"}}),
        ("UPSERT {} INSERT {} REPLACE {} IN a", {"a"}, {"a": {"insert", "replace"}}),
        ("FOR x IN a INSERT x INTO a", {"a"}, {"a": {"insert"}}),
        ("LET x = (REMOVE 'k' IN a) INSERT {} INTO b", {"a"}, {"a": {"delete"}, "b": {"insert"}}),
    ],
)
def test_collections_are_found_wherever_they_stand(
    text: str, reads: set[str], writes: dict[str, set[str]]
) -> None:
    """Read and written, literal and bound, in subqueries and in graphs."""
    found = analyse(parse(text))
    values = {"@b": "bound"}
    assert found.read_names(values) == reads
    assert found.write_names(values) == writes
    assert found.modifies == bool(writes)


def test_binds_functions_graphs_and_kinds_are_found() -> None:
    """In keys, directions, options and brackets too."""
    text = (
        "FOR v IN @lo..@hi OUTBOUND @start GRAPH @g OPTIONS {order: @order} SORT v @dir "
        "LIMIT @n RETURN {[LOWER(@k)]: v.@attr, @name: v[* FILTER my::fn(CURRENT) == @q]}"
    )
    found = analyse(parse(text))
    assert found.binds == {
        "g",
        "k",
        "n",
        "q",
        "lo",
        "hi",
        "dir",
        "attr",
        "name",
        "order",
        "start",
    }
    assert found.functions == {"LOWER", "MY::FN"}
    assert found.graph_names({"g": "social"}) == {"social"}
    assert {"Traversal", "NamedGraph", "Expansion", "Return"} <= found.kinds
    assert analyse(parse("FOR x IN @@c RETURN @c")).binds == {"@c", "c"}


def test_every_kind_of_node_is_classified_and_printed() -> None:
    """A node that somebody adds is in exactly one list, or this fails."""
    lists = [READING_KINDS, WRITING_KINDS, frozenset(GRANTED_KINDS)]
    assert sorted(name for each in lists for name in each) == sorted(kinds())
    assert {kind.__name__ for kind in _PRINTERS} == kinds()


def test_every_node_is_frozen_and_has_slots() -> None:
    """Trees are shared between callers."""
    literal = t.Literal(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        literal.value = 2  # type: ignore[misc]
    assert not hasattr(literal, "__dict__")


def test_the_lists_of_functions_name_functions() -> None:
    """No list holds a name that AQL does not have."""
    for names in (AGGREGATES, READING, GRANTED_ONLY):
        assert set(names) <= set(ARITIES)
    assert set(GRANTED_ONLY) >= READING
