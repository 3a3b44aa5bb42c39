"""From tree to text and back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.printing import to_text
from mallku_contracts.errors import InvalidQuery
from tests.contracts.aql_golden import rows
from tests.contracts.aql_trees import QUERIES

REDECLARED = 1511


@settings(
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    deadline=None,
)
@given(QUERIES)
def test_what_is_printed_parses_to_the_same_tree(query: t.Query) -> None:
    """Any tree that a text can give is given again by its own text."""
    text = to_text(query)
    try:
        again = parse(text)
    except InvalidQuery as refused:
        assume(refused.error_code != REDECLARED)  # two subqueries drew one name
        raise
    assert again == query, text
    assert to_text(again) == text


def test_every_golden_query_survives_printing() -> None:
    """What a real server accepted means the same after it was printed."""
    survived = 0
    for row in rows():
        if "error" not in row:
            query = parse(row["query"])
            assert parse(to_text(query)) == query, row["query"]
            survived += 1
    assert survived > 700


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("return  1+2*3", "RETURN 1 + 2 * 3"),
        ("RETURN (1+2)*3", "RETURN (1 + 2) * 3"),
        ("RETURN a.b AND NOT c", "RETURN a.b AND !c"),
        ("FOR `for` IN c RETURN `for`.`a b`", "FOR `for` IN c RETURN `for`.`a b`"),
        ("LET a = 1, b = 2 RETURN {a, 'b c': b}", 'LET a = 1 LET b = 2 RETURN {a, "b c": b}'),
        (
            "RETURN FIRST((FOR x IN @@c LIMIT 1 RETURN x))",
            "RETURN FIRST(FOR x IN @@c LIMIT 1 RETURN x)",
        ),
        ("RETURN (a == (b IN c)) == d", "RETURN a == b IN c == d"),
        ("RETURN a == (b ANY IN c IN d)", "RETURN a == (b ANY IN c IN d)"),
        ("RETURN (a ? b : c) ? d : (e ? f : g)", "RETURN (a ? b : c) ? d : e ? f : g"),
        ("RETURN a - (b - c)", "RETURN a - (b - c)"),
        ("RETURN 1e999", "RETURN 1e999"),
    ],
)
def test_the_text_is_the_one_way_to_write_it(text: str, printed: str) -> None:
    """Keywords, quotes, parentheses and blanks come out in one form."""
    assert to_text(parse(text)) == printed
