from __future__ import annotations

import json

import pytest

from mallku_contracts.revocation import MAX_REASON_CHARS, RevocationError, RevocationList

ONE = RevocationList().with_names(["mallory"], "gone", 5)


def test_names_come_and_go() -> None:
    """A list is replaced by one with more names or fewer; the former stays as it was."""
    two = ONE.with_names(["eve"], "lost her key", 6)
    assert "mallory" in two
    assert "eve" in two
    assert "eve" not in ONE
    assert two.without(["mallory", "eve"]) == RevocationList()
    assert RevocationList.from_text(two.to_text()) == two


def test_a_name_that_is_not_there_cannot_be_restored() -> None:
    """A typo is told, not passed over."""
    with pytest.raises(RevocationError, match="'malory' is not on the list"):
        ONE.without(["malory"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{" * 100_000,
        '{"revoked": {"a": {"reason": "x", "since": 1}, "a": {"reason": "x", "since": 1}}}',
        '{"revoked": {"a": {"reason": "x", "since": 1}}, "more": 1}',
        '{"revoked": {"a": {"reason": "x", "since": 1, "more": 1}}}',
        '{"revoked": {"a b": {"reason": "x", "since": 1}}}',
        '{"revoked": {"a": {"reason": "", "since": 1}}}',
        '{"revoked": {"a": {"reason": "two\\nlines", "since": 1}}}',
        '{"revoked": {"a": {"reason": "x", "since": -1}}}',
        '{"revoked": {"a": {"reason": "x", "since": "1"}}}',
        '{"revoked": ["a"]}',
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    """Nothing is guessed, left out or taken twice."""
    with pytest.raises(RevocationError):
        RevocationList.from_text(text)


def test_reasons_and_names_have_bounds() -> None:
    """A list cannot be made to say what it could not be read from."""
    with pytest.raises(RevocationError, match="reason"):
        ONE.with_names(["eve"], "x" * (MAX_REASON_CHARS + 1), 5)
    with pytest.raises(RevocationError):
        ONE.with_names(["eve mallory"], "x", 5)
    many = {f"n{number}": {"reason": "x", "since": 1} for number in range(10_001)}
    with pytest.raises(RevocationError):
        RevocationList.from_text(json.dumps({"revoked": many}))
