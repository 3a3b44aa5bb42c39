"""The language beside a real server's: what it took, and what it refused and why."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.errors import InvalidQuery
from tests.contracts.aql_golden import rows

DATA_NEEDED = {1202, 1203, 1210, 1218, 1221, 1226, 1227, 1233, 1503, 1542, 1569, 1582}
"""Errors that only data, or running, can show."""

AT_RUN_TIME = {"for-error-8c4f4b19"}
"""A FOR over a document's attribute, which turns out to be a string."""

NEWER = "version-sensitive"


def outcome(row: dict[str, Any]) -> int | None:
    """The error number that the language gives a row by itself, or None."""
    try:
        query = parse(row["query"])
        check_run(query, row.get("bind_vars") or {})
    except InvalidQuery as refused:
        return refused.error_code
    return None


ACCEPTED = [row for row in rows() if "error" not in row]
REFUSED = [row for row in rows() if "error" in row]


def test_the_golden_rows_are_there() -> None:
    """Nothing below is about an empty list."""
    assert len(ACCEPTED) > 700
    assert len(REFUSED) > 100


def test_what_the_server_took_is_taken() -> None:
    """Every query that has a result parses, and its bind values pass."""
    assert {row["query"]: outcome(row) for row in ACCEPTED if outcome(row) is not None} == {}


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in REFUSED])
def test_what_the_server_refused_is_refused_under_the_same_number(row: dict[str, Any]) -> None:
    """An error that needs no data has the server's number; one that does is left to the store."""
    number, given = row["error"]["num"], outcome(row)
    if number in DATA_NEEDED or row["id"] in AT_RUN_TIME:
        assert given is None
    elif NEWER in row["tags"]:
        assert given in {number, None}
    else:
        assert given == number


def test_what_modifies_is_known_without_running() -> None:
    """The analysis says of every golden query what the server's own reply said."""
    for row in ACCEPTED:
        assert analyse(parse(row["query"])).modifies == bool(row.get("modifies")), row["query"]
