"""What values mean: order, equality, truth, and what they are as another type."""

from __future__ import annotations

import json
import math
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mallku_workers.stores.embedded.aql import values as v
from tests.workers.embedded.aql.values import NUMBERS, VALUES

IN_ORDER: list[Any] = [
    None, False, True, -1e300, -1, 0, 0.5, 1, 2**53, 2**53 + 1, 1e300,
    "", " ", "1", "A", "É", "a", "aa", "é", [], [False], [0], [0, 0], ["a"], [[]], [{}],
    {}, {"b": 0}, {"a": False}, {"a": 1}, {"a": 1, "b": 1}, {"a": 2},
]  # fmt: skip


def test_the_order_of_types_and_values() -> None:
    """Each of these is less than the next."""
    for one, other in pairwise(IN_ORDER):
        assert (one, other, v.compare(one, other)) == (one, other, -1)


@given(VALUES, VALUES, VALUES)
def test_the_order_is_total(one: Any, other: Any, third: Any) -> None:
    """Antisymmetric and transitive, and `equal` is the same as comparing equal."""
    assert v.compare(one, other) == -v.compare(other, one)
    assert v.equal(one, other) == (v.compare(one, other) == 0)
    if v.compare(one, other) <= 0 and v.compare(other, third) <= 0:
        assert v.compare(one, third) <= 0


@given(st.lists(VALUES, max_size=6))
def test_sorting_by_key_is_sorting_by_comparison(values: list[Any]) -> None:
    """Equal values keep their places."""
    by_key = sorted(range(len(values)), key=lambda place: v.sort_key(values[place]))

    def compare(one: int, other: int) -> int:
        return v.compare(values[one], values[other])

    assert by_key == sorted(range(len(values)), key=cmp_to_key(compare))


@given(VALUES, VALUES)
@example(1, 1.0)
@example(True, 1)
@example({}, {"a": None})
@example([1], [1, None])
@example(2**53 + 1, 2.0**53)
def test_group_keys_are_equal_when_values_are(one: Any, other: Any) -> None:
    """And hash alike then; but lists and objects that differ in nulls alone are two groups."""
    keys = v.group_key(one), v.group_key(other)
    assert keys[0] != keys[1] or v.equal(one, other)
    padded = isinstance(one, list | dict) and "null" in v.to_json([one, other])
    if v.equal(one, other) and not padded:
        assert keys[0] == keys[1]
        assert hash(keys[0]) == hash(keys[1])


@given(VALUES)
def test_casts_always_give_their_type(value: Any) -> None:
    """Nothing raises, and what is made is storable."""
    assert type(v.to_bool(value)) is bool
    number = v.to_number(value)
    assert v.is_number(number)
    assert math.isfinite(number)
    assert type(v.to_string(value)) is str
    assert type(v.to_array(value)) is list


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5), (" -5 ", -5), ("1.5e3", 1500.0), (".5", 0.5), ("5.", 5.0), ("0x10", 16),
        ("", 0), ("5x", 0), ("1_0", 0), ("inf", 0), ("nan", 0), ("1e999", 0), ("٣", 0),
        ("9" * 5_000, 0), ("12345678901234567890", 12345678901234567890.0), ("--1", 0),
    ],
)  # fmt: skip
def test_a_text_is_the_number_that_it_spells_as_a_whole(text: str, number: float) -> None:
    """What Python alone would read is no number."""
    assert v.to_number(text) == number


@pytest.mark.parametrize(
    ("number", "stored", "constant"),
    [
        (0.0, "0", "0"), (-0.0, "0", "0"), (1.0, "1", "1"), (1e7, "10000000", "10000000"),
        (1e10, "1e+10", "10000000000"), (1.5e300, "1.5e+300", "1.5e+300"),
        (1 / 3, "0.3333333333333333", "0.3333333333333333"), (1e-6, "0.000001", "0.000001"),
        (1e-7, "1e-7", "1e-7"), (-2.5, "-2.5", "-2.5"), (1e20, "1e+20", "100000000000000000000"),
        (1e21, "1e+21", "1e+21"), (1740000000000.25, "1740000000000.25", "1740000000000.25"),
        (123456789012, "123456789012", "123456789012"),
    ],
)  # fmt: skip
def test_numbers_are_printed_as_the_server_prints_them(
    number: float, stored: str, constant: str
) -> None:
    """Stored ones by its own rules, constants by JavaScript's."""
    assert (v.to_string(number), v.to_string(number, javascript=True)) == (stored, constant)


@given(NUMBERS, st.booleans())
def test_a_printed_number_reads_as_itself(number: float, javascript: bool) -> None:
    """No digit is lost, but of integers that JavaScript makes doubles of."""
    expected = float(number) if javascript and abs(number) > 2**53 else number
    assert float(v.to_string(number, javascript=javascript)) == float(expected)


@given(VALUES)
def test_json_reads_as_the_value(value: Any) -> None:
    """Every kind, every character; a whole double is printed like an integer."""
    assert v.equal(doubles(json.loads(v.to_json(value))), doubles(value))


def doubles(value: Any) -> Any:
    """The value with every number as a double."""
    if isinstance(value, list):
        return [doubles(item) for item in value]
    if isinstance(value, dict):
        return {name: doubles(item) for name, item in value.items()}
    return float(value) if v.is_number(value) else value
