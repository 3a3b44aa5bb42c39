"""The time that commands are signed with: this machine's, corrected towards the gateway's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MAX_CLOCK_CORRECTION_MS: Final = 600_000
"""How far a gateway's signed time may move ours, milliseconds. Beyond it a person has to look."""

_MIN_CLOCK_CORRECTION_MS: Final = 1_000


class Clock:
    """Unix time in milliseconds, plus what was learned from a verified reply."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self.offset_ms = 0

    def now_ms(self) -> int:
        """The time to put into commands and to judge tokens by."""
        return int(self._now_s() * 1000) + self.offset_ms

    def correct(self, gateway_ms: int) -> bool:
        """Move to the gateway's time; False when nothing changed or the distance is too large.

        Only for a time whose signature held. The bound is on the distance from this machine's own
        clock, so that no row of corrections leads further than one.
        """
        offset = gateway_ms - int(self._now_s() * 1000)
        if abs(offset) > MAX_CLOCK_CORRECTION_MS:
            return False
        if abs(offset - self.offset_ms) < _MIN_CLOCK_CORRECTION_MS:
            return False
        self.offset_ms = offset
        return True
