"""Leaves a store alone that keeps failing, and asks it again with one probe at a time.

pybreaker's own `call` holds its lock during the guarded call, counts cancellation as a failure and
lets many probes through; so its states, counter and listeners are kept, and driven from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pybreaker

from mallku_contracts.errors import OutcomeUnknown, StoreFailure, Unavailable

INFRASTRUCTURE: Final = (Unavailable, OutcomeUnknown, StoreFailure)
"""What counts as the store's failure; a refused document does not."""


class Breaker:
    """Opens after `failures` in a row, and lets one probe pass every `reset_s` seconds.

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

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let the body run unless the store is being left alone.

        Raises:
            Unavailable: with the time of the next probe as `retry_after`.
        """
        probe = self._enter()
        try:
            yield
        except INFRASTRUCTURE:
            self._failed()
            raise
        except Exception:
            self._succeeded()
            raise
        else:
            self._succeeded()
        finally:
            if probe:
                self._probing = False

    def _enter(self) -> bool:
        state = self.state
        if state == pybreaker.STATE_CLOSED:
            return False
        waited = self._clock() - self._opened_at
        if self._probing or (state == pybreaker.STATE_OPEN and waited < self._reset_s):
            raise Unavailable(
                "the store keeps failing and is left alone for a moment",
                retry_after=max(self._reset_s - waited, 0.05),
            )
        self._breaker.half_open()
        self._probing = True
        return True

    def _succeeded(self) -> None:
        if self.state == pybreaker.STATE_CLOSED:
            if self._breaker.fail_counter:
                self._breaker._state_storage.reset_counter()  # noqa: SLF001 - documented storage
        elif self._probing:
            self._breaker.close()

    def _failed(self) -> None:
        self._breaker._state_storage.increment_counter()  # noqa: SLF001 - documented storage
        tripped = self._breaker.fail_counter >= self._failures
        if self.state != pybreaker.STATE_OPEN and (tripped or self._probing):
            self._opened_at = self._clock()
            self._breaker.open()
