"""Operators."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.warnings import DIVISION_BY_ZERO, NUMBER_OUT_OF_RANGE
from tests.workers.embedded.aql.values import NUMBERS, VALUES

ARITHMETIC = "+-*/%"


@given(st.sampled_from(sorted(o.BINARY)), VALUES, VALUES)
def test_no_operator_raises(operator: str, left: Any, right: Any) -> None:
    """Arithmetic gives a finite number of at most 64 bits, or null with a warning."""
    call = Call()
    result = o.BINARY[operator](left, right, call)
    if operator not in ARITHMETIC:
        assert type(result) is bool
    elif result is None:
        assert call.warnings.codes <= {DIVISION_BY_ZERO, NUMBER_OUT_OF_RANGE} != set()
    else:
        assert math.isfinite(result)
        assert type(result) is float or -(2**63) <= result < 2**64


@given(st.sampled_from(sorted(o.UNARY)), VALUES)
def test_no_unary_operator_raises(operator: str, value: Any) -> None:
    """A boolean or a number."""
    assert type(o.UNARY[operator](value)) in ((bool,) if operator == "!" else (int, float))


@given(NUMBERS, NUMBERS)
def test_arithmetic_is_pythons_where_that_is_exact(left: Any, right: Any) -> None:
    """Sum, difference and product of small integers; the quotient of doubles."""
    if abs(left) < 2**31 and abs(right) < 2**31:
        assert o.BINARY["+"](left, right, Call()) == left + right
        assert o.BINARY["-"](left, right, Call()) == left - right
        assert o.BINARY["*"](left, right, Call()) == left * right
        if right:
            assert o.BINARY["/"](left, right, Call()) == o.finite(left / right)
            assert o.BINARY["%"](left, right, Call()) == math.fmod(left, right)


@pytest.mark.parametrize(
    ("left", "operator", "right", "result", "codes"),
    [
        (1, "/", 0, None, {1562}), (1, "%", "x", None, {1562}), (6, "/", 3, 2, set()),
        (1e308, "*", 10, None, {1504}), (2**63 - 1, "+", 1, 2.0**63, set()),
        (2**62, "*", 2, 2.0**63, set()), (-7, "%", 3, -1, set()), (7, "%", -3, 1, set()),
        ("5", "+", 5, 10, set()), ("a", "+", "b", 0, set()), ([3], "*", {"a": 1}, 0, set()),
        (True, "+", None, 1, set()), (2**63 - 1, "/", 1e-300, None, {1504}),
    ],
)  # fmt: skip
def test_arithmetic_at_its_edges(
    left: Any, operator: str, right: Any, result: Any, codes: set[int]
) -> None:
    """Zero, overflow, signs, and what is no number."""
    call = Call(constant=True)
    assert (o.BINARY[operator](left, right, call), call.warnings.codes) == (result, codes)


@given(VALUES, st.lists(VALUES, max_size=4))
def test_in_is_equal_to_some_item(value: Any, items: list[Any]) -> None:
    """And false for anything but a list."""
    expected = any(o.equal(value, item) for item in items)
    assert o.BINARY["IN"](value, items, Call()) is expected
    assert o.BINARY["NOT IN"](value, items, Call()) is not expected
    assert o.contains(value, {"a": value}, Call()) is False


@given(VALUES, VALUES)
def test_access_never_raises(value: Any, index: Any) -> None:
    """What is not there is null."""
    o.access(value, index)


@pytest.mark.parametrize(
    ("value", "index", "part"),
    [
        ([10, 20], 1, 20), ([10, 20], -1, 20), ([10, 20], -3, None), ([10, 20], 2, None),
        ([10, 20], 1.9, 20), ([10, 20], "1", 20), ([10, 20], "x", None), ([10, 20], None, None),
        ({"a": 1, "1": 2}, "a", 1), ({"1": 2}, 1, 2), ("abc", 0, None), (None, 0, None),
        ([10, 20], True, None),
    ],
)  # fmt: skip
def test_access_finds_items_and_attributes(value: Any, index: Any, part: Any) -> None:
    """From the end where the index is negative."""
    assert o.access(value, index) == part


def test_ranges_count_both_ways_and_are_bounded() -> None:
    """Fractions are cut; a range is a list only when it is short enough."""
    assert o.list_range(1.4, 3.6, Call()) == [1, 2, 3]
    assert o.list_range(3, "1", Call()) == [3, 2, 1]
    assert len(o.range_of(0, 10**12)) == 10**12 + 1
    with pytest.raises(ResourceLimit):
        o.list_range(0, 10**12, Call())
    with pytest.raises(ResourceLimit):
        o.range_of(0, 1e300)


def test_flattening_is_bounded() -> None:
    """Lists that hold the same list many times grow quickly when they are flattened."""
    lists: Any = [1]
    for _ in range(40):
        lists = [lists, lists]
    with pytest.raises(ResourceLimit):
        o.flatten(lists, 50)
    assert o.flatten([1, [2, [3]]], 1) == [1, 2, [3]]
