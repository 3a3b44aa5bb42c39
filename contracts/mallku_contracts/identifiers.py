"""Ids that sort by time: UUID version 7 (RFC 9562, section 5.7)."""

from __future__ import annotations

import re
import secrets
from typing import Final

from mallku_contracts.limits import MAX_TIME_MS

_RANDOM_BITS: Final = 74
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(now_ms: int, random: int | None = None) -> str:
    """A UUIDv7 for the Unix time `now_ms` (milliseconds), in canonical lower-case text.

    Args:
        random: 74 bits to use instead of the system's, for vectors that never change.

    Raises:
        ValueError: the time or the bits do not fit.
    """
    bits = secrets.randbits(_RANDOM_BITS) if random is None else random
    if not 0 <= now_ms <= MAX_TIME_MS or bits >> _RANDOM_BITS:
        raise ValueError("a UUIDv7 has room for 48 bits of milliseconds and 74 random bits")
    digits = f"{now_ms:012x}7{bits >> 62:03x}{0x8000 | (bits >> 48) & 0x3FFF:04x}"
    digits += f"{bits & 0xFFFFFFFFFFFF:012x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_ms(identifier: str) -> int:
    """The Unix time in a UUIDv7 in canonical text, milliseconds."""
    return int(identifier[:8] + identifier[9:13], 16)


def is_uuid7(text: object) -> bool:
    """Whether `text` is a UUIDv7 in canonical lower-case text."""
    return isinstance(text, str) and _UUID7.fullmatch(text) is not None
