"""Step 6, throttle: every principal at its rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mallku_contracts.errors import RateLimited
from mallku_contracts.policy import Limits

_ROUNDING_S: Final = 1e-6
"""By how much sums of seconds may be off: a command that is on rate is not refused for it."""


class Throttle:
    """Holds every principal to a rate with a burst (GCRA, ITU-T I.371).

    In any `t` seconds at most `burst + rate * t` commands pass. One number is kept for each
    principal: the time at which its next command would be exactly on rate. `clock` gives monotonic
    seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._on_rate_at: dict[str, float] = {}

    def take(self, principal: str, limits: Limits) -> None:
        """Count one command; `RateLimited` says after how many seconds it would have passed."""
        now = self._clock()
        interval = 1 / limits.rate_per_s
        due = max(self._on_rate_at.get(principal, now), now)
        early = due - now - (limits.burst - 1) * interval
        if early > _ROUNDING_S:
            raise RateLimited(
                f"{principal!r} is held to {limits.rate_per_s} commands a second here",
                retry_after=early,
            )
        self._on_rate_at[principal] = due + interval
