"""Regular expressions: test, matches, split, replace.

Source: ArangoDB manual, "String functions in AQL".
"""

from __future__ import annotations

from typing import Any, Final

from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function
from mallku_workers.stores.embedded.aql.operators import regex
from mallku_workers.stores.embedded.aql.patterns import (
    InvalidPattern,
    Pattern,
    compile_regex,
    expand,
    from_bytes,
    to_bytes,
)
from mallku_workers.stores.embedded.aql.values import to_bool, to_integer


def _compiled(call: Call, name: str, pattern: Any, ignore_case: Any) -> Pattern | None:
    try:
        return compile_regex(call.text(pattern), ignore_case=to_bool(ignore_case))
    except InvalidPattern as error:
        call.warn(w.INVALID_REGEX, f"in function {name}(): invalid regular expression: {error}")
        return None


def _test(call: Call, value: Any, pattern: Any, ignore_case: Any = None) -> bool:
    return regex(value, pattern, call, ignore_case=to_bool(ignore_case))


def _matches(call: Call, value: Any, pattern: Any, ignore_case: Any = None) -> Any:
    """The match and its groups, null where the pattern matches nowhere."""
    compiled = _compiled(call, "REGEX_MATCHES", pattern, ignore_case)
    if compiled is None:
        return None
    text = to_bytes(call.text(value))
    found = next(compiled.matches(text), None)
    if found is None:
        return None
    return [from_bytes(part) for part in (text[found.start : found.end], *_groups(found.groups))]


def _groups(groups: tuple[bytes | None, ...]) -> list[bytes]:
    return [group or b"" for group in groups]


def _split(call: Call, value: Any, pattern: Any, ignore_case: Any = None, limit: Any = None) -> Any:
    """The parts between the matches, and the groups of each match between them."""
    most = None if limit is None else to_integer(limit)
    if most is not None and most < 0:
        return call.wrong_type("REGEX_SPLIT")
    compiled = _compiled(call, "REGEX_SPLIT", pattern, ignore_case)
    if compiled is None:
        return None
    text, end, parts = to_bytes(call.text(value)), 0, list[bytes]()
    for found in compiled.matches(text):
        call.check()
        if found.end == found.start and found.start in (0, len(text)):
            continue
        parts += [text[end : found.start], *_groups(found.groups)]
        call.fit_items(len(parts))
        end = found.end
    return [from_bytes(part) for part in (*parts, text[end:])][:most]


def _replace(
    call: Call, value: Any, pattern: Any, replacement: Any, ignore_case: Any = None
) -> Any:
    """The text with every match replaced; `$1` in the replacement is a group."""
    compiled = _compiled(call, "REGEX_REPLACE", pattern, ignore_case)
    if compiled is None:
        return None
    template = call.text(replacement)
    text, end, parts, length = to_bytes(call.text(value)), 0, list[bytes](), 0
    for found in compiled.matches(text):
        call.check()
        parts += [text[end : found.start], expand(template, found, text)]
        length += len(parts[-1])
        call.fit_text(length)
        end = found.end
    return from_bytes(b"".join([*parts, text[end:]]))


REGEXES: Final = (
    Function("REGEX_TEST", 2, 3, _test),
    Function("REGEX_MATCHES", 2, 3, _matches),
    Function("REGEX_SPLIT", 2, 4, _split),
    Function("REGEX_REPLACE", 3, 4, _replace),
)
