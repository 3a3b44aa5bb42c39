"""A stream read from a place to its end, or followed: every message once, in order, without a gap.

Messages are pulled ahead within a bound of bytes. After whatever may have made the reader miss
something, a lost connection, a gap, a silent server, it goes on behind the last message it has.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from nats.aio.subscription import Subscription

from mallku_broker.connection import GatewayConnection
from mallku_broker.deliveries import DELIVERED
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.jetstream import NO_SUCH_STREAM, ApiError, ask
from mallku_broker.pulling import Pulled
from mallku_broker.ranges import DEFAULT_LIMITS, Range, ReadLimits, StreamState, stream_state
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.trail.stored import TrailEntry

_NS: Final = 1_000_000_000
_INSTANCE_BYTES: Final = 8

Trouble = Callable[[str], None]
"""Told why reading stopped for a while; it goes on by itself. Must not raise."""


class StreamChanged(ConfigurationError):
    """The stream is not the one that was being read: it was made anew, or lost its end."""


async def read_stream(
    connection: GatewayConnection,
    wanted: Range,
    *,
    name: str,
    limits: ReadLimits = DEFAULT_LIMITS,
    troubled: Trouble | None = None,
) -> AsyncGenerator[list[TrailEntry]]:
    """Read batch by batch; arguments and errors as of `StreamReader`."""
    reader = StreamReader(connection, wanted, name=name, limits=limits, troubled=troubled)
    async with reader:
        while batch := await reader.next():
            yield batch


class StreamReader:
    """Reads a range of a stream through consumers of its own, which the server forgets.

    Messages come to `<inbox prefix>.<random>.*`: nobody else can know it.

    Args:
        name: Begins the consumers' names, by which administrators see who reads.
        troubled: Told why reading stopped for a while.

    Attributes:
        last: The sequence that is the end, once reading began; None for one that follows.
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
        self.last: int | None = None
        self._connection, self._wanted = connection, wanted
        self._limits, self._troubled = limits, troubled
        instance = secrets.token_hex(_INSTANCE_BYTES)
        self._name = f"{name}-{instance}"
        self._inbox = f"{connection.inbox_prefix}.{instance}."
        self._numbers = itertools.count(1)
        self._created = ""
        self._position = max(0, wanted.first - 1)
        self._ended = False
        self._pulled = Pulled("", self._position)
        self._pulled.end("")
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sign = 0.0
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._connection.watch(self._on_event)
        self._subscription = await self._connection.listen(f"{self._inbox}*", self._on_message)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.unwatch(self._on_event)
        if self._subscription is not None:
            await self._connection.unlisten(self._subscription)

    async def next(self) -> list[TrailEntry]:
        """The next messages, at least one; an empty list at the end.

        Raises:
            GatewayUnreachable: no answer for `give_up_s`, or the connection was closed for good.
            ConfigurationError: there is no such stream, or no permission to read it.
            StreamChanged: it is not the stream that was being read.
        """
        self._sign = self._loop.time()
        while not (self._pulled.entries or self._ended):
            await self._more()
        taken = self._take()
        await asyncio.sleep(0)  # whoever takes without waiting leaves a turn to others
        return taken

    def _take(self) -> list[TrailEntry]:
        """What was pulled, up to the end."""
        pulled, last = self._pulled, self.last
        taken, pulled.entries, pulled.size = pulled.entries, [], 0
        if taken:
            self._position = taken[-1].sequence
        if last is not None and self._position >= last:
            self._ended = True
            return [entry for entry in taken if entry.sequence <= last]
        self._pull()
        return taken

    async def _more(self) -> None:
        """Do what brings more messages, or the end, and wait for a sign of the server."""
        if self._pulled.broken:
            await self._begin_again()
        elif self._pulled.dry and not self._wanted.follow:
            await self._confirm_end()
        else:
            self._pull()
            await self._hear_the_server()

    async def _hear_the_server(self) -> None:
        self._news.clear()
        if self._pulled.broken:
            return
        try:
            async with asyncio.timeout(self._limits.silence_s):
                await self._news.wait()
        except TimeoutError:
            self._pulled.end(f"the broker was silent for {self._limits.silence_s:g} s")

    async def _begin_again(self) -> None:
        """Read on behind the last message; tried until there was no sign for `give_up_s`."""
        limit, pulled = self._limits.give_up_s, self._pulled
        self._tell(pulled.why)
        try:
            async with asyncio.timeout_at(None if limit is None else self._sign + limit):
                if pulled.consumer and not pulled.delivered:
                    await asyncio.sleep(self._limits.again_s)
                await self._connection.connected()
                while True:
                    if await self._begun():
                        return
                    await asyncio.sleep(self._limits.again_s)
        except TimeoutError:
            raise GatewayUnreachable(
                f"{self._wanted.stream}: no answer from the broker for {limit:g} s"
            ) from None

    async def _begun(self) -> bool:
        try:
            await self._begin()
        except GatewayUnreachable as error:
            self._tell(error.message)
        except ApiError as error:
            if not self._created:
                raise
            if error.err_code == NO_SUCH_STREAM:
                raise StreamChanged(f"{self._wanted.stream} is gone") from None
            self._tell(error.message)
        else:
            return True
        return False

    async def _begin(self) -> None:
        stream = self._wanted.stream
        self._compare(await stream_state(self._connection, stream, api=self._wanted.api))
        if self._ended:
            return
        pulled = Pulled(f"{self._name}-{next(self._numbers)}", self._position)
        answer = await ask(
            self._connection,
            f"CONSUMER.CREATE.{stream}.{pulled.consumer}",
            {"stream_name": stream, "config": self._consumer(pulled.consumer)},
            api=self._wanted.api,
        )
        pulled.dry = not answer.get("num_pending")
        self._pulled = pulled

    def _compare(self, state: StreamState) -> None:
        """Hold the stream against what was read of it: nobody may exchange it in between."""
        stream, wanted = self._wanted.stream, self._wanted
        if not self._created:
            self._created = state.created
            self.last = None if wanted.follow else state.last
        elif state.created != self._created:
            raise StreamChanged(f"{stream} was made anew while it was being read")
        elif self._position > max(state.last, wanted.first - 1):
            raise StreamChanged(f"{stream} ends at {state.last}, and {self._position} was read")
        self._ended = self.last is not None and self._position >= self.last

    def _consumer(self, name: str) -> dict[str, Any]:
        configuration: dict[str, Any] = {
            "name": name,
            "ack_policy": "none",
            "inactive_threshold": int(self._limits.forgotten_s * _NS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        if self._wanted.subjects:
            configuration["filter_subjects"] = list(self._wanted.subjects)
        since = self._wanted.since_ms
        if since is not None and self._position < self._wanted.first:
            start = datetime.fromtimestamp(since / 1_000, UTC).isoformat()
            return configuration | {"deliver_policy": "by_start_time", "opt_start_time": start}
        start_at = self._position + 1
        return configuration | {"deliver_policy": "by_start_sequence", "opt_start_seq": start_at}

    async def _confirm_end(self) -> None:
        """What the server counts beside its messages is an estimate: ask it once more."""
        pulled = self._pulled
        call = f"CONSUMER.INFO.{self._wanted.stream}.{pulled.consumer}"
        try:
            left = (await ask(self._connection, call, {}, api=self._wanted.api)).get("num_pending")
        except (ApiError, GatewayUnreachable) as error:
            pulled.end(error.message)
            return
        pulled.dry = False
        self._ended = not left and not pulled.entries and not pulled.broken

    def _pull(self) -> None:
        """Ask for more, as long as there is room for what may come."""
        pulled, limits = self._pulled, self._limits
        while not pulled.broken and self._has_room():
            inbox = f"{self._inbox}{next(self._numbers)}"
            call = f"{self._wanted.api}.CONSUMER.MSG.NEXT.{self._wanted.stream}.{pulled.consumer}"
            try:
                self._connection.post(call, self._request(), reply=inbox)
            except ConnectionLost as error:
                pulled.end(error.message)
            else:
                pulled.requested(inbox, limits.pull_messages)

    def _has_room(self) -> bool:
        pulled, limits = self._pulled, self._limits
        room = limits.ahead - 1 - pulled.open_requests
        return (
            len(pulled.entries) <= room * limits.pull_messages
            and pulled.size <= room * limits.pull_bytes
        )

    def _request(self) -> bytes:
        limits = self._limits
        request = {
            "batch": limits.pull_messages,
            "max_bytes": limits.pull_bytes,
            "expires": int(limits.pull_s * _NS),
            "idle_heartbeat": int(limits.heartbeat_s * _NS),
        }
        return json.dumps(request).encode()

    def _on_message(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        if reply.startswith(DELIVERED):
            self._pulled.take(subject, reply, body)
        else:
            self._pulled.hear(subject, header)
        self._sign = self._loop.time()
        self._news.set()

    def _on_event(self, event: ConnectionEvent) -> None:
        if event.kind in {EventKind.DISCONNECTED, EventKind.CLOSED}:
            self._pulled.end(f"the connection to the broker broke: {event.detail}")
            self._news.set()

    def _tell(self, why: str) -> None:
        if why and self._troubled is not None:
            self._troubled(why)
