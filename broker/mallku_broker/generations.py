"""The trail as one, though it may be made of several streams: generations, all sealed but the last.

`audit rotate` seals a stream and begins the next, whose sequences go on where the former ended. So
a sequence names one record of the whole trail, and whoever reads it has to know nothing of streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from nats.aio.client import Client

from mallku_broker.connection import GatewayConnection
from mallku_broker.jetstream import JETSTREAM_API, NO_SUCH_STREAM, ApiError
from mallku_broker.ranges import DEFAULT_LIMITS, Range, ReadLimits, StreamState, stream_state
from mallku_broker.single import message_at, newest_message
from mallku_broker.stream_reader import StreamReader, Trouble
from mallku_broker.streams import AUDIT, AUDIT_STREAMS
from mallku_contracts.errors import GatewayUnreachable
from mallku_contracts.trail.stored import TrailEntry

LOOK_S: Final = 1.0
"""Who follows the trail looks so often whether its stream was sealed, while nothing comes; s."""


async def generations(connection: Client, *, api: str = JETSTREAM_API) -> list[StreamState]:
    """The streams that the trail is made of, oldest first; those that are gone are left out.

    Raises:
        GatewayUnreachable: the JetStream API does not answer.
        ApiError: there is none at all, or no permission to look.
    """
    found: list[StreamState] = []
    missing: ApiError | None = None
    for name in AUDIT_STREAMS:
        try:
            found.append(await stream_state(connection, name, api=api))
        except ApiError as error:
            if error.err_code != NO_SUCH_STREAM:
                raise
            missing = missing or error
            continue
        if not found[-1].sealed:
            break
    if not found and missing is not None:
        raise missing
    return found


def as_one(states: Sequence[StreamState]) -> StreamState:
    """The whole trail as if it were one stream, under the name of the first."""
    first, last = states[0], states[-1]
    return replace(
        last,
        name=AUDIT,
        created=first.created,
        messages=sum(each.messages for each in states),
        bytes=sum(each.bytes for each in states),
        first=next((each.first for each in states if each.messages), last.first),
        consumers=sum(each.consumers for each in states),
    )


async def trail_state(connection: GatewayConnection, *, api: str = JETSTREAM_API) -> StreamState:
    """What the servers say about the whole trail; errors as of `generations`."""
    return as_one(await generations(connection, api=api))


async def record_at(connection: Client, sequence: int) -> TrailEntry | None:
    """The record at a sequence of the trail; None when there is none. Errors as of `message_at`."""
    for state in reversed(await generations(connection)):
        if state.first <= sequence <= state.last:
            return await message_at(connection, state.name, sequence)
    return None


async def newest_record(connection: Client, subject: str) -> TrailEntry | None:
    """The newest record under a subject; None when there is none. Errors as of `message_at`."""
    for state in reversed(await generations(connection)):
        found = await newest_message(connection, state.name, subject) if state.messages else None
        if found is not None:
            return found
    return None


class TrailReader:
    """Reads a range of the trail through all its streams; of any other stream as `StreamReader`.

    Arguments and errors as of `StreamReader`; `wanted.stream` is `AUDIT` for the trail.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        wanted: Range,
        *,
        name: str,
        limits: ReadLimits = DEFAULT_LIMITS,
        troubled: Trouble | None = None,
    ) -> None:
        self._connection, self._wanted = connection, wanted
        self._name, self._limits, self._troubled = name, limits, troubled
        self._left: list[StreamState] | None = None
        self._position = wanted.first - 1
        self._reader: StreamReader | None = None
        self._open: StreamState | None = None
        self._reading: asyncio.Task[list[TrailEntry]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def next(self) -> list[TrailEntry]:
        """The next messages, at least one; an empty list at the end."""
        if self._left is None:
            self._left = await self._begin()
        while True:
            if self._reader is None and not await self._enter():
                return []
            batch = await self._read()
            if batch:
                self._position = batch[-1].sequence
                return batch
            await self._leave()

    async def _begin(self) -> list[StreamState]:
        wanted = self._wanted
        if wanted.stream == AUDIT:
            return await generations(self._connection, api=wanted.api)
        return [await stream_state(self._connection, wanted.stream, api=wanted.api)]

    async def _enter(self) -> bool:
        """Open the next stream that may hold something; False when there is none."""
        while self._left:
            state = self._left.pop(0)
            if self._left and state.last <= self._position:
                continue
            self._reader = await self._stream_reader(state).__aenter__()
            self._open = state
            return True
        return False

    def _stream_reader(self, state: StreamState) -> StreamReader:
        wanted, begun = self._wanted, self._position >= self._wanted.first
        part = replace(
            wanted,
            stream=state.name,
            first=self._position + 1,
            since_ms=None if begun else wanted.since_ms,
            follow=wanted.follow and not state.sealed,
        )
        return StreamReader(
            self._connection,
            part,
            name=self._name,
            limits=self._limits,
            troubled=self._troubled,
        )

    async def _read(self) -> list[TrailEntry]:
        """The next messages of the open stream; none when it has ended."""
        reader, state = self._reader, self._open
        if reader is None or state is None:
            return []
        if not self._wanted.follow or self._wanted.stream != AUDIT or state.sealed:
            return await reader.next()
        while True:
            # Not cancelled in between: what the server has handed out would be lost.
            self._reading = self._reading or asyncio.ensure_future(reader.next())
            await asyncio.wait((self._reading,), timeout=LOOK_S)
            if self._reading.done():
                done, self._reading = self._reading, None
                return done.result()
            if await self._sealed(state):
                return []

    async def _sealed(self, state: StreamState) -> bool:
        """Whether another stream goes on; then the end of this one is left, and that."""
        try:
            now = await generations(self._connection, api=self._wanted.api)
        except (ApiError, GatewayUnreachable):  # the reader says what is wrong, and for how long
            return False
        if now[-1].sealed or now[-1].name == state.name:
            return False
        self._left = [each for each in now if each.first >= state.first]
        return True

    async def _leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.__aexit__(None, None, None)
