"""Where a message says which trace it belongs to."""

from __future__ import annotations

from typing import Final

from mallku_broker.headers import decode_headers
from mallku_contracts.limits import KIB
from mallku_contracts.tracing import HEADER

MAX_TRACED_HEADER_BYTES: Final = 8 * KIB
"""A larger block of headers is not searched for a trace, bytes."""

_TRACE: Final = HEADER.encode()


def traceparent_in(header: bytes | None) -> str:
    """What stands in a block of headers as `traceparent`, well-formed or not; empty without one."""
    if not header or len(header) > MAX_TRACED_HEADER_BYTES or _TRACE not in header:
        return ""
    return decode_headers(header).get(HEADER, "")
