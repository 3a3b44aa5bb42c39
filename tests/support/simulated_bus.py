"""The bus in memory: keeps what is posted, hands in messages, and can be down or congested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mallku_broker.connection import Listener
from mallku_broker.events import ConnectionLost
from mallku_broker.headers import NO_HEADERS, decode_headers
from mallku_contracts.errors import MessageTooLarge
from mallku_contracts.limits import MAX_PAYLOAD_BYTES


@dataclass(frozen=True)
class Post:
    """One message that was sent."""

    subject: str
    body: bytes
    header: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name."""
        return decode_headers(self.header)


@dataclass(frozen=True)
class Subscription:
    """Somebody who listens."""

    subject: str
    queue: str
    listener: Listener


class SimulatedBus:
    """Stands for a worker's bus connection.

    Attributes:
        posts: What was sent, in order.
        up: Whether anything can be sent.
        congested: Whether senders have to wait, until `relieved` is set.
        max_payload: Headers and body of one message, bytes.
        at_retirement: Raised by `retire`.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.subscriptions: list[Subscription] = []
        self.up = True
        self.congested = False
        self.relieved = asyncio.Event()
        self.max_payload = MAX_PAYLOAD_BYTES
        self.at_retirement: Exception | None = None

    def post(
        self, subject: str, body: bytes, *, reply: str = "", header: bytes = NO_HEADERS
    ) -> None:
        """Send one message."""
        if not self.up:
            raise ConnectionLost("not connected", sent=False)
        if len(header) + len(body) > self.max_payload:
            raise MessageTooLarge(f"the broker takes {self.max_payload} bytes")
        self.posts.append(Post(subject, body, header))

    async def relief(self) -> None:
        """Wait until the bus takes something again."""
        await self.relieved.wait()
        self.congested = False

    async def listen(self, subject: str, listener: Listener, *, queue: str = "") -> Subscription:
        """Subscribe."""
        subscription = Subscription(subject, queue, listener)
        self.subscriptions.append(subscription)
        return subscription

    async def retire(self, subscriptions: Sequence[Subscription]) -> None:
        """Unsubscribe, once everything was delivered."""
        if self.at_retirement is not None:
            raise self.at_retirement
        self.subscriptions = [one for one in self.subscriptions if one not in subscriptions]

    def deliver(self, subject: str, reply: str, body: bytes) -> None:
        """Hand a message to one member of each queue group that listens on its subject."""
        served: set[str] = set()
        for one in self.subscriptions:
            if _matches(one.subject, subject) and one.queue not in served:
                served.add(one.queue)
                one.listener(subject, reply, body, None)


def _matches(pattern: str, subject: str) -> bool:
    wanted, tokens = pattern.split("."), subject.split(".")
    return len(wanted) == len(tokens) and all(
        want in ("*", token) for want, token in zip(wanted, tokens, strict=True)
    )
