"""The trace that a request belongs to, as its caller says it (W3C Trace Context, section 3.2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
"""The header that names the trace; it is not signed, and nobody relies on it."""

MAX_TRACEPARENT_CHARS: Final = 128
"""A longer header is not looked at; version 00 has 55 characters."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_FIRST_VERSION: Final = "00"
_SAMPLED: Final = 1


class TraceParent(NamedTuple):
    """Where a request stands in its caller's trace; ids are hexadecimal, 32 and 16 digits.

    `sampled` says that the caller may have recorded it.
    """

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        """The header again, as version 00 has it."""
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def read_traceparent(text: str) -> TraceParent | None:
    """What a well-formed `traceparent` says; None for any other.

    Versions after 00 may have more behind a hyphen, as the standard asks readers to allow.
    """
    if len(text) > MAX_TRACEPARENT_CHARS:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None or (found[4] and text.startswith(_FIRST_VERSION)):
        return None
    return TraceParent(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def trace_id(traceparent: str) -> str:
    """The trace id in a well-formed `traceparent`, 32 hexadecimal digits; empty in any other."""
    found = read_traceparent(traceparent)
    return found.trace_id if found else ""


def forwarded(traceparent: str) -> str:
    """The header to send on for one that came: well-formed, of version 00; empty for any other."""
    return str(read_traceparent(traceparent) or "")
