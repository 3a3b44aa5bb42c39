"""Conditions that can never hold, or cannot be compiled, are found when they are read."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.policy.condition import Comparison
from mallku_contracts.policy.contradiction import is_idle, is_impossible
from mallku_contracts.policy.problem import PolicyProblem
from mallku_contracts.policy.where import MAX_COMPARISONS, MAX_WHERE_DEPTH, read_where


@pytest.mark.parametrize(
    "where",
    [
        {"a": {"==": 1, "!=": 1}},
        {"all": [{"a": 1}, {"a": 2}]},
        {"a": 1, "any": [{"a": 2}, {"a": {">": 3}}]},
        {"a": {"in": [1, 2], "not_in": [1, 2, 3]}},
        {"a": {">": 3, "<": 3}},
        {"a": {">=": 3, "<": 3}},
        {"a": {">=": 3, "<=": 3, "!=": 3}},
        {"a": {"<": None}},
        {"a": {"prefix": "x", "<": 5}},
        {"all": [{"a": {"prefix": "x"}}, {"a": {"prefix": "y"}}]},
        {"a": {"prefix": "xy"}, "not": {"a": {"prefix": "x"}}},
        {"a": {"has": 1, "prefix": "x"}},
        {"a": {"has": 1}, "not": {"a": {"has": 1}}},
        {"a": {"exists": False, "==": "x"}},
        {"a": "$principal", "not": {"a": "$principal"}},
        {"a": {"==": "$principal", "<": 5}},
        {"a": {">": "$now", "<=": "$now"}},
        {"a": {"<": "$now", "==": "x"}},
        {"any": [{"a": {"==": 1, "!=": 1}}, {"b": {"==": 1, "!=": 1}}]},
    ],
)
def test_a_contradiction_is_found(where: Any) -> None:
    """What can never hold is known to be impossible, also with the caller's values in it."""
    assert is_impossible(read_where(where))


@pytest.mark.parametrize(
    "where",
    [
        {"a": "$principal", "b": "bob"},
        {"all": [{"a": "$principal"}, {"a": {"in": ["bob", "eve"]}}]},
        {"a": {">": "$now", "<": 100}},
        {"a": {">": True, "<": 0}},
        {"a": {"==": "$now", ">": 3, "<": 5}},
        {"a": {"==": "$now", ">": 3.5}},
        {"a": {"==": "$now", "<": 4, "!=": 0}},
        {"a": {"prefix": "x", ">": 5, "!=": "x"}},
        {"all": [{"a": {"prefix": "x"}}, {"a": {"prefix": "xy"}}]},
        {"a": {"==": ["$principal"], "!=": ["bob"]}},
    ],
)
def test_what_can_hold_is_not_called_impossible(where: Any) -> None:
    """A condition that some document can meet for some caller is kept."""
    assert not is_impossible(read_where(where))


def test_what_always_holds_is_known() -> None:
    """A condition that excludes nothing is told apart."""
    assert is_idle(read_where({"a": {">=": None}}))
    assert is_idle(read_where({"any": [{"a": 1}, {"a": {"!=": 1}}]}))
    assert not is_idle(read_where({"a": {"exists": True}}))


def nested(levels: int) -> Any:
    """`not` inside `not`."""
    return {"not": nested(levels - 1)} if levels else {"a": 1}


@pytest.mark.parametrize(
    ("where", "place", "message"),
    [
        (None, (), "a condition is a map"),
        ([], (), "a condition is a map"),
        ({}, (), "says nothing"),
        ({"all": []}, ("all",), "all takes a list of at least one"),
        ({"any": {"a": 1}}, ("any",), "any takes a list"),
        ({"any": [{"a": 1}, 3]}, ("any", 1), "a condition is a map"),
        ({"not": {}}, ("not",), "says nothing"),
        ({"a": {}}, ("a",), "no operator"),
        ({"a": {"=": 1}}, ("a", "="), "unknown operator '='; did you mean"),
        ({"a": {"like": "x%"}}, ("a", "like"), "unknown operator 'like'"),
        ({"a": [1, 2]}, ("a",), "a list alone could mean two things"),
        ({"a": {"in": []}}, ("a", "in"), "can never hold"),
        ({"a": {"not_in": []}}, ("a", "not_in"), "says nothing"),
        ({"a": {"in": "x"}}, ("a", "in"), "in takes a list"),
        ({"a": {"in": [1] * 257}}, ("a", "in"), "more than 256 values"),
        ({"a": {"<": "x"}}, ("a", "<"), "collation"),
        ({"a": {"<": "$principal"}}, ("a", "<"), "collation"),
        ({"a": {">": [1]}}, ("a", ">"), "a range takes"),
        ({"a": {"prefix": ""}}, ("a", "prefix"), "at least one character"),
        ({"a": {"prefix": 1}}, ("a", "prefix"), "prefix takes a text"),
        ({"a": {"prefix": "$principal"}}, ("a", "prefix"), "can begin another's"),
        ({"a": {"exists": 1}}, ("a", "exists"), "exists takes true or false"),
        ({"a": "$user"}, ("a",), "unknown variable '$user'"),
        ({"a": {"==": {"b": ["$"]}}}, ("a", "==", "b", 0), "unknown variable '$'"),
        ({"a": {"==": {1: 2}}}, ("a", "=="), "1 is no attribute name"),
        ({"a": float("nan")}, ("a",), "cannot be stored"),
        ({"a": float("inf")}, ("a",), "cannot be stored"),
        ({"a": 2**53}, ("a",), "rounded"),
        ({"a": -1e300}, ("a",), "rounded"),
        ({"a": 10**400}, ("a",), "rounded"),
        ({"a": "\ud800"}, ("a",), "lone surrogate"),
        ({"a": b"x"}, ("a",), "bytes is no value"),
        ({1: 2}, (1,), "1 is no field name"),
        ({"": 1}, ("",), "not a path"),
        ({"a..b": 1}, ("a..b",), "not a path"),
        ({"a`b": 1}, ("a`b",), "not a path"),
        ({"a\\b": 1}, ("a\\b",), "not a path"),
        ({"a\nb": 1}, ("a\nb",), "not a path"),
        ({".".join("a" * 17): 1}, (".".join("a" * 17),), "not a path"),
        ({"_rev": "x"}, ("_rev",), "ask for _key"),
        (nested(MAX_WHERE_DEPTH + 1), ("not",) * (MAX_WHERE_DEPTH + 1), "nested deeper than"),
        ({f"f{at}": 1 for at in range(MAX_COMPARISONS + 1)}, (), "more than 64 comparisons"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_refused(where: Any, place: Any, message: str) -> None:
    """A condition that is wrong, empty or too large says so, with the place inside it."""
    with pytest.raises(PolicyProblem) as refused:
        read_where(where)
    assert message in refused.value.message
    assert refused.value.place == place


def test_the_depth_that_is_allowed_is_read() -> None:
    """The last level within the limit still counts."""
    assert read_where(nested(MAX_WHERE_DEPTH)) == Comparison(("a",), "==", 1)
