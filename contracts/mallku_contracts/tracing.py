"""The trace that a request belongs to, as its caller says it (W3C Trace Context, section 3.2)."""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "traceparent"
"""The header that names the trace; it is not signed, and nobody relies on it."""

MAX_TRACEPARENT_CHARS: Final = 128
"""A longer header is not looked at; version 00 has 55 characters."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
_FIRST_VERSION: Final = "00"


def trace_id(traceparent: str) -> str:
    """The trace id in a well-formed `traceparent`, 32 hexadecimal digits; empty in any other.

    Versions after 00 may have more behind a hyphen, as the standard asks readers to allow.
    """
    if len(traceparent) > MAX_TRACEPARENT_CHARS:
        return ""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[2] and traceparent.startswith(_FIRST_VERSION)):
        return ""
    return found[1]
