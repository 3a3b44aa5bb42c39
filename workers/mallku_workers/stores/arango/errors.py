"""ArangoDB's error numbers as coded errors: one table, and one function that reads an answer.

Source of the numbers: `errors.dat` of ArangoDB 3.12, as the driver lists them (`arango.errno`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from arango.response import Response

from mallku_contracts import errors as e
from mallku_contracts.errors import MallkuError

CONFLICT: Final = 1200
DOCUMENT_NOT_FOUND: Final = 1202
COLLECTION_NOT_FOUND: Final = 1203
DUPLICATE_NAME: Final = 1207
UNIQUE_VIOLATION: Final = 1210
INDEX_NOT_FOUND: Final = 1212
QUERY_KILLED: Final = 1500
GRAPH_NOT_FOUND: Final = 1924
GRAPH_DUPLICATE: Final = 1925

RETRY_AFTER_S: Final = 0.1
"""Advice to callers whom another writer stood in the way of, seconds."""

REPAIR_AFTER_S: Final = 2.0
"""Advice to callers while servers agree on who leads, seconds."""

_FORBIDDEN: Final = 11
_HTTP_CONFLICT: Final = 409
_HTTP_UNAUTHORIZED: Final = 401
_HTTP_FORBIDDEN: Final = 403
_SERVER_FAULT: Final = 500
_RANGE_OF_QUERIES: Final = range(1500, 1600)
_RANGE_OF_CLUSTER: Final = range(1400, 1500)


class Conflict(e.Unavailable):
    """Another writer was at the same document; nothing was done, and another try makes sense."""


NUMBERS: Final[Mapping[int, type[MallkuError]]] = MappingProxyType(
    {
        9: e.NotSupported,
        10: e.InvalidArguments,
        11: e.StoreFailure,
        18: e.Unavailable,
        28: e.Unavailable,
        32: e.ResourceLimit,
        503: e.Unavailable,
        1004: e.Unavailable,
        1200: e.RevisionMismatch,
        1202: e.DocumentNotFound,
        1203: e.CollectionNotFound,
        1205: e.InvalidArguments,
        1207: e.CollectionExists,
        1208: e.InvalidArguments,
        1210: e.UniqueViolation,
        1212: e.IndexNotFound,
        1213: e.InvalidArguments,
        1214: e.IndexNotFound,
        1216: e.InvalidDocument,
        1218: e.InvalidArguments,
        1220: e.InvalidArguments,
        1221: e.InvalidKey,
        1222: e.InvalidKey,
        1226: e.InvalidArguments,
        1227: e.InvalidDocument,
        1228: e.DatabaseNotFound,
        1229: e.DatabaseNotFound,
        1233: e.InvalidEdge,
        1237: e.InvalidArguments,
        1239: e.RevisionMismatch,
        1429: e.Unavailable,
        1500: e.DeadlineExceeded,
        1501: e.InvalidQuery,
        1502: e.InvalidQuery,
        1504: e.InvalidQuery,
        1505: e.QueryFailed,
        1510: e.InvalidQuery,
        1511: e.InvalidQuery,
        1512: e.InvalidQuery,
        1521: e.Unavailable,
        1522: e.InvalidQuery,
        1524: e.InvalidQuery,
        1539: e.InvalidQuery,
        1540: e.InvalidQuery,
        1541: e.InvalidQuery,
        1542: e.QueryFailed,
        1543: e.QueryFailed,
        1550: e.InvalidQuery,
        1551: e.InvalidQuery,
        1552: e.InvalidQuery,
        1553: e.InvalidQuery,
        1561: e.QueryFailed,
        1562: e.QueryFailed,
        1563: e.QueryFailed,
        1573: e.InvalidQuery,
        1574: e.InvalidQuery,
        1575: e.InvalidQuery,
        1577: e.InvalidQuery,
        1578: e.InvalidQuery,
        1579: e.InvalidQuery,
        1593: e.QueryFailed,
        1600: e.CursorLost,
        1601: e.Unavailable,
        1620: e.InvalidDocument,
        1650: e.Unavailable,
        1652: e.StoreFailure,
        1653: e.StoreFailure,
        1654: e.Unavailable,
        1655: e.Unavailable,
        1924: e.GraphNotFound,
        1925: e.GraphExists,
        21003: e.Unavailable,
        21004: e.Unavailable,
    }
)
"""What each number becomes; see `coded` for those that are not here."""

_IN_INDEX: Final = re.compile(
    r"in index (?P<name>\S+) of type (?P<type>\S+) over '(?P<fields>[^']*)'"
)
_STAGE: Final = re.compile(r" \(while [a-z ]+\)$")
_NOT_FOUND: Final = re.compile(
    r"collection (?:or view )?not found: (?P<collection>[^\s/]+)|graph '(?P<graph>[^']*)' not found"
)


def coded(number: int | None, message: str, *, status: int, writes: bool = False) -> MallkuError:
    """The coded error for one of ArangoDB's.

    Args:
        status: The HTTP status that came with it: a 1200 is a `Conflict` with 409 and a revision
            that does not match with 412.
        writes: The request may have had an effect, in spite of an error between the servers.
    """
    if number is None or (number, status) == (_FORBIDDEN, _HTTP_UNAUTHORIZED):
        return _unnumbered(status)
    if number == CONFLICT and status == _HTTP_CONFLICT:
        return Conflict("another write was at the same document", retry_after=RETRY_AFTER_S)
    return _made(number, message, status, writes=writes)


def _made(number: int, message: str, status: int, *, writes: bool) -> MallkuError:
    kind = NUMBERS.get(number) or _kind_by_range(number, status, writes=writes)
    if issubclass(kind, e.QueryError):
        return kind(_shortened(message), error_code=number)
    if issubclass(kind, e.Unavailable):
        return kind(f"ArangoDB cannot do it now (error {number})", retry_after=REPAIR_AFTER_S)
    if issubclass(kind, e.StoreFailure | e.OutcomeUnknown):
        return kind(f"ArangoDB failed with error {number}")
    if issubclass(kind, e.UniqueViolation):
        return kind(_unique_message(message), details=violated_index(message))
    return kind(_shortened(message), details=_missing(message))


def _missing(message: str) -> dict[str, Any]:
    """What there is not, as far as ArangoDB's message says it."""
    found = _NOT_FOUND.search(message)
    return {} if found is None else {"name": found["collection"] or found["graph"]}


def _kind_by_range(number: int, status: int, *, writes: bool) -> type[MallkuError]:
    if number in _RANGE_OF_QUERIES:
        return e.QueryFailed
    if number in _RANGE_OF_CLUSTER:
        return e.OutcomeUnknown if writes else e.Unavailable
    return e.StoreFailure if status >= _SERVER_FAULT or not status else e.InvalidArguments


def _unnumbered(status: int) -> MallkuError:
    if status in (_HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN):
        return e.StoreFailure("ArangoDB does not let this worker in; look at its name and password")
    return e.StoreFailure(f"ArangoDB answered with HTTP status {status} and no error number")


def violated_index(message: str) -> dict[str, Any]:
    """Which index a unique violation met, as far as ArangoDB's message says it."""
    found = _IN_INDEX.search(message)
    if found is None or found["type"] == "primary":
        return {}
    return {"index": found["name"], "fields": found["fields"].split(", ")}


def _unique_message(message: str) -> str:
    index = violated_index(message)
    if not index:
        return "a document with this key exists already"
    fields = ", ".join(index["fields"])
    return f"another document has the same value of {fields}: index {index['index']} is unique"


def _shortened(message: str) -> str:
    return _STAGE.sub("", message.removeprefix("AQL: "))


def refuse(response: Response, *, writes: bool = False) -> None:
    """Raise the coded error of an answer that is not a success."""
    if not response.is_success:
        raise coded(
            response.error_code,
            response.error_message or "",
            status=response.status_code,
            writes=writes,
        )


def entry_error(entry: Mapping[str, Any]) -> MallkuError | None:
    """The coded error of one document of a batch, None where it is a success."""
    if not entry.get("error"):
        return None
    number, message = entry.get("errorNum"), entry.get("errorMessage") or ""
    is_conflict = number == CONFLICT and "_rev" not in entry
    status = _HTTP_CONFLICT if is_conflict else 0
    return coded(number, str(message), status=status)
