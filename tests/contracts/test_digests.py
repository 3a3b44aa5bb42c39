"""Keyed hashes in the place of values: what is hidden, what is found again, and by whom."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker.files import load_digests
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.digests import (
    HASH_DIGITS,
    MAX_HASHED,
    PREFIX,
    Digests,
    TooManyError,
    new_key_text,
    read_key_text,
)

KEY = bytes(range(32))
DIGESTS = Digests(KEY)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_a_hash_is_the_first_half_of_an_hmac_of_the_text() -> None:
    """RFC 2104 with SHA-256: anybody with the key computes the same."""
    whole = hmac.digest(KEY, "inti ü".encode(), "sha256").hex()
    assert DIGESTS.of("inti ü") == PREFIX + whole[:HASH_DIGITS]


def test_a_number_hashes_as_its_text_however_a_store_spells_it() -> None:
    """5, 5.0 and "5" are one value; 5.5 is another."""
    assert DIGESTS.of(5) == DIGESTS.of(5.0) == DIGESTS.of("5")
    assert DIGESTS.of(5.5) == DIGESTS.of("5.5") != DIGESTS.of(5)
    assert DIGESTS.of(2**63) == DIGESTS.of(str(2**63))


@settings(deadline=None)
@given(VALUES)
def test_no_string_and_no_number_is_left(value: object) -> None:
    """Names of fields, true, false and null stay; whatever else is there is a hash."""

    def check(was: object, now: object) -> None:
        if was is None or isinstance(was, bool):
            assert now is was
        elif isinstance(was, dict):
            assert isinstance(now, dict)
            assert list(now) == list(was)
            for name in was:
                check(was[name], now[name])
        elif isinstance(was, list):
            assert isinstance(now, list)
            for left, right in zip(was, now, strict=True):
                check(left, right)
        else:
            assert isinstance(was, str | int | float)
            assert now == DIGESTS.of(was)

    check(value, DIGESTS.hide(value))


def test_another_key_gives_other_hashes() -> None:
    """Who does not hold the key cannot tell what a hash stands for."""
    assert Digests(b"k" * 32).of("a") != DIGESTS.of("a")
    assert "k" not in repr(Digests(b"k" * 32)).replace("Digests", "")


def test_an_effect_keeps_what_says_nothing_about_values() -> None:
    """Collection and revisions stay; the key and the new version are hashed, and it says so."""
    effect = {"collection": "c", "key": "k", "old_rev": None, "new_rev": "_r", "new": {"a": [1]}}
    [hidden] = DIGESTS.effects([effect])
    assert hidden == {
        "collection": "c",
        "key": DIGESTS.of("k"),
        "old_rev": None,
        "new_rev": "_r",
        "new": {"a": [DIGESTS.of(1)]},
        "audit": "digest",
    }
    assert DIGESTS.effects([{"omitted": 3}]) == ({"omitted": 3},)


def test_hashing_is_bounded() -> None:
    """A worker's loop is not held up by one command: what is too much is left out, and says so."""
    many = list(range(MAX_HASHED))
    with pytest.raises(TooManyError):
        DIGESTS.hide(many)
    effects: list[dict[str, Any]] = [
        {"collection": "c", "key": "a", "old_rev": None, "new_rev": "_1", "new": {"n": many}},
        {"collection": "c", "key": "b", "old_rev": None, "new_rev": "_2", "new": None},
    ]
    first, second = DIGESTS.effects(effects)
    assert first["omitted"] is True
    assert first["new"] is None
    assert second["new"] is None
    assert len(json.dumps(first)) < 200


def test_a_key_file_is_private_and_holds_a_key(tmp_path: Path) -> None:
    """What is no key is refused, and so is a file that others may read."""
    path = tmp_path / "digest.key"
    path.write_text(new_key_text())
    path.chmod(0o600)
    assert load_digests(path).of("a") == read_key_text(path.read_text()).of("a")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError):
        load_digests(path)
    path.chmod(0o600)
    for text in ("", "zz" * 32, "ab" * 31):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
            load_digests(path)
