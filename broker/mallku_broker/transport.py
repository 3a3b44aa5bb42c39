"""nats-py's TCP transport, made to let go of a connection at once when it has to."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport


class AbortableTransport(TcpTransport):
    """One socket after the other, each of which can be dropped without waiting for the peer.

    nats-py waits for a close that may never come: while the peer takes nothing, the bytes that are
    still to be sent hold it up, and after a TLS handshake that failed nobody reports it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py leaves it untyped
        self._aborted = False

    def abort(self) -> None:
        """Drop the connection and what was not sent yet."""
        self._aborted = True
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether everything written so far has been taken by the operating system."""
        writer = self._io_writer
        if writer is None or writer.transport.is_closing():
            return False
        return writer.transport.get_write_buffer_size() == 0

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Open another socket; the former one is dropped."""
        self.abort()
        await super().connect(uri, buffer_size, connect_timeout)
        self._aborted = False

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Shake hands; a handshake that fails drops the socket."""
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            self.abort()
            raise
        protocol = None if self._io_writer is None else self._io_writer.transport.get_protocol()
        if isinstance(protocol, asyncio.StreamReaderProtocol):
            # As asyncio's own streams have it; without it each end of a connection is warned of.
            vars(protocol)["_over_ssl"] = True

    async def wait_closed(self) -> None:
        """Return when the connection is closed; at once when it was dropped."""
        if not self._aborted:
            await super().wait_closed()  # type: ignore[no-untyped-call]  # as above

    def __bool__(self) -> bool:
        """True, lest nats-py take one of its own before there is a socket."""
        return True
