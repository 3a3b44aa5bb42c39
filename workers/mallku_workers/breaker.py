"""Leaves a store alone that keeps failing, and asks it again with one probe at a time.

pybreaker's own `call` holds its lock during the guarded call, counts cancellation as a failure and
lets many probes through; so its states, counter and listeners are kept, and driven from here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import pybreaker

from mallku_contracts.errors import (
    OutcomeUnknown,
    PermissionDenied,
    RequestError,
    StoreFailure,
    Unavailable,
)

INFRASTRUCTURE: Final = (Unavailable, OutcomeUnknown, StoreFailure)
"""What counts as the store's failure; a refused document does not, it is an answer."""

LEAST_RETRY_S: Final = 0.05
"""The shortest advice to callers while a probe is under way, seconds."""


class Breaker:
    """Opens after `failures` in a row, and lets one probe pass every `reset_s` seconds.

    What ended without a word of the store, such as a caller's time that was over first, says
    nothing; neither does, while the breaker is not closed, what began before.

    `clock` gives monotonic seconds.
    """

    def __init__(self, failures: int, reset_s: float, clock: Callable[[], float]) -> None:
        self._breaker: Any = pybreaker.CircuitBreaker(fail_max=failures, reset_timeout=reset_s)
        self._failures = failures
        self._reset_s = reset_s
        self._clock = clock
        self._opened_at = 0.0
        self._probing = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return str(self._breaker.current_state)

    def refuse_open(self) -> None:
        """Raise `Unavailable` while nobody is let through, with the next probe's time."""
        if self.state == pybreaker.STATE_CLOSED:
            return
        left_s = self._opened_at + self._reset_s - self._clock()
        if self._probing or (self.state == pybreaker.STATE_OPEN and left_s > 0):
            raise Unavailable(
                "the store keeps failing and is left alone for a moment",
                retry_after=max(left_s, LEAST_RETRY_S),
            )

    @contextmanager
    def guard(self) -> Generator[None]:
        """Let the body run unless the store is being left alone.

        Raises:
            Unavailable: as `refuse_open`.
        """
        self.refuse_open()
        probe = self.state != pybreaker.STATE_CLOSED
        if probe:
            self._probing = True
            self._breaker.half_open()
        works: bool | None = None
        try:
            yield
            works = True
        except INFRASTRUCTURE:
            works = False
            raise
        except (RequestError, PermissionDenied):
            works = True
            raise
        finally:
            self._learn(works, probe=probe)

    def _learn(self, works: bool | None, *, probe: bool) -> None:  # noqa: FBT001 - None is "unknown"
        if probe:
            self._probing = False
        closed = self.state == pybreaker.STATE_CLOSED
        if works is None or not (closed or probe):
            return
        if not works:
            self._failed(probe=probe)
        elif not closed:
            self._breaker.close()
        elif self._breaker.fail_counter:
            self._breaker._state_storage.reset_counter()  # noqa: SLF001 - documented storage

    def _failed(self, *, probe: bool) -> None:
        self._breaker._state_storage.increment_counter()  # noqa: SLF001 - documented storage
        if probe or self._breaker.fail_counter >= self._failures:
            self._opened_at = self._clock()
            self._breaker.open()
