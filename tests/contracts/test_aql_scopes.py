"""Which variable a name means, and where it means none."""

from __future__ import annotations

import pytest

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.visitor import walk
from mallku_contracts.errors import InvalidQuery


def collections(text: str) -> list[str]:
    """The names in `text` that no variable has."""
    return [node.name for node in walk(parse(text)) if isinstance(node, t.Collection)]


def variables(text: str) -> list[str]:
    """The names in `text` that are variables, where they are used."""
    return [node.name for node in walk(parse(text)) if isinstance(node, t.Variable)]


def collect(text: str) -> t.Collect:
    """The first COLLECT in `text`."""
    return next(node for node in walk(parse(text)) if isinstance(node, t.Collect))


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("FOR people IN people RETURN people.a", ["people"]),
        ("LET a = b LET b = 1 RETURN a", ["b"]),
        ("FOR x IN [1] COLLECT k = x RETURN x", ["x"]),
        ("LET a = 1 FOR x IN [1] COLLECT k = x RETURN [a, k]", []),
        ("FOR x IN [1] LET a = 1 COLLECT k = x RETURN a", ["a"]),
        ("FOR x IN [1] COLLECT WITH COUNT INTO x RETURN x", []),
        ("LET a = (FOR x IN [1] RETURN x) RETURN x", ["x"]),
        ("RETURN [OLD, NEW, CURRENT]", ["OLD", "NEW", "CURRENT"]),
        ("FOR x IN [1] REMOVE x IN c RETURN [OLD, NEW]", ["c", "NEW"]),
        ("FOR x IN [1] INSERT x IN c RETURN [OLD, NEW]", ["c"]),
        ("FOR x IN [1] UPDATE x WITH {a: OLD} IN c RETURN $NEW", ["OLD", "c"]),
        ("UPSERT {} INSERT {a: NEW} UPDATE {a: OLD} IN c RETURN NEW", ["NEW", "c"]),
        ("LET l = (FOR x IN [1] UPDATE x IN c RETURN NEW) RETURN NEW", ["c", "NEW"]),
        ("RETURN [1][* FILTER CURRENT RETURN $CURRENT].CURRENT", []),
        ("RETURN [[1][* FILTER CURRENT], CURRENT]", ["CURRENT"]),
        ("FOR v, e, p IN OUTBOUND v knows PRUNE e.x RETURN p", ["v", "knows"]),
    ],
)
def test_a_name_without_a_variable_is_a_collection(text: str, unknown: list[str]) -> None:
    """Loops, COLLECT, subqueries, brackets and writes each bring and take their variables."""
    assert sorted(collections(text)) == sorted(unknown)


def test_dollar_names_are_the_special_variables() -> None:
    """`$OLD`, `$NEW` and `$CURRENT` are other spellings."""
    assert variables("UPDATE 'a' WITH {} IN c RETURN [$OLD, $NEW, [1][* RETURN $CURRENT]]") == [
        "OLD",
        "NEW",
        "CURRENT",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "FOR x IN [1] FOR x IN [2] RETURN x",
        "LET x = 1 LET x = 2 RETURN x",
        "LET x = 1 RETURN (FOR x IN [1] RETURN x)",
        "FOR v, v IN OUTBOUND 'a/1' knows RETURN v",
        "FOR x IN [1] COLLECT x = x RETURN x",
        "FOR x IN [1] COLLECT AGGREGATE x = SUM(x) RETURN x",
        "FOR x IN [1] COLLECT k = x INTO k RETURN k",
        "FOR x IN [1] COLLECT k = x WITH COUNT INTO k RETURN k",
        "FOR v IN OUTBOUND 'a/1' knows PRUNE v = true RETURN v",
    ],
)
def test_a_name_is_declared_once(text: str) -> None:
    """1511, as long as the other one is visible."""
    with pytest.raises(InvalidQuery) as raised:
        parse(text)
    assert raised.value.error_code == 1511


@pytest.mark.parametrize(
    "text",
    [
        "LET a = (FOR x IN [1] RETURN x) LET b = (FOR x IN [1] RETURN x) RETURN [a, b]",
        "FOR x IN [1] COLLECT k = x INTO x RETURN [k, x]",
        "RETURN [1][* RETURN CURRENT[* RETURN CURRENT]]",
    ],
)
def test_a_name_that_is_gone_is_free(text: str) -> None:
    """The end of a subquery, COLLECT and brackets free what they held."""
    assert collections(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("RETURN {a}", 1512),
        ("FOR x IN [1] COLLECT k = x, j = k RETURN j", 1512),
        ("FOR x IN [1] COLLECT k = x AGGREGATE s = SUM(k) RETURN s", 1512),
        ("FOR x IN [1] COLLECT k = x INTO g = k RETURN g", 1512),
        ("FOR x IN [1] COLLECT k = x INTO g KEEP k RETURN g", 1512),
        ("FOR x IN [1] COLLECT k = x INTO g KEEP y RETURN g", 1501),
        ("FOR x IN [1] COLLECT k = x KEEP x RETURN k", 1501),
        ("RETURN DISTINCT 1", 1501),
        ("RETURN (RETURN DISTINCT 1)", 1501),
        ("FOR v IN OUTBOUND 'a/1' k PRUNE (RETURN 1)[0] RETURN v", 1501),
        ("FOR x IN [1] WINDOW {} AGGREGATE s = SUM(x) RETURN s", 1501),
    ],
)
def test_misplaced_names_are_refused(text: str, number: int) -> None:
    """What a COLLECT makes is not there inside it; DISTINCT needs a loop; PRUNE no subquery."""
    with pytest.raises(InvalidQuery) as raised:
        parse(text)
    assert raised.value.error_code == number


@pytest.mark.parametrize(
    ("text", "gathered"),
    [
        ("LET a = 1 FOR x IN [1] LET y = x COLLECT k = x INTO g RETURN g", ("x", "y")),
        ("LET a = 1 LET b = 2 COLLECT k = a INTO g RETURN g", ("a", "b")),
        ("FOR x IN [1] FOR y IN [1] COLLECT k = x INTO g RETURN g", ("x", "y")),
        ("FOR x IN [1] UPDATE x IN c COLLECT k = x INTO g RETURN g", ("x",)),
        ("FOR o IN [1] RETURN (FOR i IN [1] COLLECT k = i INTO g RETURN g)", ("i",)),
        ("FOR x IN [1] COLLECT k = x RETURN k", ()),
    ],
)
def test_into_gathers_the_variables_of_the_loops(text: str, gathered: tuple[str, ...]) -> None:
    """Not those of the query around it, nor what was before the first FOR, nor OLD and NEW."""
    assert collect(text).variables == gathered


def test_into_after_a_second_collect_gathers_what_the_first_left() -> None:
    """What the first COLLECT took away is not there any more."""
    text = "FOR x IN [1] COLLECT a = x WITH COUNT INTO n COLLECT m = n INTO g RETURN g"
    first, second = [each for each in parse(text).statements if isinstance(each, t.Collect)]
    assert first.variables == ()
    assert second.variables == ("a", "n")


def test_what_does_not_change_is_shared() -> None:
    """Resolving copies only what it has to."""
    query = parse("FOR x IN [1] FILTER x.a == 1 RETURN x")
    again = parse("FOR x IN [1] FILTER x.a == 1 RETURN x")
    assert query == again
    assert hash(query) == hash(again)


def test_every_node_knows_its_place() -> None:
    """Lines and columns survive resolving, for errors at run time."""
    query = parse("FOR x IN [1]\n  FILTER x.a\n    == people\n  RETURN x")
    (people,) = [node for node in walk(query) if isinstance(node, t.Collection)]
    assert people.at == (3, 8)
    assert [each.at for each in query.statements] == [(1, 1), (2, 3), (4, 3)]
