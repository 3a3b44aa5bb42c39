"""Where one stream of the trail ends and the next begins: no transmission passes there twice.

A stream remembers which transmissions it has seen, and forgets them when it is sealed. So whoever
writes into a stream that is younger than that memory reads first what its forerunner has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import TrailReader, generations
from mallku_broker.ranges import Range, ReadLimits, StreamState
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Record, RecordError, message_id
from mallku_contracts.errors import AuditUnavailable, MallkuError, Replayed
from mallku_contracts.limits import AUDIT_DUPLICATE_WINDOW_S, MAX_CLOCK_SKEW_MS, MIB
from mallku_contracts.subjects import PREFIX
from mallku_contracts.trail.stored import TrailEntry

LOOK_S: Final = 1.0
"""Between two looks whether the trail goes on elsewhere, seconds; at once when it is silent."""

AGAIN_S: Final = 0.1
"""Between two looks at the least, seconds."""

RETRY_S: Final = 1.0
"""Advice to callers while the memory of the former stream is read, seconds."""

MAX_REMEMBERED: Final = 1_000_000
"""Transmissions of the former stream that are remembered; with more, nothing is executed until none
of them can be sent again."""

WINDOW_MS: Final = AUDIT_DUPLICATE_WINDOW_S * 1_000
"""How far back a stream remembers, milliseconds."""

_INTENTS: Final = f"{PREFIX}.audit.*.*.*.*.intent"
_NAME: Final = "seam"
_READING: Final = ReadLimits(pull_messages=500, pull_bytes=16 * MIB, ahead=2, give_up_s=30.0)
_AT_ONCE: Final = 50
_log = structlog.get_logger("mallku.trail")

Begun = Callable[[list[StreamState]], None]
"""Told of the trail's streams when the newest of them has no record yet; must not raise."""


@dataclass(slots=True)
class _Memory:
    """What the streams before this one have seen, until nothing of it can be sent again."""

    until_ms: int
    seen: set[int] | None = None
    too_much: bool = False


class Seam:
    """Knows which of the trail's streams takes records, and what those before it have seen.

    Args:
        acknowledgements: Of the trail; told which stream to expect.
        clock: Unix milliseconds.

    Attributes:
        current: The name of the stream that records go to.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        acknowledgements: AcknowledgementMultiplexer,
        clock: Callable[[], int],
    ) -> None:
        self.current = AUDIT
        self._connection = connection
        self._acknowledgements = acknowledgements
        self._clock = clock
        self._memory: _Memory | None = None
        self._news = asyncio.Event()
        self._begun: Begun = lambda _states: None

    def when_begun(self, begun: Begun) -> None:
        """Tell `begun` of a stream that waits for its first record."""
        self._begun = begun

    def look(self) -> None:
        """Look soon whether the trail goes on elsewhere."""
        self._news.set()

    def pass_on(self, name: str) -> str:
        """Let an intent with this message id through; the stream that has to store it.

        Raises:
            Replayed: a former stream has seen this transmission.
            AuditUnavailable: what it has seen is not known yet.
        """
        memory = self._memory
        if memory is not None and self._clock() <= memory.until_ms:
            if memory.seen is None:
                raise AuditUnavailable("the trail begins another stream", retry_after=RETRY_S)
            if hash(name) in memory.seen:
                raise Replayed("this transmission was seen before; sign a retry anew")
        return self.current

    async def begin(self) -> None:
        """Find the stream that takes records, and what is remembered of others.

        Raises:
            GatewayUnreachable, ConfigurationError: the trail cannot be read.
        """
        states = await generations(self._connection)
        self._take(states)
        await self._remember()

    async def keep(self) -> None:
        """Follow the trail from stream to stream, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._look()
            except MallkuError as error:  # a trail that is silent is the writer's to say
                _log.debug("streams_not_read", reason=error.message)
            await asyncio.sleep(AGAIN_S)

    async def _look(self) -> None:
        states = await generations(self._connection)
        newest = states[-1]
        if newest.name != self.current:
            self._take(states)
            _log.warning("trail_goes_on", stream=newest.name, first=newest.last + 1)
        if len(states) > 1 and not newest.messages:
            self._begun(states)
        if self._memory is not None:
            await self._remember()

    def _take(self, states: list[StreamState]) -> None:
        """Nothing more goes into the former stream, and into this one what was not seen there."""
        newest = states[-1]
        until_ms = _created_ms(newest) + WINDOW_MS + MAX_CLOCK_SKEW_MS
        if len(states) > 1 and self._clock() <= until_ms:
            self._memory = _Memory(until_ms)
        self.current = newest.name
        self._acknowledgements.expect(newest.name)

    async def _remember(self) -> None:
        """Read what former streams have seen, if there are any; forget it when its time is over."""
        memory = self._memory
        if memory is None:
            return
        if self._clock() > memory.until_ms:
            self._memory = None
        elif memory.seen is None and not memory.too_much:
            since_ms = memory.until_ms - MAX_CLOCK_SKEW_MS - 2 * WINDOW_MS
            seen = await self._read(since_ms)
            memory.seen, memory.too_much = seen, seen is None
            _log.info("transmissions_remembered", count=len(seen or ()))

    async def _read(self, since_ms: int) -> set[int] | None:
        """The transmissions since then; None where they are too many."""
        seen: set[int] = set()
        wanted = Range(AUDIT, (_INTENTS,), since_ms=since_ms)
        async with TrailReader(self._connection, wanted, name=_NAME, limits=_READING) as reader:
            while batch := await reader.next():
                for begin in range(0, len(batch), _AT_ONCE):
                    seen.update(_names(batch[begin : begin + _AT_ONCE]))
                    await asyncio.sleep(0)
                if len(seen) > MAX_REMEMBERED:
                    _log.error("too_many_transmissions", most=MAX_REMEMBERED)
                    return None
        return seen


def _names(batch: Iterable[TrailEntry]) -> Iterable[int]:
    for entry in batch:
        with contextlib.suppress(RecordError):
            yield hash(message_id(Record.read(entry.data).fields()))


def _created_ms(state: StreamState) -> int:
    return int(datetime.fromisoformat(state.created).timestamp() * 1_000)
