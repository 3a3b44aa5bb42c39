from __future__ import annotations

import itertools
import re

import pytest

from mallku_contracts.globs import glob_pattern, overlap

GLOBS = ["".join(each) for n in range(1, 4) for each in itertools.product("ab*", repeat=n)]
NAMES = ["".join(each) for n in range(1, 7) for each in itertools.product("ab", repeat=n)]


@pytest.fixture(scope="module")
def matched() -> dict[str, set[str]]:
    """Which names each glob matches."""
    patterns = {glob: re.compile(glob_pattern(glob)) for glob in GLOBS}
    return {
        glob: {name for name in NAMES if pattern.fullmatch(name)}
        for glob, pattern in patterns.items()
    }


def test_globs_overlap_where_a_name_is_matched_by_both(matched: dict[str, set[str]]) -> None:
    """Every pair of short globs, against every name that could tell them apart."""
    for one, other in itertools.product(GLOBS, repeat=2):
        assert overlap(one, other) is bool(matched[one] & matched[other]), (one, other)
