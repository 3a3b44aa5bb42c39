"""Answers that no recorded row gives, told from ArangoDB's source (3.1 to 3.3, and today's)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.embedded.aql.golden import World, alike


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The dataset of the recorded answers."""
    world = World(tmp_path_factory.mktemp("answers") / "answers.sqlite")
    yield world
    world.close()


def _same(world: World, query: str, rows: list[Any], warnings: list[int]) -> None:
    answer = world.run(query, {}, {})
    assert answer.error is None, answer.message
    assert alike(answer.rows, rows), answer.rows
    assert answer.warnings == warnings


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (
            "LET n = LENGTH(people) FOR p IN people COLLECT c = p.address.city RETURN [c, n]",
            [[None, 12], ["Arequipa", 12], ["Cusco", 12], ["Lima", 12], ["Puno", 12]],
        ),
        ("LET a = NOOPT(1) FOR x IN 1..2 COLLECT k = x RETURN [a, k]", [[1, 1], [1, 2]]),
        (
            "LET a = NOOPT(1) FOR x IN 1..2 COLLECT k = x COLLECT m = 1 INTO g RETURN [a, m, g]",
            [[1, 1, [{"k": 1}, {"k": 2}]]],
        ),
        ("LET a = 7 COLLECT k = a RETURN [a, k]", [[7, 7]]),
        (
            "FOR y IN 1..2 RETURN (LET a = y FOR x IN [5] COLLECT k = x RETURN [a, k, y])",
            [[[1, 5, 1]], [[2, 5, 2]]],
        ),
        ("LET a = 5 FOR x IN [] COLLECT WITH COUNT INTO n RETURN [a, n]", [[5, 0]]),
        ("LET a = NOOPT(5) FOR x IN [] COLLECT WITH COUNT INTO n RETURN [a, n]", [[None, 0]]),
    ],
)
def test_what_stands_before_the_first_loop_outlasts_collect(
    world: World, query: str, rows: list[Any]
) -> None:
    """COLLECT takes the variables of loops; those of LETs before them are there in every group."""
    _same(world, query, rows, [])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("LET x = 1e10 RETURN CONCAT(x)", ["10000000000"]),
        ("LET n = 2 FOR v IN 1..n OUTBOUND 'people/killa' knows RETURN v._key", ["sami", "tika"]),
        ("LET a = 1 LET b = a + 1 FOR x IN [0] LET c = a + b RETURN [b, c]", [[2, 3]]),
    ],
)
def test_a_constant_let_is_its_value(world: World, query: str, rows: list[Any]) -> None:
    """What uses a variable that is constant is constant itself."""
    _same(world, query, rows, [])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (
            "RETURN UNIQUE([[], [null], {}, {a: null}, [1], [1, null], 1, 1.0])",
            [[[], [None], {}, {"a": None}, [1], [1, None], 1]],
        ),
        (
            "RETURN [MINUS([[], [null]], [[]]), INTERSECTION([[], [null]], [[]])]",
            [[[[None]], [[]]]],
        ),
        ("RETURN OUTERSECTION([{}], [{a: null}])", [[{}, {"a": None}]]),
        ("FOR x IN [[], [null], []] RETURN DISTINCT x", [[], [None]]),
        (
            "FOR x IN [[null], [], []] COLLECT v = x WITH COUNT INTO n SORT n RETURN [v, n]",
            [[[None], 1], [[], 2]],
        ),
        ("FOR x IN [[], [null]] COLLECT v = x OPTIONS {method: 'sorted'} RETURN v", [[]]),
        ("FOR x IN [[], [null]] COLLECT v = x INTO g RETURN [v, LENGTH(g)]", [[[], 2]]),
        (
            "FOR m IN mixed FILTER IS_OBJECT(m.v) COLLECT v = m.v WITH COUNT INTO n RETURN n",
            [2, 1, 1, 1, 1],
        ),
        ("FOR m IN mixed FILTER IS_OBJECT(m.v) AND LENGTH(m.v) < 1 RETURN DISTINCT m.v", [{}]),
        ("RETURN [REMOVE_VALUES([[], [null], 1], [[]]), POSITION([[null]], [])]", [[[1], True]]),
    ],
)
def test_sets_and_groups_count_nulls_that_comparing_does_not(
    world: World, query: str, rows: list[Any]
) -> None:
    """`[] == [null]`, but they are two values of a set; where groups are sorted they are one."""
    _same(world, query, rows, [])


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ('{uniqueVertices: "nonsense", uniqueEdges: "odd", more: 1}', "ckqww"),
        ('{uniqueVertices: "GLOBAL", bfs: true}', "ckqw"),
        ("{uniqueVertices: 5, uniqueEdges: null, bfs: 1}", "ckqww"),
    ],
)
def test_options_of_traversals_that_are_not_known_have_no_effect(
    world: World, options: str, keys: str
) -> None:
    """Values in capitals mean the same; what ArangoDB does not know it passes over."""
    loop = f"FOR v IN 1..2 OUTBOUND 'people/inti' knows OPTIONS {options} SORT v._key"
    _same(world, f"{loop} RETURN LEFT(v._key, 1)", list(keys), [])


def test_edges_are_named_once(world: World) -> None:
    """A collection that is named twice is one; with two directions it is error 1218."""
    _same(world, "FOR v IN 1 OUTBOUND 'people/tika' knows, knows RETURN v._key", ["rumi"], [])
    answer = world.run("FOR v IN 1 OUTBOUND 'people/tika' knows, ANY knows RETURN v", {}, {})
    assert answer.error == 1218


@pytest.mark.parametrize("start", ["5", "null", "@start", "true"])
@pytest.mark.parametrize(
    "walk", ["1 OUTBOUND {}", "ANY SHORTEST_PATH {} TO 'a/b'", "ANY SHORTEST_PATH 'a/b' TO {}"]
)
def test_a_constant_start_that_is_none_is_refused(world: World, walk: str, start: str) -> None:
    """A number, a boolean or null as start or target is error 1501 before anything runs."""
    binds = {"start": 7} if start == "@start" else {}
    text = f"FOR v IN {walk.format(start)} knows RETURN v"
    assert world.run(text, binds, {}).error == 1501


@pytest.mark.parametrize(("value", "warnings"), [("5", [10]), ("'inti'", [10]), ("{a: 1}", [])])
def test_a_start_that_turns_out_to_be_none_warns(
    world: World, value: str, warnings: list[int]
) -> None:
    """Nothing is found from it; an object without an id does not even warn."""
    start = f"FOR x IN [NOOPT({value})] FOR v IN"
    _same(world, f"{start} 1 OUTBOUND x knows RETURN v", [], warnings)
    _same(world, f"{start} ANY SHORTEST_PATH x TO 'people/inti' knows RETURN v", [], warnings)


def test_a_list_of_names_is_a_path_of_attributes(world: World) -> None:
    """`x.@path` goes down by every name of the list."""
    answer = world.run("RETURN {a: {b: 5}}.@path", {"path": ["a", "b"]}, {})
    assert answer.rows == [5]


@pytest.mark.parametrize(
    ("expression", "value", "warnings"),
    [
        ("UNSET_RECURSIVE({a: 1, b: {a: 2}, d: [{a: 4}]}, 'a')", {"b": {}, "d": [{"a": 4}]}, []),
        ("KEEP_RECURSIVE({a: [{b: 1}], c: 1}, 'a')", {"a": [{"b": 1}]}, []),
        ("KEEP({a: 1, b: 2}, ['a', 5])", {"a": 1}, [1542]),
        ("MERGE(NOOPT({a: 1}))", {"a": 1}, []),
        ("MERGE({a: 1})", None, [1542]),
        ("DOCUMENT({_id: 'people/inti'})", None, []),
        ("DOCUMENT([{_id: 'people/inti'}, 'people/inti'])[*].name", ["Inti"], []),
        ("DOCUMENT(null, 'inti')", None, [1542]),
        ("DOCUMENT('people', 5)", None, []),
    ],
)  # fmt: skip
def test_objects_and_documents(
    world: World, expression: str, value: Any, warnings: list[int]
) -> None:
    """By `Functions.cpp`: `UnsetOrKeep`, `ExtractKeys`, `MergeParameters` and `Document`."""
    _same(world, f"RETURN {expression}", [value], warnings)


@pytest.mark.parametrize(
    ("expression", "value", "warnings", "constant"),
    [
        ("SUM([1, 'x'])", None, [], [1542]),
        ("AVERAGE([1, 'x'])", None, [1563], [1561]),
        ("MEDIAN([1, 'x'])", None, [1561], [1561]),
        ("INTERSECTION('x', [])", None, [1563], [1542]),
        ("OUTERSECTION('x', [])", None, [1563], [1542]),
        ("UNION('x', [])", None, [1542], [1542]),
        ("SORTED_UNIQUE('x')", None, [], [1563]),
        ("SUM([1e308, 1e308])", 0, [], []),
        ("PERCENTILE([1, 2, 3, 4], 10, 'interpolation')", None, [], []),
        ("APPEND(null, [])", None, [], []),
        ("APPEND('a', [])", "a", [], []),
    ],
)
def test_constants_are_worked_out_by_another_implementation(
    world: World, expression: str, value: Any, warnings: list[int], constant: list[int]
) -> None:
    """`Functions.cpp` and `aql.js` agree about values, but not about all warnings."""
    _same(world, f"RETURN {expression}", [value], constant)
    name, _, arguments = expression.partition("(")
    running = f"LET f = NOOPT(0) RETURN {name}(f == 0 ? {_first(arguments)}"
    _same(world, running, [value], warnings)


def _first(arguments: str) -> str:
    """The arguments, the first one as the first branch of a choice that nobody can foresee."""
    depth = 0
    for place, char in enumerate(arguments):
        depth += (char in "([{") - (char in ")]}")
        if (char == "," and depth == 0) or depth < 0:
            return f"{arguments[:place]} : 0{arguments[place:]}"
    raise AssertionError(arguments)


def test_places_that_are_no_whole_numbers(world: World) -> None:
    """A place is cut, and so are the ends of a range without a step, unless they are constants."""
    _same(world, "RETURN [NTH([1, 2], 1.9), RANGE(1.5, 3.5)]", [[None, [1.5, 2.5, 3.5]]], [])
    cut = "FOR x IN [NOOPT(1.9)] RETURN [NTH([1, 2], x), RANGE(x, 3.5)]"
    _same(world, cut, [[2, [1, 2, 3]]], [])


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("SUBSTRING('gateway', 1, null)", ""),
        ("[LTRIM('0a0', 0), RTRIM('0a0', 0), TRIM('0a0', 0)]", ["a0", "0a", "0a0"]),
        ("[TRIM(' a ', 1), TRIM(' a ', 2), TRIM('tat', true)]", ["a ", " a", "a"]),
    ],
)
def test_strings_are_cut(world: World, expression: str, value: Any) -> None:
    """By `aql.js`: a length of null is none at all, and only TRIM knows numbers for the side."""
    _same(world, f"RETURN {expression}", [value], [])


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ("[null, null]", [[0, None, None, None, 2]]),
        ("[null, 2, 4]", [[6, 3, 1, 1, 3]]),
        ("['a', 1]", [[None, None, None, None, 2]]),
        ("[]", [[None, None, None, None, None]]),
    ],
)
def test_aggregates_say_nothing_of_what_is_no_number(
    world: World, values: str, rows: list[Any]
) -> None:
    """By `Aggregator.cpp`: nulls alone amount to 0, and what is no number makes null in silence."""
    aggregates = "s = SUM(x), a = AVG(x), v = VARIANCE(x), d = STDDEV(x), n = COUNT(x)"
    text = f"FOR x IN {values} COLLECT AGGREGATE {aggregates} RETURN [s, a, v, d, n]"
    _same(world, text, rows, [])


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[{'': 5}[null], {'true': 5}[true], {'1': 5}[1.5], {'1': 5}[1]]", [None, None, 5, 5]),
        ("[[1, 2]['1'], [1, 2]['-1'], [1, 2][-1], [1, 2][NOOPT('-1')]]", [2, None, 2, 2]),
    ],
)
def test_indexes(world: World, expression: str, value: Any) -> None:
    """By `Expression.cpp` and `Ast::optimizeIndexedAccess`."""
    _same(world, f"RETURN {expression}", [value], [])


@pytest.mark.parametrize(
    ("expression", "value", "warnings"),
    [
        ("DATE_TIMESTAMP(2025, 1)", None, [1541, 1572]),
        ("DATE_TIMESTAMP(2025, 1, [])", None, [1542, 1572]),
        ("DATE_ISO8601(2025, 1)", None, [1541]),
        ("DATE_ISO8601(2025, 1, [])", None, [1542]),
        (r"REGEX_TEST('a_b', 'a\\_b')", True, []),
        ("REGEX_REPLACE('aaa', 'a*', 'x')", "xx", []),
        ("REGEX_REPLACE('baac', 'a*', '-')", "-b--c-", []),
        ("REGEX_REPLACE('abc', 'c|$', '!')", "ab!!", []),
    ],
)
def test_dates_and_patterns(world: World, expression: str, value: Any, warnings: list[int]) -> None:
    """By `aql.js`: what DATE_ISO8601 passes over warns twice; an underscore can be escaped."""
    _same(world, f"RETURN {expression}", [value], warnings)


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("DOCUMENT(missing, 'a')", 1203),
        ("IS_SAME_COLLECTION(missing, 'a/b')", 1203),
        ("COLLECTION_COUNT('missing')", 1203),
        ("COLLECTION_COUNT(5)", 1542),
    ],
)
def test_collections_that_functions_are_given(world: World, expression: str, number: int) -> None:
    """A collection that is named as such has to be there; what is no name is refused."""
    assert world.run(f"RETURN {expression}", {}, {}).error == number


def test_with_names_collections_that_are_there(world: World) -> None:
    """A collection that WITH names and nobody has is error 1203, used or not."""
    _same(world, "WITH people, knows RETURN 1", [1], [])
    assert world.run("WITH people, missing RETURN 1", {}, {}).error == 1203


def test_what_is_out_of_range_warns_among_constants_alone(world: World) -> None:
    """By `Expression.cpp`: an infinite result becomes null; only folding constants warns of it."""
    _same(world, "RETURN 1e308 * 10", [None], [1504])
    _same(world, "FOR x IN [1e308] RETURN x * 10", [None], [])


def test_a_loop_is_met_from_either_end(world: World) -> None:
    """ANY is OUTBOUND, then INBOUND (`GraphNode::addEdgeCollection`); no way goes twice over it."""
    text = "FOR v, e, p IN 1..2 ANY 'people/yaku' follows RETURN p.edges[*]._key"
    loop, other = ["f04"], ["f06"]
    _same(world, text, [loop, loop + other, other, [*other, "f03"], loop, loop + other], [])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("UPDATE 'zz' WITH {} IN scratch OPTIONS {ignoreErrors: 1} RETURN NEW", [None]),
        (
            "UPDATE 's1' WITH {n: null} IN scratch OPTIONS {keepNull: 0} RETURN HAS(NEW, 'n')",
            [False],
        ),
        (
            "UPDATE 's1' WITH {sub: {}} IN scratch OPTIONS {mergeObjects: null} RETURN NEW.sub",
            [{}],
        ),
    ],
)
def test_options_of_changes_go_by_their_truth(world: World, text: str, rows: list[Any]) -> None:
    """1 is as good as true, and 0 or null as false (`createModificationOptions`)."""
    _same(world, text, rows, [])
