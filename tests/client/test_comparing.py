"""Two answers are compared: what differs is found, and what changed in between is told apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_client.rollout import Verdict
from mallku_client.rollout.comparing import compare, snapshot
from tests.contracts.test_codec import PLAIN

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_an_answer_equals_itself(value: Any) -> None:
    """Whatever it is."""
    text = snapshot(value)
    assert text is not None
    for same in (True, False):
        assert compare(text, text, same_database=same) == (Verdict.EQUAL, ())


@given(st.lists(JSON, max_size=5), st.randoms())
def test_the_order_of_rows_does_not_count(rows: list[Any], chance: Any) -> None:
    """Nobody promised it."""
    left, right = snapshot(rows), snapshot(chance.sample(rows, len(rows)))
    assert left is not None
    assert right is not None
    assert compare(left, right, same_database=False)[0] is Verdict.EQUAL


@given(JSON, JSON)
def test_other_answers_are_found_to_be_others(left: Any, right: Any) -> None:
    """A difference has a place, and the place holds no value."""
    one, other = snapshot([left]), snapshot([right])
    assert one is not None
    assert other is not None
    verdict, paths = compare(one, other, same_database=False)
    if "_rev" not in one + other:
        assert (verdict is Verdict.EQUAL) == (one == other)
    assert bool(paths) == (verdict is Verdict.DIFFERENT)


def test_a_difference_names_places_without_values() -> None:
    """So that it can be logged."""
    left, right = snapshot({"a": {"b": "secret"}, "c": 1}), snapshot({"a": {"b": "other"}})
    assert left is not None
    assert right is not None
    assert compare(left, right, same_database=True) == (Verdict.DIFFERENT, ("$.a.b", "$.c"))


def test_a_document_that_was_changed_in_between_is_no_difference() -> None:
    """Its revisions say so where both ways lead to one database; elsewhere they say nothing."""
    left, right = (snapshot({"_id": "c/1", "_rev": rev, "n": rev}) for rev in ("1", "2"))
    assert left is not None
    assert right is not None
    assert compare(left, right, same_database=True)[0] is Verdict.MOVED
    assert compare(left, right, same_database=False) == (Verdict.DIFFERENT, ("$.n",))


def _compared(left: Any, right: Any) -> tuple[Verdict, tuple[str, ...]]:
    one, other = snapshot(left), snapshot(right)
    assert one is not None
    assert other is not None
    return compare(one, other, same_database=True)


def _row(key: str, rev: str = "1") -> dict[str, Any]:
    return {"_id": f"c/{key}", "_rev": rev, "n": rev}


@pytest.mark.parametrize(
    ("legacy", "gateway", "path"),
    [
        (_row("a"), None, "$"),
        (None, _row("a"), "$"),
        ([_row("a")], [], "$"),
        ([_row("a"), _row("b")], [_row("a")], "$"),
        ([_row("a")], [_row("a"), _row("b")], "$"),
        (_row("a"), _row("b"), "$._id"),
    ],
)
def test_a_document_that_one_way_does_not_show_is_a_difference(
    legacy: Any, gateway: Any, path: str
) -> None:
    """Nothing, an empty list, a shorter or a longer one: no revision says that it was changed."""
    assert _compared(legacy, gateway) == (Verdict.DIFFERENT, (path,))


def test_a_document_that_was_changed_hides_no_other() -> None:
    """The rest of the list is compared as if it were not there."""
    changed = ([_row("a")], [_row("a", "2")])
    assert _compared(*changed) == (Verdict.MOVED, ())
    assert _compared([*changed[0], _row("b")], [_row("b"), *changed[1]]) == (Verdict.MOVED, ())
    assert _compared([*changed[0], _row("b")], changed[1]) == (Verdict.DIFFERENT, ("$",))
    rows = _row("b"), {**_row("b"), "n": "other"}
    assert _compared([*changed[0], rows[0]], [*changed[1], rows[1]]) == (
        Verdict.DIFFERENT,
        ("$[0].n",),
    )


@given(PLAIN)
def test_no_answer_makes_a_snapshot_fail(value: Any) -> None:
    """Whatever stands in a document."""
    snapshot(value)
