"""The one seam under the client: a request goes out, the bytes of one reply come back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

ID_HEADER: Final = "Mallku-Id"
OPERATION_HEADER: Final = "Mallku-Operation"
"""What a message shows people and tools of the command in it; nobody believes them."""


class TransportError(Exception):
    """A request got no reply; the subclass says whether anybody can have seen it."""


class NotDelivered(TransportError):
    """The request reached nobody: nobody listens there, or it never left."""


class NobodyListens(NotDelivered):
    """The broker says that nobody takes what is sent there."""


class NoAnswer(TransportError):
    """The request may have reached somebody: time ran out, or the connection broke meanwhile."""


class Transport(Protocol):
    """What the client needs of a messaging system; believes nothing and repeats nothing.

    One that can lose its connection has an attribute `is_up` as well (see `is_up`), and one that
    can send without a reply has `post` (see `call_off`).
    """

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """Publish `payload` and return the body of the first reply, not yet believed.

        Raises:
            NotDelivered: it is certain that nobody received the request.
            NoAnswer: no reply came within `timeout_s` seconds, or the connection was lost.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection; closing twice is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the server keeps a job: stream, sequence, and its own time (RFC 3339)."""

    stream: str
    sequence: int
    time: str


class JobTransport(Protocol):
    """What durable jobs need of a messaging system; a transport has one as `jobs`, or has none."""

    async def store(
        self,
        subject: str,
        payload: bytes,
        job_id: str,
        operation: str,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Send a job, with more headers if need be; return when the server says that it keeps it.

        Raises:
            NotDelivered: it is certain that nothing is kept.
            NoAnswer: nobody says so; it may be kept.
        """
        ...

    def reply_to(self, job_id: str, reply: asyncio.Future[bytes]) -> None:
        """End `reply` with the reply to this job, should it come while we are connected."""
        ...

    def forget(self, job_id: str) -> None:
        """Nobody waits for the reply to this job any more."""
        ...


def jobs_of(transport: Transport) -> JobTransport | None:
    """What sends durable jobs here; None where the transport knows none."""
    jobs: JobTransport | None = getattr(transport, "jobs", None)
    return jobs


def call_off(transport: Transport, cancellation: tuple[str, bytes]) -> None:
    """Say that a request is not wanted any more, where the transport can; nobody answers that."""
    post = getattr(transport, "post", None)
    if post is not None:
        post(*cancellation)


def is_up(transport: Transport) -> bool:
    """Whether a request would leave at once; True where the transport has no way to tell."""
    return bool(getattr(transport, "is_up", True))


def is_lost(failure: Exception) -> bool:
    """Whether there was no connection; where nobody listens there is one."""
    return isinstance(failure, NotDelivered) and not isinstance(failure, NobodyListens)
