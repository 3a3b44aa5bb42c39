"""Answers that are waited for: futures by token, and one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

TICK_S: Final = 0.02
"""A timeout comes at most this much late, seconds."""

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """What waits behind one token, and the tick at which it has waited too long."""

    subject: str
    future: asyncio.Future[T]
    tick: int


class Pending(Generic[T]):
    """A table of futures; each ends by an answer, by an error, or by its timeout.

    Deadlines share buckets of one tick, so that a message costs two dictionary entries and no timer
    of its own.

    Args:
        timed_out: The error for a subject whose answer did not come.

    Attributes:
        late: Answers that nobody waited for any more.
    """

    def __init__(self, timed_out: Callable[[str], Exception]) -> None:
        self.late = 0
        self._timed_out = timed_out
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, Waiting[T]] = {}
        self._buckets: dict[int, dict[str, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, subject: str, timeout: float) -> tuple[str, asyncio.Future[T]]:
        """Wait for an answer for `timeout` seconds; the token is a number in decimal."""
        self._count += 1
        token = str(self._count)
        tick = int((self._loop.time() + timeout) / TICK_S) + 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._entries[token] = Waiting(subject, future, tick)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {token: None}
            self._wake_at(tick)
        else:
            bucket[token] = None
        return token, future

    def take(self, token: str) -> Waiting[T] | None:
        """What waits behind a token, its future to be ended by the caller; None when late."""
        entry = self._entries.pop(token, None)
        if entry is None:
            self.late += 1
            return None
        self._unlist(token, entry.tick)
        return None if entry.future.done() else entry

    def forget(self, token: str) -> None:
        """Wait no longer; nothing happens when the answer was there."""
        entry = self._entries.pop(token, None)
        if entry is not None:
            self._unlist(token, entry.tick)

    def fail(self, error: Callable[[], Exception], *, subject: str | None = None) -> None:
        """End what waits, all or that of one subject (in lower case), with an error each."""
        for token, entry in list(self._entries.items()):
            if subject is None or entry.subject.lower() == subject:
                self.forget(token)
                if not entry.future.done():
                    entry.future.set_exception(error())

    def _unlist(self, token: str, tick: int) -> None:
        bucket = self._buckets[tick]
        del bucket[token]
        if not bucket:
            del self._buckets[tick]

    def _wake_at(self, tick: int) -> None:
        if self._timer is not None:
            if self._timer_tick <= tick:
                return
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = self._loop.call_at(tick * TICK_S, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = int(self._loop.time() / TICK_S)
        for tick in sorted(tick for tick in self._buckets if tick <= now):
            for token in self._buckets.pop(tick):
                entry = self._entries.pop(token)
                if not entry.future.done():
                    entry.future.set_exception(self._timed_out(entry.subject))
        if self._buckets:
            self._wake_at(min(self._buckets))
