"""Choosing, identifiers, and functions about the query itself.

Source: ArangoDB manual, "Miscellaneous functions in AQL"; recorded answers of a server.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.errors import QueryFailed
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function
from mallku_workers.stores.embedded.aql.operators import compare
from mallku_workers.stores.embedded.aql.values import to_bool

_PARTS_OF_AN_ID: Final = 2


def _not_null(_: Call, *values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _first_list(_: Call, *values: Any) -> Any:
    return next((value for value in values if type(value) is list), None)


def _first_document(_: Call, *values: Any) -> Any:
    return next((value for value in values if type(value) is dict), None)


def _pass(_: Call, value: Any) -> Any:
    return value


def _in_range(  # noqa: PLR0913, PLR0917 - ArangoDB's arguments
    call: Call, value: Any, low: Any, high: Any, with_low: Any, with_high: Any
) -> Any:
    if type(with_low) is not bool or type(with_high) is not bool:
        return call.wrong_type("IN_RANGE")
    below, above = compare(value, low), compare(value, high)
    return (below > 0 or (with_low and below == 0)) and (above < 0 or (with_high and above == 0))


# Identifiers


def _id_parts(call: Call, name: str, value: Any) -> list[str] | None:
    """Collection and key of an id, or of a document's id."""
    if type(value) is dict:
        value = value.get("_id")
    parts = value.split("/") if type(value) is str else []
    return parts if len(parts) == _PARTS_OF_AN_ID else call.wrong_type(name)


def _parse_identifier(call: Call, value: Any) -> Any:
    parts = _id_parts(call, "PARSE_IDENTIFIER", value)
    return None if parts is None else {"collection": parts[0], "key": parts[1]}


def _parse_collection(call: Call, value: Any) -> Any:
    parts = _id_parts(call, "PARSE_COLLECTION", value)
    return None if parts is None else parts[0]


def _parse_key(call: Call, value: Any) -> Any:
    parts = _id_parts(call, "PARSE_KEY", value)
    return None if parts is None else parts[1]


def _is_same_collection(call: Call, collection: Any, value: Any) -> Any:
    """Whether an id or a document belongs to a collection, given by name, id or document."""
    names = [_collection_of(one) for one in (collection, value)]
    if type(collection) is str and "/" not in collection:
        names[0] = collection
    if names[0] is None or names[1] is None:
        return call.wrong_type("IS_SAME_COLLECTION")
    return names[0] == names[1]


def _collection_of(value: Any) -> str | None:
    if type(value) is dict:
        value = value.get("_id")
    if type(value) is not str or "/" not in value:
        return None
    return value.partition("/")[0]


# The query itself


def _database(call: Call) -> str:
    return call.database


def _user(call: Call) -> str | None:
    return call.user


def _fail(_: Call, message: Any = None) -> Any:
    said = message if type(message) is str else ""
    raise QueryFailed(f"FAIL({said}) was called", error_code=w.FAIL_CALLED)


def _assert(_: Call, condition: Any, message: Any) -> bool:
    if not to_bool(condition):
        said = message if type(message) is str else "an assertion failed"
        raise QueryFailed(said, error_code=w.USER_ASSERT)
    return True


def _warn(call: Call, condition: Any, message: Any) -> bool:
    good = to_bool(condition)
    if not good:
        call.warn(w.USER_WARNING, call.text(message))
    return good


def _check_document(_: Call, value: Any) -> bool:
    """Every value here is a proper one: an attribute cannot occur twice."""
    return type(value) is dict


MISC: Final = (
    Function("NOT_NULL", 1, MANY, _not_null),
    Function("FIRST_LIST", 1, MANY, _first_list),
    Function("FIRST_DOCUMENT", 1, MANY, _first_document),
    Function("IN_RANGE", 5, 5, _in_range),
    Function("PASSTHRU", 1, 1, _pass),
    Function("NOOPT", 1, 1, _pass, deterministic=False),
    Function("NOEVAL", 1, 1, _pass, deterministic=False),
    Function("V8", 1, 1, _pass),
    Function("PARSE_IDENTIFIER", 1, 1, _parse_identifier),
    Function("PARSE_COLLECTION", 1, 1, _parse_collection),
    Function("PARSE_KEY", 1, 1, _parse_key),
    Function("IS_SAME_COLLECTION", 2, 2, _is_same_collection),
    Function("CURRENT_DATABASE", 0, 0, _database),
    Function("CURRENT_USER", 0, 0, _user),
    Function("FAIL", 0, 1, _fail, deterministic=False),
    Function("ASSERT", 2, 2, _assert, deterministic=False),
    Function("WARN", 2, 2, _warn, deterministic=False),
    Function("CHECK_DOCUMENT", 1, 1, _check_document),
)
