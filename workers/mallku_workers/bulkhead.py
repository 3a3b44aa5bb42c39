"""Places in the store for one class of work: so many at work, so many waiting, and no more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from mallku_contracts.errors import Busy, DeadlineExceeded
from mallku_workers.rolling import Pace


class Bulkhead:
    """Bounds how many of one class are inside at once, and how many wait for that.

    Whoever waits is let in in the order of coming; who finds every waiting place taken is refused
    at once.

    Args:
        name: Of the class, for messages.
        places: How many are inside at once.
        waiting: How many wait for a place.

    Attributes:
        inside: How many are inside now.
    """

    def __init__(self, name: str, places: int, waiting: int, pace: Pace) -> None:
        self._name = name
        self._places = places
        self._max_waiting = waiting
        self._pace = pace
        self._queue: deque[asyncio.Future[None]] = deque()
        self.inside = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place now."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, left_s: Callable[[], float]) -> AsyncGenerator[None]:
        """Hold a place while the body runs; wait for one no longer than the caller does.

        Args:
            left_s: Seconds that the caller has left; asked when there is no place at once.

        Raises:
            Busy: as many wait as may; `retry_after` by the pace at which places become free.
            DeadlineExceeded: the caller's time was over first.
        """
        await self._enter(left_s)
        try:
            yield
        finally:
            self._leave()
            self._pace.free()

    async def _enter(self, left_s: Callable[[], float]) -> None:
        if self.inside < self._places and not self._queue:
            self.inside += 1
            return
        if len(self._queue) >= self._max_waiting:
            ahead = self.inside + len(self._queue)
            raise Busy(
                f"{len(self._queue)} {self._name} commands wait for the store already; "
                "nothing was done",
                retry_after=self._pace.retry_after_s(ahead),
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(left_s()):
                await turn
        except TimeoutError:
            self._stop_waiting(turn)
            raise DeadlineExceeded(
                "the caller's time was over before the store was free; nothing was done"
            ) from None
        except BaseException:
            self._stop_waiting(turn)
            raise

    def _stop_waiting(self, turn: asyncio.Future[None]) -> None:
        """Give up the turn; the place that came in the same moment goes to the next."""
        if turn.done() and not turn.cancelled():
            self._leave()
            return
        with suppress(ValueError):
            self._queue.remove(turn)

    def _leave(self) -> None:
        """The place goes to whoever waits first, without being free in between."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1
