"""The one codec: everything that Mallku puts into documents, and what cannot be stored."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_client.mallku import plain, restore
from mallku_contracts import codec
from mallku_contracts.errors import InvalidArguments
from tests.client.mallku.mallku_like import Activity, Level, Phase

AWARE = datetime(2025, 8, 16, 12, 30, 1, 5, tzinfo=timezone(timedelta(hours=-5)))
NAIVE = AWARE.replace(second=0, microsecond=0, tzinfo=None)
ID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

FORMS: list[tuple[Any, Any, Any]] = [
    (AWARE, "2025-08-16T12:30:01.000005-05:00", datetime),
    (NAIVE, "2025-08-16T12:30:00", datetime),
    (date(2025, 8, 16), "2025-08-16", date),
    (time(12, 30), "12:30:00", time),
    (ID, str(ID), UUID),
    (Phase.WAKING, "waking", Phase),
    (Level.HIGH, 3, Level),
    ({"b", "a"}, ["a", "b"], set[str]),
    (frozenset({2, 1}), [1, 2], frozenset[int]),
    ((1, "a"), [1, "a"], tuple[int, str]),
    (Decimal("1.10"), "1.10", Decimal),
    (Path("/a/b"), "/a/b", Path),
    (PurePosixPath("a"), "a", PurePosixPath),
    ({ID, Phase.WAKING.value}, [str(ID), "waking"], None),
    (OrderedDict(a=1), {"a": 1}, None),
    (defaultdict(list, a=[1]), {"a": [1]}, None),
    ({Phase.WAKING: 1, ID: 2, 3: 3}, {"waking": 1, str(ID): 2, "3": 3}, None),
    (True, True, bool),
    (None, None, None),
    (2**64 - 1, 2**64 - 1, int),
    ("text", "text", str),
]


@pytest.mark.parametrize(("value", "form", "kind"), FORMS)
def test_a_value_has_its_nearest_form(value: Any, form: Any, kind: Any) -> None:
    """And comes back as what it was, where its type is known."""
    made = plain({"a": [value]})["a"][0]
    assert made == form
    assert type(made) is type(form)
    codec.pack(made)
    if kind is not None:
        assert restore(kind, made) == value


def test_models_are_maps_of_their_fields() -> None:
    """Also inside others; the types of their values included."""
    model = Activity(interaction_id="a", kind="gift", at=AWARE, tags=["x"])
    made = plain({"model": [model]})
    assert made["model"][0]["at"] == AWARE.isoformat()
    assert restore(Activity, made["model"][0]) == model


REFUSED: list[tuple[Any, str]] = [
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (Decimal("NaN"), "NaN"),
    (2**64, "64 bits"),
    (object(), "object has no plain form"),
    (b"bytes", "bytes has no plain form"),
    (timedelta(1), "timedelta has no plain form"),
    (Activity, "no plain form"),
    (lambda: 1, "function has no plain form"),
    ({(1, 2): 1}, "is a tuple, not a string"),
    ({True: 1}, "is a bool, not a string"),
    ({1: "a", "1": "b"}, "there twice"),
]


@pytest.mark.parametrize(("value", "why"), REFUSED)
def test_what_cannot_be_stored_is_refused_with_its_path(value: Any, why: str) -> None:
    """Whole, in a map, in a list, in a model."""
    for whole, path in (
        ({"a": {"b": [0, value]}}, "document.a.b[1]"),
        (Activity(interaction_id="a", kind="k", details={"x": value}), "document.details.x"),
    ):
        with pytest.raises(InvalidArguments) as refused:
            plain(whole, "document")
        (named,) = refused.value.details["fields"]
        assert named == path
        assert why in str(refused.value)


def test_cycles_end() -> None:
    """In maps, in lists, through both."""
    one: dict[str, Any] = {}
    one["again"] = [one]
    with pytest.raises(InvalidArguments, match="a cycle, or nested deeper"):
        plain(one)


def test_dumps_of_dumps_end() -> None:
    """What gives itself, or another that does, has no plain form; a model in a model has one."""

    class Endless:
        def model_dump(self) -> Any:
            return Endless()

    class Twice:
        def model_dump(self) -> Any:
            return Activity(interaction_id="a", kind="gift")

    for whole in (Endless(), {"a": [Endless()]}, MagicMock()):
        with pytest.raises(InvalidArguments, match="a cycle, or nested deeper"):
            plain(whole, "document")
    assert plain(Twice())["kind"] == "gift"


def test_the_result_is_the_callers_no_more() -> None:
    """What the caller changes afterwards is not sent."""
    inner = [1]
    made = plain({"a": inner})
    inner.append(2)
    assert made == {"a": [1]}


def test_the_same_set_is_the_same_bytes() -> None:
    """So that a repeated insert repeats itself, whatever the order of hashes."""
    words = [f"w{n}" for n in range(50)]
    assert plain(set(words)) == plain(frozenset(words[::-1]))


def test_a_value_of_another_form_does_not_come_back() -> None:
    """The refusal has the path."""
    with pytest.raises(InvalidArguments, match=r"value\[0\]"):
        restore(list[datetime], ["no time"])


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FINITE | st.text()
JSON = st.recursive(SINGLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(JSON)
def test_plain_values_stay_what_they_are(value: Any) -> None:
    """Whatever JSON knows is equal afterwards, and made of exact types."""
    made = plain(value)
    assert made == value
    json.dumps(made)


@given(st.datetimes(timezones=st.just(UTC) | st.none()))
def test_times_come_back(value: datetime) -> None:
    """Aware and naive."""
    assert restore(datetime, plain(value)) == value
