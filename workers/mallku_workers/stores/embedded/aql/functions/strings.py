"""Strings: joining, cutting, searching.

Lengths are counted in characters; positions, and the places where a string is cut, in UTF-16 units
as on the server, so that a character beyond the basic plane may come out in halves.

Source: ArangoDB manual, "String functions in AQL"; recorded answers of a server.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function
from mallku_workers.stores.embedded.aql.operators import like
from mallku_workers.stores.embedded.aql.patterns import Match, compile_any_of, from_bytes, to_bytes
from mallku_workers.stores.embedded.aql.values import is_number, to_bool, to_integer

_SPACES: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_BASIC_PLANE: Final = "\uffff"
_ALL: Final = object()
_BOTH: Final = 0
_LEFT: Final = 1
_RIGHT: Final = 2


def units(text: str) -> str:
    """The text with each UTF-16 unit as a character of its own."""
    if text.isascii() or max(text) <= _BASIC_PLANE:
        return text
    return "".join(map(chr, array("H", text.encode("utf-16-le", "surrogatepass"))))


def whole(parts: str) -> str:
    """The text of some UTF-16 units; a half without its other half stays one."""
    if parts.isascii():
        return parts
    return parts.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


# Joining


def _concat(call: Call, *values: Any) -> str:
    if len(values) == 1 and type(values[0]) is list:
        (values,) = values
    return _join(call, "", values)


def _concat_separator(call: Call, separator: Any, *values: Any) -> str:
    if len(values) == 1 and type(values[0]) is list:
        (values,) = values
    return _join(call, call.text(separator), values)


def _join(call: Call, separator: str, values: Any) -> str:
    parts = [call.text(value) for value in values if value is not None]
    call.fit_text(sum(map(len, parts)) + len(separator) * max(len(parts) - 1, 0))
    return whole(separator.join(parts))


def _repeat(call: Call, value: Any, count: Any, separator: Any = None) -> str | None:
    text, between = call.text(value), call.text(separator)
    times = to_integer(count)
    if times < 0:
        call.wrong_type("REPEAT")
        return None
    call.fit_text((len(text) + len(between)) * times)
    call.fit_items(times)
    return between.join([text] * times)


# Length and case


def _char_length(call: Call, value: Any) -> int:
    return len(call.text(value))


def _lower(call: Call, value: Any) -> str:
    return call.text(value).lower()


def _upper(call: Call, value: Any) -> str:
    return call.text(value).upper()


# Cutting


def _substring(call: Call, value: Any, offset: Any, length: Any = _ALL) -> str:
    text, start = units(call.text(value)), to_integer(offset)
    if start < 0:
        start = max(len(text) + start, 0)
    count = len(text) if length is _ALL else to_integer(length)
    return whole(text[start : start + count]) if count > 0 else ""


def _left(call: Call, value: Any, length: Any) -> str:
    return _substring(call, value, 0, to_integer(length))


def _right(call: Call, value: Any, length: Any) -> str:
    text, count = units(call.text(value)), to_integer(length)
    return whole(text[max(len(text) - count, 0) :]) if count > 0 else ""


def _trim(call: Call, value: Any, what: Any = None) -> str:
    text = call.text(value)
    if is_number(what) and what in (_BOTH, _LEFT, _RIGHT):
        left = text if what == _RIGHT else text.lstrip(_SPACES)
        return left if what == _LEFT else left.rstrip(_SPACES)
    return text.strip(_characters(call, what))


def _characters(call: Call, what: Any) -> str:
    return _SPACES if what is None else call.text(what)


def _ltrim(call: Call, value: Any, what: Any = None) -> str:
    return call.text(value).lstrip(_characters(call, what))


def _rtrim(call: Call, value: Any, what: Any = None) -> str:
    return call.text(value).rstrip(_characters(call, what))


def _split(call: Call, value: Any, separator: Any = None, limit: Any = None) -> Any:
    most = None if limit is None else to_integer(limit)
    if most is not None and most < 0:
        return call.wrong_type("SPLIT")
    text = call.text(value)
    if separator is None:
        parts = [text]
    elif type(separator) is list:
        parts = _split_by_any(call, text, [call.text(one) for one in separator])
    else:
        parts = _pieces(text, call.text(separator))
    call.fit_items(len(parts))
    return parts[:most]


def _pieces(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(units(text))


def _split_by_any(call: Call, text: str, separators: list[str]) -> list[str]:
    wanted = tuple(dict.fromkeys(filter(None, separators)))
    if not wanted:
        return list(units(text))
    parts, end, encoded = [], 0, to_bytes(text)
    for found in compile_any_of(wanted).matches(encoded):
        call.check()
        parts.append(from_bytes(encoded[end : found.start]))
        end = found.end
    return [*parts, from_bytes(encoded[end:])]


# Replacing


def _substitute(
    call: Call, value: Any, search: Any, replacement: Any = None, limit: Any = None
) -> Any:
    text = call.text(value)
    if type(search) is dict:
        table = {name: call.text(item) for name, item in search.items()}
        limit = replacement
    elif type(search) is list and not search:
        call.wrong_type("SUBSTITUTE")
        return text
    else:
        table = _replacements(call, search, replacement)
    table.pop("", None)
    most = None if limit is None else to_integer(limit)
    if most is not None and most < 0:
        return call.wrong_type("SUBSTITUTE")
    return _replaced(call, text, table, most) if table else text


def _replacements(call: Call, search: Any, replacement: Any) -> dict[str, str]:
    if type(search) is str:
        return {search: call.text(replacement)}
    if type(search) is not list:
        return {}
    names = [call.text(name) for name in search]
    if type(replacement) is list:
        texts = [call.text(item) for item in replacement[: len(names)]]
        return dict(zip(names, texts + [""] * (len(names) - len(texts)), strict=True))
    return dict.fromkeys(names, call.text(replacement))


def _replaced(call: Call, text: str, table: dict[str, str], limit: int | None) -> str:
    if len(table) == 1:
        ((old, new),) = table.items()
        times = text.count(old) if limit is None else min(text.count(old), limit)
        call.fit_text(len(text) + times * len(new))
        return text.replace(old, new, times)
    encoded, end, parts, length = to_bytes(text), 0, [], 0
    for count, found in enumerate(compile_any_of(tuple(table)).matches(encoded)):
        if limit is not None and count >= limit:
            break
        call.check()
        parts += [encoded[end : found.start], _new(table, encoded, found)]
        length += len(parts[-1])
        call.fit_text(length)
        end = found.end
    return from_bytes(b"".join([*parts, encoded[end:]]))


def _new(table: dict[str, str], text: bytes, found: Match) -> bytes:
    return to_bytes(table[from_bytes(text[found.start : found.end])])


# Searching


def _contains(call: Call, value: Any, search: Any, as_index: Any = None) -> Any:
    wanted = units(call.text(search))
    place = units(call.text(value)).find(wanted) if wanted else -1
    return place if to_bool(as_index) else place >= 0


def _find_first(call: Call, value: Any, search: Any, start: Any = None, end: Any = None) -> int:
    first, last = to_integer(start), None if end is None else to_integer(end)
    if first < 0 or (last is not None and last < first):
        return -1
    stop = None if last is None else last + 1
    return units(call.text(value)).find(units(call.text(search)), first, stop)


def _find_last(call: Call, value: Any, search: Any, start: Any = None, end: Any = None) -> int:
    first, last = max(to_integer(start), 0), None if end is None else to_integer(end)
    if last is not None and last < first:
        return -1
    stop = None if last is None else last + 1
    return units(call.text(value)).rfind(units(call.text(search)), first, stop)


def _starts_with(call: Call, value: Any, prefixes: Any, least: Any = 1) -> Any:
    if type(value) is not str:
        return False
    if type(prefixes) is not list:
        return value.startswith(call.text(prefixes))
    if not all(type(prefix) is str for prefix in prefixes):
        return call.wrong_type("STARTS_WITH")
    return sum(map(value.startswith, prefixes)) >= to_integer(least)


def _like(call: Call, value: Any, pattern: Any, ignore_case: Any = None) -> bool:
    return like(value, pattern, call, ignore_case=to_bool(ignore_case))


STRINGS: Final = (
    Function("CONCAT", 1, MANY, _concat),
    Function("CONCAT_SEPARATOR", 2, MANY, _concat_separator),
    Function("REPEAT", 2, 3, _repeat),
    Function("CHAR_LENGTH", 1, 1, _char_length),
    Function("LOWER", 1, 1, _lower),
    Function("UPPER", 1, 1, _upper),
    Function("SUBSTRING", 2, 3, _substring),
    Function("LEFT", 2, 2, _left),
    Function("RIGHT", 2, 2, _right),
    Function("TRIM", 1, 2, _trim),
    Function("LTRIM", 1, 2, _ltrim),
    Function("RTRIM", 1, 2, _rtrim),
    Function("SPLIT", 1, 3, _split),
    Function("SUBSTITUTE", 2, 4, _substitute),
    Function("CONTAINS", 2, 3, _contains),
    Function("FIND_FIRST", 2, 4, _find_first),
    Function("FIND_LAST", 2, 4, _find_last),
    Function("STARTS_WITH", 2, 3, _starts_with),
    Function("LIKE", 2, 3, _like),
)
