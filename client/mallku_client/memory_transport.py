"""A transport without a network: a function answers. For tests of what stands on the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from mallku_client.transport import NoAnswer, NotDelivered

Handler = Callable[[str, bytes], Awaitable[bytes | None]]
"""Takes subject and payload; returns a reply's bytes, or None where no reply ever comes."""


class MemoryTransport:
    """Hands every request to `handler`; a None from it is waited for as long as a lost reply.

    The handler may raise `NotDelivered` or `NoAnswer` itself. `NotDelivered` after `close()`.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._closed = False

    async def request(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None,  # noqa: ARG002  # mirrors for people; nobody looks here
        timeout_s: float,
    ) -> bytes:
        """The handler's reply."""
        if self._closed:
            raise NotDelivered("the transport is closed")
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._handler(subject, payload)
                if reply is None:
                    await asyncio.get_running_loop().create_future()
        except TimeoutError:
            reply = None
        if reply is None:
            raise NoAnswer(f"no reply within {timeout_s:.3g} s")
        return reply

    async def close(self) -> None:
        """Deliver nothing from now on."""
        self._closed = True
