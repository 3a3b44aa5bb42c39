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
        ("RETURN [REMOVE_VALUES([[], [null], 1], [[]]), POSITION([[null]], [])]", [[[1], True]]),
    ],
)
def test_sets_and_groups_count_nulls_that_comparing_does_not(
    world: World, query: str, rows: list[Any]
) -> None:
    """`[] == [null]`, but they are two values of a set; where groups are sorted they are one."""
    _same(world, query, rows, [])
