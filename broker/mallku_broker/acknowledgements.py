"""JetStream publishes, many under way at once, each with its acknowledgement or its error.

nats-py's own `publish_async` never ends a future whose message the server refused; `publish` waits
for one acknowledgement after the other.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from nats.aio.subscription import Subscription

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import (
    ConnectionEvent,
    ConnectionLost,
    EventKind,
    NotAcknowledged,
    NotPublished,
    PublishFailed,
    PublishRefused,
)
from mallku_broker.headers import nobody_listens
from mallku_broker.pending import Pending
from mallku_contracts.errors import MessageTooLarge

MAX_UNACKNOWLEDGED: Final = 4_096
"""Messages of one multiplexer that wait for their acknowledgement."""

MAX_BATCH_MESSAGES: Final = 1_000
"""Messages in one atomic batch; the server's own limit."""

_INSTANCE_BYTES: Final = 12
_STORED: Final = re.compile(rb'\{"stream":"([A-Za-z0-9_-]+)", ?"seq":([1-9][0-9]{0,18})\}')
"""The answer that nearly every message gets; whatever else there is, JSON's reader reads."""

_NOT_SENT: Final = (ConnectionLost, MessageTooLarge, NotPublished)

__all__ = [
    "Ack",
    "AcknowledgementMultiplexer",
    "Message",
    "NotAcknowledged",
    "NotPublished",
    "PublishFailed",
    "PublishRefused",
]


class Message(NamedTuple):
    """One message of a batch."""

    subject: str
    body: bytes
    id: str


class Ack(NamedTuple):
    """Where the message is stored; a duplicate has the sequence of its first publish."""

    stream: str
    sequence: int
    duplicate: bool


class AcknowledgementMultiplexer:
    """Publishes to one stream; safe for many tasks of one event loop.

    Messages leave in the order of the calls. The inbox is `<inbox prefix>.<random>.<number>`. A
    connection that breaks ends everything that waits with `NotAcknowledged`.

    Args:
        expected_stream: The stream that has to store every message; another one is an error.
        max_in_flight: Messages that wait for their acknowledgement; one more is `NotPublished`.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        *,
        expected_stream: str,
        max_in_flight: int = MAX_UNACKNOWLEDGED,
    ) -> None:
        self._connection = connection
        self._stream = expected_stream
        self._inbox = f"{connection.inbox_prefix}.{secrets.token_hex(_INSTANCE_BYTES)}."
        self._max_in_flight = max_in_flight
        self._pending: Pending[Ack] = Pending(_timed_out)
        self._subscription: Subscription | None = None

    def expect(self, stream: str) -> None:
        """From now on another stream has to store every message."""
        self._stream = stream

    @property
    def in_flight(self) -> int:
        """Messages that wait for their acknowledgement."""
        return len(self._pending)

    @property
    def late(self) -> int:
        """Acknowledgements that came when nobody waited for them any more."""
        return self._pending.late

    async def start(self) -> None:
        """Subscribe to the inbox; to be called once, before the first publish."""
        self._connection.watch(self._on_event)
        self._subscription = await self._connection.listen(f"{self._inbox}*", self._on_ack)

    async def close(self) -> None:
        """End what waits with `NotAcknowledged`, and unsubscribe."""
        if self._subscription is None:
            return
        subscription, self._subscription = self._subscription, None
        self._connection.unwatch(self._on_event)
        self._pending.fail(lambda: NotAcknowledged("the multiplexer was closed"))
        await self._connection.unlisten(subscription)

    def publish(
        self,
        subject: str,
        body: bytes,
        *,
        message_id: str,
        timeout: float,
    ) -> asyncio.Future[Ack]:
        """Publish at once, and return a future of the acknowledgement.

        Args:
            message_id: `Nats-Msg-Id`, printable ASCII; within its duplicate window the stream
                stores it once, and acknowledges it again with `duplicate`.
            timeout: Seconds until the future ends with `NotAcknowledged`.

        The future ends with `Ack`, or with a `PublishFailed`:
            NotPublished: nothing was stored.
            NotAcknowledged: it may be stored; the same id can be published again.
            PublishRefused: the server says why it did not store it.
        """
        return self._send(Message(subject, body, message_id), self._header(message_id), timeout)

    def publish_batch(self, messages: Sequence[Message], *, timeout: float) -> asyncio.Future[Ack]:
        """Publish 1 to 1,000 messages that are stored all or none (ADR-50), with one answer.

        The stream needs `allow_atomic`. The acknowledgement has the last message's sequence; the
        others come right before it. A duplicate inside refuses all of them (err_code 10201), and
        does not say which. Ends as `publish` does.
        """
        if not 0 < len(messages) <= MAX_BATCH_MESSAGES:
            raise ValueError(f"a batch has 1 to {MAX_BATCH_MESSAGES} messages")
        headers = self._batch_headers(messages)
        try:
            self._refuse_crowd()
            self._refuse_large(messages, headers)
            for message, header in zip(messages[:-1], headers[:-1], strict=True):
                self._connection.post(message.subject, message.body, header=header)
        except _NOT_SENT as error:
            return failed(NotPublished(str(error)))
        return self._send(messages[-1], headers[-1], timeout)

    def _send(self, message: Message, header: bytes, timeout: float) -> asyncio.Future[Ack]:
        token, ack = self._pending.open(message.subject, timeout)
        try:
            self._refuse_crowd()
            self._connection.post(
                message.subject, message.body, reply=self._inbox + token, header=header
            )
        except _NOT_SENT as error:
            self._pending.forget(token)
            ack.set_exception(NotPublished(str(error)))
        return ack

    def _batch_headers(self, messages: Sequence[Message]) -> list[bytes]:
        head = f"\r\nNats-Batch-Id: {secrets.token_hex(_INSTANCE_BYTES)}\r\nNats-Batch-Sequence: "
        more = [f"{head}{number}" for number in range(1, len(messages) + 1)]
        more[-1] += "\r\nNats-Batch-Commit: 1"
        return [self._header(each.id, line) for each, line in zip(messages, more, strict=True)]

    def _header(self, message_id: str, more: str = "") -> bytes:
        refuse_smuggling(message_id)
        return (
            f"NATS/1.0\r\nNats-Msg-Id: {message_id}"
            f"\r\nNats-Expected-Stream: {self._stream}{more}\r\n\r\n"
        ).encode()

    def _refuse_large(self, messages: Sequence[Message], headers: Sequence[bytes]) -> None:
        """Before the first leaves: half a batch would lie in the server until it gives it up."""
        limit = self._connection.max_payload
        for message, header in zip(messages, headers, strict=True):
            if len(header) + len(message.body) > limit:
                raise MessageTooLarge(
                    f"a message of {len(header) + len(message.body)} bytes with its headers; "
                    f"the broker takes {limit}"
                )

    def _refuse_crowd(self) -> None:
        if len(self._pending) > self._max_in_flight:
            raise NotPublished(f"{self._max_in_flight} messages wait for their acknowledgement")
        if self._connection.congested:
            raise NotPublished("too much waits to be sent to the broker")

    def _on_ack(self, subject: str, _reply: str, body: bytes, header: bytes | None) -> None:
        waiting = self._pending.take(subject[len(self._inbox) :])
        if waiting is None:
            return
        if nobody_listens(header, body):
            waiting.future.set_exception(NotPublished(f"no stream takes {waiting.subject}"))
            return
        outcome = _read(body, self._stream)
        if isinstance(outcome, Ack):
            waiting.future.set_result(outcome)
        else:
            waiting.future.set_exception(outcome)

    def _on_event(self, event: ConnectionEvent) -> None:
        if event.kind in {EventKind.DISCONNECTED, EventKind.CLOSED}:
            why = f"the connection to the broker broke: {event.detail}"
            self._pending.fail(lambda: NotAcknowledged(why))
        elif event.kind is EventKind.REFUSED and event.subject:
            self._pending.fail(lambda: NotPublished(event.detail), subject=event.subject)

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


def _timed_out(subject: str) -> NotAcknowledged:
    return NotAcknowledged(f"no acknowledgement for {subject} in time")


def failed(error: PublishFailed) -> asyncio.Future[Ack]:
    """A publish that ended with an error before it began."""
    ack: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
    ack.set_exception(error)
    return ack


def refuse_smuggling(message_id: str) -> None:
    """Raise ValueError for an id that would not stay in its header line."""
    if not (message_id.isascii() and message_id.isprintable()):
        raise ValueError("a message id is printable ASCII")


def _read(body: bytes, stream: str) -> Ack | PublishRefused:
    stored = _STORED.fullmatch(body)
    if stored is not None and stored[1] == stream.encode():
        return Ack(stream, int(stored[2]), duplicate=False)
    try:
        answer = json.loads(body)
        error = answer.get("error")
        if error is not None:
            return PublishRefused(int(error.get("err_code", 0)), str(error.get("description", "")))
        ack = Ack(answer["stream"], answer["seq"], answer.get("duplicate", False))
    except (ValueError, KeyError, AttributeError, TypeError):
        return PublishRefused(0, "the answer is not an acknowledgement")
    if ack.stream != stream:
        return PublishRefused(0, f"{ack.stream!r} stored it instead of {stream!r}")
    return ack
