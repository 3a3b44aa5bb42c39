"""The order of strings."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mallku_workers.stores.embedded.collation import collation_key, compare_text
from mallku_workers.stores.embedded.values import AFTER_PREFIX
from tests.workers.embedded.aql.values import TEXTS

RECORDED = (
    ["E", "É", "e", "é", "f", "n", "ñ", "o", "ss", "st", "zz", "ø", "ß"],
    ["A b", "a b", "a-b", "a.b", "aB", "a_b", "ab"],
    ["", " leading blank", "100% wool", "Apple harvest", "Ärger am Morgen", "Dawn over Cusco"],
    ["Ñawi opens", "Östlicher Wind", "STRASSE", "Straße", "Zulu", "apple harvest"],
    ["dawn over cusco", "emoji 🔥 circle", "naive", "naïve", "tab\there", "東京の朝"],
    ["Amaru", "Chaska", "Íllá", "Inti", "Killa", "PUMA", "Qori", "Yaku", "rumi"],
)
"""In the order that a real server sorted them into."""


@pytest.mark.parametrize("texts", RECORDED, ids=lambda texts: texts[0] or "empty")
def test_texts_are_sorted_as_by_a_real_server(texts: list[str]) -> None:
    """Whatever order they come in."""
    shuffled = random.Random(1).sample(texts, len(texts))
    assert sorted(shuffled, key=collation_key) == texts


@given(st.text(st.characters(max_codepoint=127)), st.text(st.characters(max_codepoint=127)))
def test_plain_ascii_is_ordered_by_code_point(one: str, other: str) -> None:
    """Control characters included."""
    assert compare_text(one, other) == (one > other) - (one < other)


@given(TEXTS, TEXTS, TEXTS)
@example("é", "e\u0301", "e")
@example("\x1d\x03", "\u20ac", "$")
def test_the_order_is_total_and_only_the_same_texts_are_equal(
    one: str, other: str, third: str
) -> None:
    """Antisymmetric, transitive, and with one key for each text."""
    assert compare_text(one, other) == -compare_text(other, one)
    assert (compare_text(one, other) == 0) == (one == other)
    assert (collation_key(one) == collation_key(other)) == (one == other)
    if compare_text(one, other) <= 0 and compare_text(other, third) <= 0:
        assert compare_text(one, third) <= 0


@given(TEXTS, TEXTS, st.binary(max_size=3))
@example("\x1d\x03", "\u0338", b"")
def test_no_key_is_a_prefix_of_another(one: str, other: str, more: bytes) -> None:
    """So that keys can be joined, and a range of them ends where it should."""
    if one != other:
        assert not collation_key(one).startswith(collation_key(other))
    assert collation_key(one) + more < collation_key(one) + AFTER_PREFIX + more + b"\xff"


@pytest.mark.parametrize("texts", [["я", "Я"], ["\uff41", " "], ["“", " "], ["한", "東"]])
def test_what_is_not_latin_has_its_place(texts: list[str]) -> None:
    """Capitals first, punctuation before ASCII, Chinese last."""
    expected = {"я": ["Я", "я"]}.get(texts[0], texts)
    assert sorted(texts, key=collation_key) == expected
