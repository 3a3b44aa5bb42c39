"""Counts over the last seconds, kept in a bounded number of slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SLICES: Final = 10
"""Parts of a window; a count leaves it a slice at a time."""


class RollingCount:
    """How often something happened within the last `window_s` seconds, to a slice.

    Args:
        window_s: Length of the window, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, window_s: float, clock: Callable[[], float]) -> None:
        self.window_s = window_s
        self._slice_s = window_s / SLICES
        self._clock = clock
        self._counts = [0] * SLICES
        self._newest = int(clock() / self._slice_s)
        self._total = 0

    def add(self, number: int = 1) -> None:
        """It happened now."""
        self._forget()
        self._counts[self._newest % SLICES] += number
        self._total += number

    @property
    def total(self) -> int:
        """How often within the window."""
        self._forget()
        return self._total

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * SLICES
        self._total = 0

    def _forget(self) -> None:
        newest = int(self._clock() / self._slice_s)
        passed = newest - self._newest
        if passed <= 0:
            return
        self._newest = newest
        if passed >= SLICES:
            self.clear()
            return
        for old in range(newest - passed + 1, newest + 1):
            self._total -= self._counts[old % SLICES]
            self._counts[old % SLICES] = 0


class Pace:
    """How fast places become free, measured, and when it makes sense to come back for one.

    Those who are turned away are given moments one after another, at the pace of the last seconds,
    so that they do not all come back at once to the same place (a virtual queue, as in the generic
    cell rate algorithm, ITU-T I.371); never later than when everything that is under way is done.

    Args:
        window_s: Over which the pace is measured, seconds.
        unmeasured_s: The advice before anything was measured, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, window_s: float, unmeasured_s: float, clock: Callable[[], float]) -> None:
        self._freed = RollingCount(window_s, clock)
        self._unmeasured_s = unmeasured_s
        self._clock = clock
        self._began: float | None = None
        self._promised = 0.0

    def free(self) -> None:
        """A place became free."""
        self._freed.add()
        if self._began is None:
            self._began = self._clock()

    def per_s(self) -> float | None:
        """Places that become free in a second; None while too little is known.

        0 says that nothing ended in the whole window.
        """
        if self._began is None:
            return None
        measured_s = min(self._clock() - self._began, self._freed.window_s)
        total = self._freed.total
        if measured_s <= self._freed.window_s / SLICES:
            return None
        return total / measured_s

    def retry_after_s(self, ahead: int) -> float:
        """When one more who is turned away should come back, seconds from now.

        Args:
            ahead: How many hold or wait for the places (1 or more).
        """
        pace = self.per_s()
        if pace is None:
            return self._unmeasured_s
        if pace == 0:
            return self._freed.window_s
        now = self._clock()
        self._promised = max(self._promised, now) + 1 / pace
        self._promised = min(self._promised, now + max(ahead, 1) / pace)
        return self._promised - now
