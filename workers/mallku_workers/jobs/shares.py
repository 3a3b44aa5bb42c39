"""What one principal may hold of the streams that all share: of jobs, results and the dead."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.filling import Filling, count_below, filling
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import KIB, MAX_REPLY_BYTES

LOOK_EVERY_S: Final = 1.0
"""For so long what was seen of a stream is taken for what it is, seconds."""

LOOK_EVERY_PART: Final = 1 / 64
"""No longer than until messages of this part of its bytes have passed here."""

MAX_COUNTS: Final = 1_000
"""Counts of principals that are remembered; beyond that all are taken anew."""

OVERHEAD_BYTES: Final = KIB
"""What a stream needs for a message beside its body at most, taken as always, bytes."""

SPREAD: Final = 1 + math.log(MAX_REPLY_BYTES / OVERHEAD_BYTES)
"""How much less many messages of one size get than their share, so that no mix gets more."""

_UNKNOWN: Final = Filling(0, 0)
_log = structlog.get_logger("mallku.jobs")


class Looking(Protocol):
    """Looks at streams; both raise `MallkuError` when nobody answers."""

    async def filling(self, stream: str) -> Filling:
        """How full it is."""
        ...

    async def count(self, stream: str, subjects: str) -> int:
        """How many messages lie below `subjects`."""
        ...


class StreamLook:
    """Looks at the real streams."""

    def __init__(self, connection: GatewayConnection, asking: RequestMultiplexer) -> None:
        self._connection = connection
        self._asking = asking

    async def filling(self, stream: str) -> Filling:
        """How full it is; errors as of `mallku_broker.filling.filling`."""
        return await filling(self._connection, stream)

    async def count(self, stream: str, subjects: str) -> int:
        """How many messages lie below `subjects`; errors as of `count_below`."""
        return await count_below(self._asking, stream, subjects)


class Shares:
    """Tells whether one more message of a principal would be beyond its share of a stream.

    A stream that is not half full is free for all. Beyond that a message is let in when its size,
    times the number of messages that the principal then has there, times `SPREAD` is within the
    share. Nobody has to know the sizes of what lies there, which the server does not tell: of what
    was let in so and is still there, the i-th oldest is not larger than share / (`SPREAD` i), which
    in sum is not more than the share. Where nobody answers, nobody is refused.

    Args:
        share: Part of a stream's bytes.
        clock: Seconds, monotonic.
    """

    def __init__(self, looking: Looking, share: float, clock: Callable[[], float]) -> None:
        self._looking = looking
        self._share = share
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def beyond(self, stream: str, subjects: str, size: int, *, adds: bool = True) -> bool:
        """Whether the principal whose messages lie below `subjects` has no room for so many bytes.

        Args:
            size: Of the message's body, bytes.
            adds: It is put there when there is room, and does not lie there yet.
        """
        size += OVERHEAD_BYTES
        async with self._locks[stream]:
            try:
                seen = await self._look(stream, size)
                if seen.filling.half_full:
                    count = await self._count(seen, stream, subjects) + adds
                    if count * size * SPREAD > self._share * seen.filling.most:
                        return True
            except MallkuError as error:
                self._seen[stream] = _Seen(self._clock())  # nobody asks again at once
                _log.warning("share_not_known", stream=stream, reason=repr(error))
                return False
            if adds:
                seen.add(subjects, size)
            return False

    async def _look(self, stream: str, size: int) -> _Seen:
        """What is seen of a stream, not older than a moment, or than a small part of its bytes."""
        seen = self._seen.get(stream)
        if seen is None or seen.is_old(self._clock()):
            found = await self._looking.filling(stream)
            self._seen[stream] = seen = _Seen(self._clock(), found)
        seen.passed += size
        return seen

    async def _count(self, seen: _Seen, stream: str, subjects: str) -> int:
        if subjects not in seen.counts:
            count = await self._looking.count(stream, subjects)
            if len(seen.counts) >= MAX_COUNTS:
                seen.counts.clear()
            seen.counts[subjects] = count
        return seen.counts[subjects]


@dataclass(slots=True)
class _Seen:
    """What was seen of a stream at one moment, and what was put there by ourselves since then."""

    taken_s: float
    filling: Filling = _UNKNOWN
    passed: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def is_old(self, now_s: float) -> bool:
        if now_s - self.taken_s >= LOOK_EVERY_S:
            return True
        return bool(self.filling.most) and self.passed >= self.filling.most * LOOK_EVERY_PART

    def add(self, subjects: str, size: int) -> None:
        self.filling = self.filling._replace(held=self.filling.held + size)
        if subjects in self.counts:
            self.counts[subjects] += 1
