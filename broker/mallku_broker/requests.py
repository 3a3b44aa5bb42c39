"""Requests and their answers over one subscription: a table of futures and one timer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from nats.aio.subscription import Subscription

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import (
    ConnectionEvent,
    ConnectionLost,
    EventKind,
    NoResponders,
    RefusedByBroker,
)
from mallku_broker.headers import NO_HEADERS, decode_headers, encode_headers, nobody_listens
from mallku_broker.pending import Pending

MAX_IN_FLIGHT: Final = 4_096
"""Requests of one multiplexer that wait for their answer; more wait for their turn."""

_INSTANCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its body, and its header block, parsed when it is looked at."""

    data: bytes
    header: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name."""
        return decode_headers(self.header)


class RequestMultiplexer:
    """Sends requests and finds the answer to each; safe for many tasks of one event loop.

    The inbox is `<inbox_prefix>.<random>.<number>`. A connection that breaks ends everything that
    waits with `ConnectionLost`, so that a retry need not wait for a timeout; requests made in the
    meantime wait for the connection to come back.

    Args:
        inbox_prefix: `subjects.inbox_prefix(principal)`.
        max_in_flight: Requests that wait for an answer at a time.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        inbox_prefix: str,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self._connection = connection
        self._inbox = f"{inbox_prefix}.{secrets.token_hex(_INSTANCE_BYTES)}."
        self._slots = asyncio.Semaphore(max_in_flight)
        self._pending: Pending[Response] = Pending(_timed_out)
        self._subscription: Subscription | None = None

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer."""
        return len(self._pending)

    @property
    def late(self) -> int:
        """Answers that came when nobody waited for them any more, and were dropped."""
        return self._pending.late

    async def start(self) -> None:
        """Subscribe to the inbox; to be called once, before the first request."""
        self._connection.watch(self._on_event)
        self._subscription = await self._connection.listen(f"{self._inbox}*", self._on_answer)

    async def close(self) -> None:
        """End what waits with `ConnectionLost`, and unsubscribe."""
        if self._subscription is None:
            return
        subscription, self._subscription = self._subscription, None
        self._connection.unwatch(self._on_event)
        self._pending.fail(lambda: ConnectionLost("the multiplexer was closed", sent=True))
        await self._connection.unlisten(subscription)

    async def request(
        self,
        subject: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,  # noqa: ASYNC109  # one timer for all, not one context manager for each
    ) -> Response:
        """Send a request and return its answer; `timeout` is in seconds and covers every wait.

        Raises:
            TimeoutError: no answer in time; the request may have been served.
            NoResponders: nobody listens on the subject; nothing was done.
            RefusedByBroker: the broker does not let us publish there; nothing was done.
            ConnectionLost: the connection broke; `sent` says whether the request may have left.
            MessageTooLarge: the broker does not take so much.
        """
        header = encode_headers(headers) if headers else NO_HEADERS
        connection, slots = self._connection, self._slots
        if slots.locked() or connection.congested or not connection.is_up:
            timeout = await self._wait_for_turn(timeout)
        else:
            await slots.acquire()
        token = ""
        try:
            token, answer = self._pending.open(subject, timeout)
            connection.post(subject, body, reply=self._inbox + token, header=header)
            return await answer
        finally:
            self._pending.forget(token)
            slots.release()

    async def _wait_for_turn(self, timeout: float) -> float:  # noqa: ASYNC109  # as above
        """Take a slot when there is one and the connection can send; returns the time left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        try:
            async with asyncio.timeout_at(end):
                await self._slots.acquire()
                try:
                    await self._connection.connected()
                    if self._connection.congested:
                        await self._connection.relief()
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError:
            if self._connection.is_up:
                raise
            raise ConnectionLost("not connected to the broker", sent=False) from None
        return end - loop.time()

    def _on_answer(self, subject: str, _reply: str, body: bytes, header: bytes | None) -> None:
        waiting = self._pending.take(subject[len(self._inbox) :])
        if waiting is None:
            return
        if nobody_listens(header, body):
            waiting.future.set_exception(NoResponders(f"nobody listens on {waiting.subject} now"))
        else:
            waiting.future.set_result(Response(body, header))

    def _on_event(self, event: ConnectionEvent) -> None:
        if event.kind in {EventKind.DISCONNECTED, EventKind.CLOSED}:
            why = f"the connection to the broker broke: {event.detail}"
            self._pending.fail(lambda: ConnectionLost(why, sent=True))
        elif event.kind is EventKind.REFUSED and event.subject:
            self._pending.fail(lambda: RefusedByBroker(event.detail), subject=event.subject)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _timed_out(subject: str) -> TimeoutError:
    return TimeoutError(f"no answer from {subject}")
