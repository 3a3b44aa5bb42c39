"""What an acknowledged write survives: the levels, and nothing about how they are reached."""

from __future__ import annotations

from enum import IntEnum


class Durability(IntEnum):
    """What an acknowledged write survives, weakest first; the gateway declares the weaker part."""

    MEMORY = 1
    """The end of the process that holds it: no."""
    FLUSH = 2
    """A crash of any process, but not a loss of power."""
    FSYNC = 3
    """A loss of power on one machine."""
    QUORUM = 4
    """The loss of one machine."""

    def __str__(self) -> str:
        return self.name.lower()
