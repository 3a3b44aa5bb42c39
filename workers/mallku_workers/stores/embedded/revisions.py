"""Revisions and generated keys, both made of the database's one tick.

The tick counts up under the write lock, whichever process holds it, so that revisions are unique
and in commit order, and generated keys ascend as ArangoDB's traditional keys do.
"""

from __future__ import annotations

from typing import Final

FIRST_TICK: Final = 1_000
"""Where a new database begins to count; ids below it are the built-in indexes'."""

_DIGITS: Final = "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)
_LOW: Final = 4_095


def revision(tick: int) -> str:
    """The tick (60 bits) in ArangoDB's spelling of revisions: `_` and ten of its 64 digits."""
    return (
        f"_{_PAIRS[tick >> 48]}{_PAIRS[tick >> 36 & _LOW]}{_PAIRS[tick >> 24 & _LOW]}"
        f"{_PAIRS[tick >> 12 & _LOW]}{_PAIRS[tick & _LOW]}"
    )
