"""The one seam under the client: a request goes out, the bytes of one reply come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class TransportError(Exception):
    """A request got no reply; the subclass says whether anybody can have seen it."""


class NotDelivered(TransportError):
    """The request reached nobody: nobody listens there, or it never left."""


class NobodyListens(NotDelivered):
    """The broker says that nobody takes what is sent there."""


class NoAnswer(TransportError):
    """The request may have reached somebody: time ran out, or the connection broke meanwhile."""


class Transport(Protocol):
    """What the client needs of a messaging system; believes nothing and repeats nothing."""

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
