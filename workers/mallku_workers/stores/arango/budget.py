"""How long a request may take, known to whatever runs in the same thread.

The driver between the store and the HTTP client has no place for a deadline, so it travels beside.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

ANSWER_MARGIN_S: Final = 0.2
"""How long an answer is waited for past the deadline, to learn what became of it, seconds."""

UNBOUND_S: Final = 30.0
"""A request outside any work, such as those at the start of the store, seconds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A deadline on the monotonic clock, and what its end means.

    Attributes:
        writes: The request may have an effect, so that silence means "unknown".
    """

    ends: float
    writes: bool = False

    @property
    def left_s(self) -> float:
        """What is left, seconds; never negative."""
        return max(self.ends - time.monotonic(), 0.0)

    @property
    def patience_s(self) -> float:
        """How long to wait for the answer, seconds."""
        return self.left_s + ANSWER_MARGIN_S


class _Current(threading.local):
    budget: Budget | None = None


_current = _Current()


def budget_for(seconds: float, *, writes: bool = False) -> Budget:
    """A budget that begins now."""
    return Budget(time.monotonic() + seconds, writes)


def current_budget() -> Budget:
    """The budget of this thread, a default one where none was set."""
    return _current.budget or budget_for(UNBOUND_S)


@contextmanager
def spending(budget: Budget) -> Generator[None]:
    """Within this block, requests of this thread are held to `budget`."""
    before, _current.budget = _current.budget, budget
    try:
        yield
    finally:
        _current.budget = before
