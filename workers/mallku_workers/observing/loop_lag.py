"""How late the event loop is: what everything in this worker waits longer than it should."""

from __future__ import annotations

import asyncio
from collections import deque
from statistics import median
from typing import Final

LOOK_S: Final = 0.1
"""Between two looks at how late the loop is, seconds."""

WINDOW_S: Final = 5.0
"""How long a look is remembered, seconds."""

MIN_LOOKS: Final = 3
"""Looks before anything is called usual."""


class LoopLag:
    """Wakes up again and again, and remembers how late; other threads may ask meanwhile.

    Attributes:
        worst_s: The longest delay since the start, seconds.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()
        self.worst_s = 0.0

    @property
    def usual_s(self) -> float:
        """The median of the last five seconds, seconds: one stall does not show in it."""
        recent = tuple(self._recent)
        if len(recent) < MIN_LOOKS:
            return 0.0
        return median(late_s for _, late_s in recent)

    @property
    def recent_worst_s(self) -> float:
        """The longest delay of the last five seconds, seconds."""
        recent = tuple(self._recent)
        return max((late_s for _, late_s in recent), default=0.0)

    def add(self, now_s: float, late_s: float) -> None:
        """Take in one look; `now_s` is the loop's time."""
        late_s = max(late_s, 0.0)
        self._recent.append((now_s, late_s))
        while self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        self.worst_s = max(self.worst_s, late_s)

    async def keep_looking(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            now = loop.time()
            self.add(now, now - due)
