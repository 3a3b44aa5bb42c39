"""One spelling for every JSON value: RFC 8785's, at a cost that no text can drive up."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.canonical import canonical


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (1e-6, "0.000001"),
        (-1.5e-10, "-1.5e-10"),
        (1.2345678901234567e20, "123456789012345670000"),
        (5e-324, "5e-324"),
        (-1e-9, "-1e-9"),
        (1.5e-5, "0.000015"),
        (1e22, "1e+22"),
        ({"ä": [(1.0, -0.0)], "a": "\x01e-07 2.0"}, '{"a":"\\u0001e-07 2.0","ä":[[1,0]]}'),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2**63, "9223372036854775808"),
        ('1.0e5 "\\\n\u20ac\u0007', '"1.0e5 \\"\\\\\\n€\\u0007"'),
        ({"b": [1.0, None, True], "a": {}}, '{"a":{},"b":[1,null,true]}'),
    ],
)
def test_canonical_json_is_what_ecmascript_writes(value: object, text: str) -> None:
    """Numbers, strings and order are RFC 8785's."""
    assert canonical(value).decode() == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


NUMBERS = st.integers() | st.floats(-1e15, 1e15)  # beyond it a whole float reads as an integer


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_canonical_json_means_its_value(value: object) -> None:
    """Read again it is the same value, and its spelling stays."""
    text = canonical(value)
    again = json.loads(text)
    assert canonical(again) == text
    assert again == value


def test_what_json_cannot_say_is_refused() -> None:
    """NaN, infinities, bytes and lone surrogates have no spelling."""
    for value in (float("nan"), float("inf"), b"x", "\ud800", {"x": [object()]}):
        with pytest.raises(ValueError):  # noqa: PT011 - the messages are the library's
            canonical(value)


def test_canonical_spelling_costs_little_whatever_is_in_a_text() -> None:
    """Escapes and numbers within texts cost no more than a few times what plain text does."""

    def cost_s(text: str) -> float:
        began = time.perf_counter()
        canonical({"text": text, "odd": 1.0})
        return time.perf_counter() - began

    cost_s("warm")
    plain_s = min(cost_s("1.0x" * 400_000) for _ in range(3))
    assert min(cost_s("\x01" * 270_000) for _ in range(3)) < 20 * plain_s + 0.05
    assert canonical({"a": ["1.0", '"', "\\", -0.0, 1.0]}) == b'{"a":["1.0","\\"","\\\\",0,1]}'
