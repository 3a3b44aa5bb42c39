"""Message headers (ADR-4) as bytes: encoded once, parsed only when somebody looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_VERSION: Final = b"NATS/1.0"
_CRLF: Final = b"\r\n"
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")

NO_HEADERS: Final = b""

_NO_RESPONDERS: Final = 503


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """The header block of a message, from `NATS/1.0` to the empty line; nothing for no headers.

    Raises:
        ValueError: a name is no token (RFC 9110, 5.6.2), or a value holds control characters.
    """
    if not headers:
        return NO_HEADERS
    lines = [_VERSION]
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError(f"header {name[:64]!r} cannot be sent")
        lines.append(f"{name}: {value.strip()}".encode())
    return _CRLF.join(lines) + _CRLF * 2


def decode_headers(block: bytes | None) -> dict[str, str]:
    """The headers in a block; of a name that stands there twice, the last."""
    headers: dict[str, str] = {}
    for line in (block or b"").split(_CRLF)[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().decode("ascii", "replace")] = value.strip().decode(
                "utf-8", "replace"
            )
    return headers


def status(block: bytes | None) -> int:
    """The status in the first line of a block (`NATS/1.0 503` is 503), 0 when there is none."""
    if block is None or not block.startswith(b"NATS/1.0 "):
        return 0
    digits = block[9:12]
    return int(digits) if digits.isdigit() else 0


def nobody_listens(block: bytes | None, body: bytes) -> bool:
    """Whether a message is the server's own word that nobody listens where we published."""
    return status(block) == _NO_RESPONDERS and not body
