"""Values of AQL for property tests: every kind, with the ones that are easily got wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "ab", "", "_k", "A", "é", "0", "1"]
TEXTS = (
    st.sampled_from(
        ["", "a", "A", "é", "É", "e\u0301", "ß", "ss", "ø", "æ", "z", " ", "_", "“", "€"]
    )
    | st.sampled_from(
        ["\x00", "a\x00", "\x01", "\x02", "1", "0x10", "1e999", "null", "[1]", "🔥", "東"]
    )
    | st.sampled_from(
        ["\ud83d", "a\udd25", "2025-03-01", "P1D", "month", "^a+$", "(", "%_\\%", "$1"]
    )
    | st.text(max_size=6)
)
NUMBERS = (
    st.integers(-3, 3)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.5, 1e300, -1e300, 5e-324, 2.0**53, 2**53 + 1, 2**63])
    | st.sampled_from([1740000000000, -62135596800000, 8.64e15])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)
