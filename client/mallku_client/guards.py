"""What keeps a client from making an outage worse: a budget for retries, and a circuit breaker.

Pure decisions; the monotonic clock is passed in. Not safe for several threads: a client has one
event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from mallku_contracts.errors import GatewayUnreachable

RETRY_RATIO: Final = 0.2
"""Retries for each call, over all calls of a client, retries."""

RESERVE_RETRIES: Final = 1_000.0
"""Retries that a client may make at once after a time without any, retries."""

RETRIES_PER_S: Final = 10.0
"""Retries that a client may make however few its calls are, retries per second."""

AWAY_ATTEMPTS: Final = 10
"""Attempts in a row without a word of the gateway, after which it is left alone, attempts."""

LOST_WEIGHT: Final = 5
"""For how many of them one counts that found no connection all the while, attempts."""

PROBE_EVERY_S: Final = 1.0
"""Between two calls that try whether the gateway is back, seconds."""

PATIENCE_S: Final = 1.0
"""A call must have waited so long for its silence to speak against the gateway, seconds."""


class RetryBudget:
    """Bounds retries to a part of the calls, so that they cannot multiply an overload.

    A token bucket as in Finagle's `RetryBudget`: each call puts in `ratio`, each second puts in
    `RETRIES_PER_S`, each retry takes one out.

    Args:
        ratio: Retries for each call (0 or more).
        clock: Monotonic seconds.
    """

    def __init__(self, ratio: float, clock: Callable[[], float]) -> None:
        self._ratio = ratio
        self._clock = clock
        self._left = RESERVE_RETRIES
        self._filled_at = clock()

    def deposit(self) -> None:
        """A call begins."""
        self._left = min(self._left + self._ratio, RESERVE_RETRIES)

    def take(self) -> bool:
        """Whether one more retry may be made; it counts as made."""
        now = self._clock()
        filled = self._left + (now - self._filled_at) * RETRIES_PER_S
        self._left, self._filled_at = min(filled, RESERVE_RETRIES), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class GatewayBreaker:
    """Fails calls at once while the gateway is away, but for one at a time that tries.

    Open after `AWAY_ATTEMPTS` in a row, of whatever calls, without any word of the gateway; a word
    of it, a refusal included, closes it.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent = 0
        self._next_probe = 0.0
        self._probing = False
        self._lost = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused but for probes."""
        return self._silent >= AWAY_ATTEMPTS

    @contextmanager
    def guard(self, *, connected: bool) -> Generator[None]:
        """Let one call pass, unless the gateway is being left alone.

        Args:
            connected: There is a connection now; one that came back is tried at once.

        Raises:
            GatewayUnreachable: at once, with the time until the next probe.
        """
        probe = self.is_open
        if probe:
            back = self._lost and connected
            left_s = 0.0 if back else self._next_probe - self._clock()
            if self._probing or left_s > 0:
                raise GatewayUnreachable(
                    "the gateway was away a moment ago and is left alone; nothing was sent",
                    retry_after=max(left_s, PROBE_EVERY_S / 10),
                )
            self._probing = True
        try:
            yield
        finally:
            if probe:
                self._probing = False

    def heard(self) -> None:
        """The gateway said something."""
        self._silent = 0

    def silent(self, *, lost: bool) -> None:
        """An attempt ended without a word of it; `lost` says that there was no connection."""
        self._silent += LOST_WEIGHT if lost else 1
        self._lost = lost
        self._next_probe = self._clock() + PROBE_EVERY_S
