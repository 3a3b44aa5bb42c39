"""LIKE and regular expressions."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.embedded.aql import patterns as p
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS

SHORT = st.text(st.sampled_from("ab%_\\.é🔥\n"), max_size=6)
GENEROUS_S = 15.0
"""What a hostile pattern may take on a busy machine, seconds; `re` would take years."""


def like(text: str, pattern: str) -> bool:
    """LIKE by its definition, without any pattern language."""
    if not pattern:
        return not text
    first, rest = pattern[0], pattern[1:]
    if first == "%":
        return any(like(text[start:], rest) for start in range(len(text) + 1))
    if first == "_":
        return bool(text) and like(text[1:], rest)
    if first == "\\" and rest[:1] in ("%", "_", "\\") and rest:
        first, rest = rest[0], rest[1:]
    return text[:1] == first and like(text[1:], rest)


@given(SHORT, SHORT.filter(lambda pattern: len(pattern) - len(pattern.rstrip("\\")) != 1))
def test_like_is_what_its_definition_says(text: str, pattern: str) -> None:
    """Wildcards, escapes, line breaks, and characters beyond the basic plane."""
    assert p.compile_like(pattern).covers(text) == like(text, pattern)


@pytest.mark.parametrize(
    ("pattern", "letter"),
    [("(x+x+)+y", "x"), ("(a|aa)+$b", "a"), ("(.*)*(.*)*!", "a"), ("(a?){50}a{50}!", "a")],
)
def test_no_pattern_takes_exponential_time(pattern: str, letter: str) -> None:
    """Patterns that `re` would still be busy with when the sun goes out."""
    begun = time.monotonic()
    assert not p.compile_regex(pattern).found_in(letter * 50_000)
    assert time.monotonic() - begun < GENEROUS_S


def test_like_takes_linear_time() -> None:
    """Many wildcards over a text that nearly fits."""
    begun = time.monotonic()
    assert not p.compile_like("%a" * 100 + "b").covers("a" * 50_000)
    assert time.monotonic() - begun < GENEROUS_S


def test_a_large_pattern_over_a_long_text_is_refused() -> None:
    """What would need too many steps, and what is too long."""
    with pytest.raises(ResourceLimit):
        p.compile_regex("(?:a?){400}a{400}b").found_in("a" * 1_000_000)
    with pytest.raises(ResourceLimit):
        p.compile_regex("a" * (p.MAX_PATTERN_BYTES + 1))


def test_a_search_looks_at_the_deadline() -> None:
    """Each match may have to look at the whole rest of the text: somebody has to say stop."""

    class TimeIsUp(Exception):
        """The query's time is over."""

    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 10:
            raise TimeIsUp

    with pytest.raises(TimeIsUp):
        FUNCTIONS["REGEX_REPLACE"].call(Call(check=check), "a" * 10_000, "a.*b|a", "x")


@pytest.mark.parametrize("pattern", ["[a-", "(", "*", "a(?=b)", r"(a)\1", "a{2,1}", "\\"])
def test_an_invalid_pattern_says_so(pattern: str) -> None:
    """What RE2 cannot do is invalid too."""
    with pytest.raises(p.InvalidPattern):
        p.compile_regex(pattern)


@given(st.text(st.sampled_from("ab()[]{}|*+?.^$\\dwsuC1,-é🔥"), max_size=10), SHORT)
def test_any_pattern_is_good_or_invalid(pattern: str, text: str) -> None:
    """Nothing else is raised, whatever its matches cut off."""
    try:
        compiled = p.compile_regex(pattern)
    except p.InvalidPattern:
        return
    encoded = p.to_bytes(text)
    for match in compiled.matches(encoded):
        p.expand("$1$&$$\\x", match, encoded)


@given(
    st.lists(st.text(st.sampled_from("ab.*é"), min_size=1, max_size=3), min_size=1, max_size=3),
    st.text(st.sampled_from("ab.*é"), max_size=8),
)
def test_any_of_some_texts_is_found_where_re_finds_it(texts: list[str], text: str) -> None:
    """Leftmost first, then the one that is named first."""
    encoded = p.to_bytes(text)
    found = [encoded[m.start : m.end] for m in p.compile_any_of(tuple(texts)).matches(encoded)]
    assert [p.from_bytes(one) for one in found] == re.findall("|".join(map(re.escape, texts)), text)
