"""Places that are shared out: nobody holds more than are free, and those who wait take turns.

However many one takes there is one for the next (the dynamic thresholds of Choudhury and Hahne,
1998; `mallku_workers.admission` does the same with slots).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress

from mallku_contracts.errors import DeadlineExceeded

Owner = str | None
"""Whose work it is; None for the gateway's own, which is held to no share."""


def has_share(owner: Owner, held: int, free: int) -> bool:
    """Whether somebody who holds `held` places may have one of `free` more."""
    return free > (0 if owner is None else held)


class Places:
    """So many at work at once, over all owners; within one event loop.

    Args:
        places: How many, count.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[Owner] = Counter()
        self._waiting: dict[Owner, deque[asyncio.Future[None]]] = {}

    async def take(self, owner: Owner, left_s: float) -> None:
        """Hold a place until it is given back; wait for it behind the owner's own.

        Raises:
            DeadlineExceeded: there was none for `left_s` seconds.
        """
        if owner not in self._waiting and has_share(owner, self._held[owner], self._free):
            self._hold(owner)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            async with asyncio.timeout(left_s):
                await turn
        except TimeoutError:
            self._stop_waiting(owner, turn)
            raise DeadlineExceeded(
                "the caller's time was over before there was a thread for the query"
            ) from None
        except BaseException:
            self._stop_waiting(owner, turn)
            raise

    def give_back(self, owner: Owner) -> None:
        """Free a place, for whoever's turn it is."""
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._let_in()

    def _hold(self, owner: Owner) -> None:
        self._free -= 1
        self._held[owner] += 1

    def _let_in(self) -> None:
        """Let in one of each owner that may have a place; who had a turn stands behind the rest."""
        for owner in list(self._waiting):
            if has_share(owner, self._held[owner], self._free):
                queue = self._waiting.pop(owner)
                self._let_in_first(owner, queue)
                if queue:
                    self._waiting[owner] = queue

    def _let_in_first(self, owner: Owner, queue: deque[asyncio.Future[None]]) -> None:
        while queue:
            turn = queue.popleft()
            if not turn.done():  # or its caller gave up this moment
                turn.set_result(None)
                self._hold(owner)
                return

    def _stop_waiting(self, owner: Owner, turn: asyncio.Future[None]) -> None:
        """Give up the turn; a place that came in the same moment goes to the next."""
        if turn.done() and not turn.cancelled():
            self.give_back(owner)
            return
        queue = self._waiting.get(owner, deque[asyncio.Future[None]]())
        with suppress(ValueError):
            queue.remove(turn)
        if not queue:
            self._waiting.pop(owner, None)
