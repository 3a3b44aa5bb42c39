"""Connections before a request is there: how many, and how long its head may take.

The server bounds a head in bytes and an idle connection between two requests; whoever connects and
says nothing, or says it a byte at a time, would be kept for ever.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Connection(H11Protocol):
    most: ClassVar[int]
    head_timeout_s: ClassVar[float]
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._look()

    def _look(self) -> None:
        """Have the time of a head run while one is waited for, and only then."""
        waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not waits and self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
        elif waits and self._head_due is None:
            self._head_due = self.loop.call_later(self.head_timeout_s, self.transport.close)


def bounded(most: int, head_timeout_s: float) -> type[asyncio.Protocol]:
    """The server's protocol, for at most `most` connections; a head comes within its time."""
    return type("Connection", (_Connection,), {"most": most, "head_timeout_s": head_timeout_s})
