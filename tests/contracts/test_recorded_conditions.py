"""A rule's condition comes back out of a record as it went in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_contracts.policy.recorded import read_recorded
from mallku_contracts.policy.where import read_where

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "ab", "b"])
FIELDS = st.sampled_from(["a", "b", "c.d", "document", "`all`"])
TESTS = st.one_of(
    SCALARS,
    st.tuples(st.sampled_from(["==", "!=", "has"]), SCALARS).map(lambda pair: {pair[0]: pair[1]}),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.integers(-9, 9)).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    st.lists(SCALARS, min_size=1, max_size=3).map(lambda some: {"in": some}),
    st.lists(SCALARS, min_size=1, max_size=3).map(lambda some: {"not_in": some}),
    st.sampled_from(["a", "ab"]).map(lambda text: {"prefix": text}),
    st.booleans().map(lambda there: {"exists": there}),
)
LEAVES = st.dictionaries(FIELDS, TESTS, min_size=1, max_size=3)
WHERES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"any": some}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"all": some}),
        inner.map(lambda one: {"not": one}),
    ),
    max_leaves=6,
)
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.just("d"), SCALARS, max_size=1)
)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "c", "all", "document"]), VALUES, max_size=5)


@settings(deadline=None)
@given(WHERES, DOCUMENTS)
def test_what_is_read_back_holds_for_the_same_documents(
    where: dict[str, Any], document: dict[str, Any]
) -> None:
    """Whatever combinations and values a rule has."""
    condition = read_where(where)
    text, values = condition.to_aql("document", "b")
    again = read_recorded(text, values)
    assert again.matches(document) == condition.matches(document)
    assert read_recorded(*again.to_aql("document", "b")).matches(document) == again.matches(
        document
    )


@pytest.mark.parametrize(
    "text",
    [
        "1 == 1",
        "other.a == @b0",
        "document == @b0",
        "document.a == @b1",
        "document.a LIKE @b0",
        "LENGTH(document.a) == @b0",
        "IS_STRING(document.a) AND LOWER(document.a)",
        "(FOR d IN people RETURN d)",
        "document.a == ",
        "document[@b0] == @b0",
    ],
)
def test_what_the_gateway_does_not_write_is_refused(text: str) -> None:
    """Records are believed only as far as they are understood."""
    with pytest.raises(ValueError, match=r".+"):
        read_recorded(text, {"b0": 1})
