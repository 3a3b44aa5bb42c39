"""What the bind values decide before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.aql.binding import MAX_QUERY_COLLECTIONS, check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.errors import InvalidQuery


def number(text: str, values: dict[str, Any]) -> int | None:
    """ArangoDB's number for running `text` with these values, or None."""
    try:
        check_run(parse(text), values)
    except InvalidQuery as refused:
        return refused.error_code
    return None


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("RETURN @a", {"a": None}, None),
        ("RETURN @a", {}, 1551),
        ("RETURN {@a: 1}", {}, 1551),
        ("RETURN @a", {"a": 1, "b": 1}, 1552),
        ("RETURN 1", {"@c": "people"}, 1552),
        ("FOR x IN @@c RETURN x", {"@c": "people"}, None),
        ("FOR x IN @@c RETURN x", {"c": "people"}, 1551),
        ("FOR x IN @@c RETURN x", {"@c": ["people"]}, 1553),
        ("FOR x IN @@c RETURN x", {"@c": "no good"}, 1208),
        ("FOR v IN OUTBOUND 'a/1' @e RETURN v", {"e": "knows"}, None),
        ("FOR v IN OUTBOUND 'a/1' @e RETURN v", {"e": 1}, 1553),
        ("FOR v IN OUTBOUND 'a/1' GRAPH @g RETURN v", {"g": 1}, 1553),
        ("RETURN {@a: 1}", {"a": 1}, 1553),
        ("RETURN {}.@a", {"a": ["x", "y"]}, None),
        ("RETURN {}.@a", {"a": []}, 1553),
        ("RETURN {}.@a", {"a": 0}, 1553),
        ("FOR x IN [1] LIMIT @n RETURN x", {"n": 2.5}, None),
        ("FOR x IN [1] LIMIT @n RETURN x", {"n": -1}, 1504),
        ("FOR x IN [1] LIMIT @n RETURN x", {"n": "1"}, 1504),
        ("FOR x IN [1] LIMIT @n RETURN x", {"n": True}, 1504),
        ("FOR x IN [1] LIMIT 'a', 1 RETURN x", {}, 1504),
        ("FOR x IN @l RETURN x", {"l": []}, None),
        ("FOR x IN @l RETURN x", {"l": "people"}, 1563),
        ("FOR x IN null RETURN x", {}, 1563),
        ("FOR x IN {} RETURN x", {}, 1563),
        ("FOR v IN @d OUTBOUND 'a/1' k RETURN v", {"d": 2}, None),
        ("FOR v IN @d OUTBOUND 'a/1' k RETURN v", {"d": 1.5}, 1501),
        ("FOR v IN @d..1 OUTBOUND 'a/1' k RETURN v", {"d": 2}, 1501),
        ("FOR v IN -1..1 OUTBOUND 'a/1' k RETURN v", {}, 1501),
        ("FOR v IN OUTBOUND null k RETURN v", {}, 1501),
    ],
)
def test_bind_values_and_constants_are_checked(
    text: str, values: dict[str, Any], expected: int | None
) -> None:
    """Missing, superfluous, wrong in type, out of range: each has ArangoDB's number."""
    assert number(text, values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FOR x IN c INSERT x INTO c", None),
        ("INSERT {} INTO c FOR x IN c RETURN x", 1579),
        ("INSERT {} INTO c FOR x IN @@c RETURN x", 1579),
        ("INSERT {} INTO c INSERT {} INTO @@c", 1579),
        ("INSERT {} INTO c INSERT {} INTO d", None),
        ("INSERT {} INTO c RETURN DOCUMENT('d/1')", 1579),
        ("UPDATE DOCUMENT('c/1') WITH {} IN c", None),
        ("INSERT {} INTO c FOR v IN OUTBOUND 'a/1' k RETURN v", 1579),
        ("LET a = (INSERT {} INTO c) FOR x IN c RETURN x", 1579),
        ("FOR x IN c LET a = (INSERT {} INTO c) RETURN a", 1579),
        ("LET n = LENGTH(c) INSERT {n} INTO c", None),
        ("INSERT {} INTO c RETURN LENGTH(c)", 1579),
    ],
)
def test_what_was_written_is_not_read_again(text: str, expected: int | None) -> None:
    """1579, whether the name is in the text or in a bind value."""
    values = {"@c": "c"} if "@@c" in text else {}
    assert number(text, values) == expected


def test_a_query_names_a_bounded_number_of_collections() -> None:
    """Each name counts once, whether it stands in the text or comes as a bind value."""
    most = ",".join(f"c{number}" for number in range(MAX_QUERY_COLLECTIONS))
    assert number(f"RETURN [{most}, c0]", {}) is None
    assert number(f"RETURN [{most}, more]", {}) == 1522
    assert number(f"LET a = [{most}] FOR x IN @@c RETURN x", {"@c": "c1"}) is None
    assert number(f"LET a = [{most}] FOR x IN @@c RETURN x", {"@c": "more"}) == 1522
