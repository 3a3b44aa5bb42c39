"""Leaves a store alone that keeps failing, and asks it again with one probe at a time.

pybreaker's own `call` holds its lock during the guarded call, counts cancellation as a failure and
lets many probes through; so its states, storage and listeners are kept, and driven from here.
Reads, writes and administration of a store have a breaker each: one that cannot write may read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pybreaker
import structlog

from mallku_contracts.errors import (
    OutcomeUnknown,
    PermissionDenied,
    RequestError,
    StoreFailure,
    Unavailable,
)
from mallku_contracts.operations import Access
from mallku_workers.rolling import RollingCount

INFRASTRUCTURE: Final = (Unavailable, OutcomeUnknown, StoreFailure)
"""What counts as the store's failure; a refused document does not, it is an answer."""

LEAST_RETRY_S: Final = 0.05
"""The shortest advice to callers while a probe is under way, seconds."""


_log = structlog.get_logger("mallku.breaker")


class StateLog(pybreaker.CircuitBreakerListener):
    """Writes one line for each change of a breaker's state."""

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """The breaker stands elsewhere now."""
        line = _log.info if new_state.name == pybreaker.STATE_CLOSED else _log.warning
        line("breaker", store=cb.name, state=new_state.name, before=old_state and old_state.name)


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and for how long.

    Attributes:
        failure_ratio: Failures among the calls of the window, above 0 and at most 1.
        min_calls: Calls of the window below which nothing is concluded.
        window_s: How far back is looked, seconds.
        reset_s: Before an open breaker lets one probe pass, seconds.
    """

    failure_ratio: float = 0.5
    min_calls: int = 5
    window_s: float = 10.0
    reset_s: float = 2.0


class Breaker:
    """Opens when too many of the calls of the last seconds failed.

    What ended without a word of the store, such as a caller's time that was over first, says
    nothing; neither does what began before the breaker last changed.

    Args:
        clock: Monotonic seconds.
        name: Told to listeners.
        listeners: pybreaker's, told of every failure, success and change of state.
    """

    def __init__(
        self,
        limits: BreakerLimits,
        clock: Callable[[], float],
        name: str = "store",
        listeners: Iterable[pybreaker.CircuitBreakerListener] = (),
    ) -> None:
        self._breaker: Any = pybreaker.CircuitBreaker(
            fail_max=limits.min_calls,
            reset_timeout=limits.reset_s,
            listeners=tuple(listeners),
            name=name,
        )
        self._limits = limits
        self._clock = clock
        self._calls = RollingCount(limits.window_s, clock)
        self._failures = RollingCount(limits.window_s, clock)
        self._opened_at = 0.0
        self._probing = False
        self._epoch = 0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return str(self._breaker.current_state)

    def refuse_open(self) -> None:
        """Raise `Unavailable` while nobody is let through, with the next probe's time."""
        if self.state == pybreaker.STATE_CLOSED:
            return
        left_s = self._left_s()
        if self._probing or (self.state == pybreaker.STATE_OPEN and left_s > 0):
            raise Unavailable(
                "the store keeps failing and is left alone for a moment; nothing was done",
                retry_after=max(left_s, LEAST_RETRY_S),
            )

    @contextmanager
    def guard(self) -> Generator[Callable[[], None]]:
        """Let the body run unless the store is being left alone.

        What is given to it raises as `refuse_open`, should the breaker have changed meanwhile: to
        be called after a wait, before the store is asked.

        Raises:
            Unavailable: as `refuse_open`.
        """
        self.refuse_open()
        probe = self.state != pybreaker.STATE_CLOSED
        if probe and self.state == pybreaker.STATE_OPEN:
            self._change(self._breaker.half_open)
        self._probing, epoch = self._probing or probe, self._epoch
        failed: Exception | None = None
        spoke = True

        def look_again() -> None:
            if epoch != self._epoch:
                self.refuse_open()

        try:
            yield look_again
        except INFRASTRUCTURE as error:
            failed = error
            raise
        except (RequestError, PermissionDenied):
            raise
        except BaseException:
            spoke = False
            raise
        finally:
            if probe:
                self._probing = False
            if spoke and epoch == self._epoch:
                self._learn(failed, probe=probe)

    def _left_s(self) -> float:
        return self._opened_at + self._limits.reset_s - self._clock()

    def _learn(self, failed: Exception | None, *, probe: bool) -> None:
        self._calls.add()
        for listener in self._breaker.listeners:
            if failed is None:
                listener.success(self._breaker)
            else:
                listener.failure(self._breaker, failed)
        if failed is not None:
            self._failed(probe=probe)
        elif probe:
            self._change(self._breaker.close)

    def _failed(self, *, probe: bool) -> None:
        self._failures.add()
        self._breaker._state_storage.increment_counter()  # noqa: SLF001 - documented storage
        if probe or self._too_many():
            self._opened_at = self._clock()
            self._change(self._breaker.open)

    def _too_many(self) -> bool:
        calls, limits = self._calls.total, self._limits
        return calls >= limits.min_calls and self._failures.total >= limits.failure_ratio * calls

    def _change(self, change: Callable[[], object]) -> None:
        """What was counted in one state says nothing in the next."""
        change()
        self._epoch += 1
        if self.state == pybreaker.STATE_CLOSED:
            self._calls.clear()
            self._failures.clear()


class Breakers:
    """One breaker for each class of access to a store."""

    def __init__(
        self,
        limits: BreakerLimits,
        clock: Callable[[], float],
        store: str = "store",
        listeners: Iterable[pybreaker.CircuitBreakerListener] = (),
    ) -> None:
        watching = tuple(listeners)
        self._of = {
            access: Breaker(limits, clock, f"{store}.{access.value}", watching) for access in Access
        }

    def of(self, access: Access) -> Breaker:
        """The breaker of one class."""
        return self._of[access]

    def states(self) -> dict[str, str]:
        """`closed`, `open` or `half-open`, by the class."""
        return {access.value: breaker.state for access, breaker in self._of.items()}
