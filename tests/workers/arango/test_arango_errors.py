"""ArangoDB's error numbers become our codes, each by the one table."""

from __future__ import annotations

import pytest

from mallku_contracts import errors as e
from mallku_contracts.errors import MallkuError
from mallku_workers.stores.arango.errors import (
    NUMBERS,
    Conflict,
    coded,
    entry_error,
    violated_index,
)

CODES = {
    9: "not_supported",
    10: "invalid_arguments",
    11: "store_failure",
    18: "unavailable",
    28: "unavailable",
    32: "resource_limit",
    503: "unavailable",
    1004: "unavailable",
    1200: "revision_mismatch",
    1202: "document_not_found",
    1203: "collection_not_found",
    1205: "invalid_arguments",
    1207: "collection_exists",
    1208: "invalid_arguments",
    1210: "unique_violation",
    1212: "index_not_found",
    1213: "invalid_arguments",
    1214: "index_not_found",
    1216: "invalid_document",
    1218: "invalid_arguments",
    1220: "invalid_arguments",
    1221: "invalid_key",
    1222: "invalid_key",
    1226: "invalid_arguments",
    1227: "invalid_document",
    1228: "database_not_found",
    1229: "database_not_found",
    1233: "invalid_edge",
    1237: "invalid_arguments",
    1239: "revision_mismatch",
    1429: "unavailable",
    1500: "deadline_exceeded",
    1501: "invalid_query",
    1502: "invalid_query",
    1504: "invalid_query",
    1505: "query_failed",
    1510: "invalid_query",
    1511: "invalid_query",
    1512: "invalid_query",
    1521: "unavailable",
    1522: "invalid_query",
    1524: "invalid_query",
    1539: "invalid_query",
    1540: "invalid_query",
    1541: "invalid_query",
    1542: "query_failed",
    1543: "query_failed",
    1550: "invalid_query",
    1551: "invalid_query",
    1552: "invalid_query",
    1553: "invalid_query",
    1561: "query_failed",
    1562: "query_failed",
    1563: "query_failed",
    1573: "invalid_query",
    1574: "invalid_query",
    1575: "invalid_query",
    1577: "invalid_query",
    1578: "invalid_query",
    1579: "invalid_query",
    1593: "query_failed",
    1600: "cursor_lost",
    1601: "unavailable",
    1620: "invalid_document",
    1650: "unavailable",
    1652: "store_failure",
    1653: "store_failure",
    1654: "unavailable",
    1655: "unavailable",
    1924: "graph_not_found",
    1925: "graph_exists",
    21003: "unavailable",
    21004: "unavailable",
}


def test_every_number_of_the_table_is_tested() -> None:
    """Who adds a number says here what it becomes."""
    assert CODES.keys() == NUMBERS.keys()


@pytest.mark.parametrize(("number", "code"), CODES.items())
def test_a_number_becomes_its_code(number: int, code: str) -> None:
    """The class of the table, with ArangoDB's number where the class has one for itself."""
    error = coded(number, "AQL: words of the server (while executing)", status=400)
    assert error.code == code
    assert type(error).code in e.BY_CODE
    if isinstance(error, e.QueryError):
        assert error.error_code == number
        assert error.message == "words of the server"


@pytest.mark.parametrize(
    ("number", "status", "writes", "kind"),
    [
        (1558, 400, False, e.QueryFailed),
        (1465, 503, False, e.Unavailable),
        (1465, 503, True, e.OutcomeUnknown),
        (4, 500, True, e.StoreFailure),
        (1932, 400, True, e.InvalidArguments),
        (None, 401, False, e.StoreFailure),
        (None, 500, True, e.StoreFailure),
    ],
)
def test_numbers_that_are_not_in_the_table_have_a_code_too(
    number: int | None, status: int, writes: bool, kind: type[MallkuError]
) -> None:
    """By their range: queries, servers that lost each other, faults, and bad requests."""
    assert type(coded(number, "words", status=status, writes=writes)) is kind


def test_a_conflict_of_writes_is_not_a_revision_that_does_not_match() -> None:
    """Both are 1200: with 409 another writer was quicker, with 412 the caller expected another."""
    assert isinstance(coded(1200, "conflict", status=409), Conflict)
    assert isinstance(coded(1200, "precondition failed", status=412), e.RevisionMismatch)


@pytest.mark.parametrize(
    ("message", "details"),
    [
        (
            (
                "AQL: unique constraint violated - in index idx_17 of type persistent over"
                " 'email, deep.n'; conflicting key: 8 (while executing)"
            ),
            {"index": "idx_17", "fields": ["email", "deep.n"]},
        ),
        (
            "unique constraint violated - in index primary of type primary over '_key'",
            {},
        ),
        ("unique constraint violated", {}),
    ],
)
def test_a_unique_violation_says_which_index(message: str, details: dict[str, object]) -> None:
    """As far as ArangoDB's words tell; the caller's value is not repeated."""
    assert violated_index(message) == details
    error = coded(1210, message, status=409)
    assert error.details == details
    assert "conflicting" not in error.message


def test_an_entry_of_a_batch_is_an_error_or_none() -> None:
    """`error`, `errorNum` and `errorMessage`, as arrays of documents answer."""
    assert entry_error({"_key": "a", "_rev": "x"}) is None
    error = entry_error({"error": True, "errorNum": 1202, "errorMessage": "document not found"})
    assert isinstance(error, e.DocumentNotFound)
    entry = {"error": True, "errorNum": 1200, "errorMessage": "conflict"}
    assert isinstance(entry_error(entry), Conflict)
    assert isinstance(entry_error({**entry, "_rev": "x"}), e.RevisionMismatch)
