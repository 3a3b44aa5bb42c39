"""Minutes in which refusals are counted: each ends with the summaries of what got no record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mallku_workers.audit.floods import RefusalFloods

MINUTE_S: Final = 60.0
"""After this long a flood of refusals is summed up, seconds."""


class RefusalMinutes:
    """Says which refusals get a record of their own, and sums up the others by the minute.

    Args:
        per_minute: Refusals of one principal with a record each; the rest are counted.
        has_room: Whether the trail takes another record; while it does not, the minute goes on.
        sum_up: Told the principal, and how many of its refusals got no record.
    """

    def __init__(
        self, per_minute: int, has_room: Callable[[], bool], sum_up: Callable[[str, int], None]
    ) -> None:
        self._floods = RefusalFloods(per_minute)
        self._has_room = has_room
        self._sum_up = sum_up
        self._minute: asyncio.TimerHandle | None = None

    def passes(self, principal: str, *, announced: bool) -> bool:
        """Whether a refusal gets a record of its own; begins the minute that it counts in.

        One that ends an announced intent always does.
        """
        if self._minute is None:
            self._begin_minute()
        return announced or self._floods.passes(principal, room=self._has_room())

    def end(self) -> None:
        """Sum up now, whether there is room or not."""
        if self._minute is not None:
            self._minute.cancel()
            self._minute = None
        self._tell()

    def _begin_minute(self) -> None:
        self._minute = asyncio.get_running_loop().call_later(MINUTE_S, self._end_minute)

    def _end_minute(self) -> None:
        self._minute = None
        if self._has_room():
            self._tell()
        else:
            self._begin_minute()

    def _tell(self) -> None:
        for principal, count in self._floods.summaries():
            self._sum_up(principal, count)
