"""Type checks and casts.

Source: ArangoDB manual, "Type check and cast functions in AQL".
"""

from __future__ import annotations

import re
from typing import Any, Final

from mallku_workers.stores.documents import is_key
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function
from mallku_workers.stores.embedded.aql.values import (
    is_number,
    to_array,
    to_bool,
    to_number,
    type_name,
)

_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")


def _is_null(_: Call, value: Any) -> bool:
    return value is None


def _is_bool(_: Call, value: Any) -> bool:
    return type(value) is bool


def _is_number(_: Call, value: Any) -> bool:
    return is_number(value)


def _is_string(_: Call, value: Any) -> bool:
    return type(value) is str


def _is_array(_: Call, value: Any) -> bool:
    return type(value) is list


def _is_object(_: Call, value: Any) -> bool:
    return type(value) is dict


def _is_key(_: Call, value: Any) -> bool:
    return type(value) is str and is_key(value)


def _is_ipv4(_: Call, value: Any) -> bool:
    return type(value) is str and IPV4.fullmatch(value) is not None


def _type_name(_: Call, value: Any) -> str:
    return type_name(value)


def _to_bool(_: Call, value: Any) -> bool:
    return to_bool(value)


def _to_number(_: Call, value: Any) -> int | float:
    return to_number(value)


def _to_string(call: Call, value: Any) -> str:
    return call.text(value)


def _to_array(_: Call, value: Any) -> list[Any]:
    return to_array(value)


TYPES: Final = (
    Function("IS_NULL", 1, 1, _is_null),
    Function("IS_BOOL", 1, 1, _is_bool),
    Function("IS_NUMBER", 1, 1, _is_number),
    Function("IS_STRING", 1, 1, _is_string),
    Function("IS_ARRAY", 1, 1, _is_array),
    Function("IS_LIST", 1, 1, _is_array),
    Function("IS_OBJECT", 1, 1, _is_object),
    Function("IS_DOCUMENT", 1, 1, _is_object),
    Function("IS_KEY", 1, 1, _is_key),
    Function("IS_IPV4", 1, 1, _is_ipv4),
    Function("TYPENAME", 1, 1, _type_name),
    Function("TO_BOOL", 1, 1, _to_bool),
    Function("TO_NUMBER", 1, 1, _to_number),
    Function("TO_STRING", 1, 1, _to_string),
    Function("TO_ARRAY", 1, 1, _to_array),
    Function("TO_LIST", 1, 1, _to_array),
)
