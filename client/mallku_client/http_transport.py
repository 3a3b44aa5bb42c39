"""The transport of services that have no NATS: signed commands over HTTP, through the door.

Commands and replies are the same bytes as over NATS, signed and checked at both ends; the door in
between can neither read more than a broker could, nor change any of them. It uses nothing beyond
Python's own HTTP client, on threads of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mallku_client.transport import NoAnswer, NobodyListens, NotDelivered
from mallku_contracts.errors import (
    ConfigurationError,
    GatewayUnreachable,
    MallkuError,
    UnverifiedReply,
    from_wire,
)
from mallku_contracts.limits import KIB, MAX_REPLY_BYTES
from mallku_contracts.tracing import HEADER as TRACE_HEADER

MAX_CONNECTIONS: Final = 32
"""Requests of one client that wait for their answers at a time; more wait for their turn."""

MAX_PROBLEM_BYTES: Final = 64 * KIB
"""An answer that is no reply, bytes."""

GRACE_S: Final = 1.0
"""How much longer than the command may take its answer may be on its way, seconds."""

RELAY: Final = "/api/v1/relay"
COMMAND_TYPE: Final = "application/vnd.mallku.command"
REPLY_TYPE: Final = "application/vnd.mallku.reply"
DELIVERED: Final = "Mallku-Delivered"
"""In a refusal to pass a command on: `no` where it is certain that nobody received it."""

_OK: Final = 200


class HttpTransport:
    """Requests to a door, each on a connection of its own that is kept for the next.

    Args:
        url: `http://HOST:PORT` or `https://HOST:PORT`.
        connect_timeout_s: Until a connection stands, seconds.
        ca_file: Who may vouch for the door; the system's list by default.
    """

    def __init__(self, url: str, connect_timeout_s: float, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ConfigurationError(f"MALLKU_API_GATEWAY_URL={url[:80]!r}: not a door's URL")
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + RELAY
        self._tls = _context(ca_file) if parts.scheme == "https" else None
        self._connect_timeout_s = connect_timeout_s
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, "mallku-http")
        self._held = threading.local()
        self._open: set[HTTPConnection] = set()
        self._closed = False

    @classmethod
    async def open(cls, url: str, connect_timeout_s: float, ca_file: Path | None) -> HttpTransport:
        """A transport to a door that takes connections.

        Raises:
            ConfigurationError: the URL or the file is none.
            GatewayUnreachable: nobody takes a connection there.
        """
        transport = cls(url, connect_timeout_s, ca_file)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(transport._threads, transport._connection, GRACE_S)
        except NotDelivered as error:
            await transport.close()
            raise GatewayUnreachable(str(error)) from None
        return transport

    async def request(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None,
        timeout_s: float,
    ) -> bytes:
        """Send one command and return its reply's bytes, not yet believed.

        Of the headers the trace goes with it; the others mirror for people what it says itself.

        Raises:
            MallkuError: the door did not pass it on: it says why.
            NotDelivered, NoAnswer: as `Transport.request`.
        """
        if self._closed:
            raise NotDelivered("the transport is closed")
        loop = asyncio.get_running_loop()
        trace = (headers or {}).get(TRACE_HEADER, "")
        asking = loop.run_in_executor(self._threads, self._ask, subject, payload, trace, timeout_s)
        try:
            async with asyncio.timeout(timeout_s + GRACE_S):
                return await asking  # what is still in the queue then never leaves
        except TimeoutError:
            raise NoAnswer(f"no reply within {timeout_s:.3g} s") from None

    async def close(self) -> None:
        """Let go of every connection; closing twice is fine."""
        self._closed = True
        for connection in list(self._open):
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, subject: str, payload: bytes, trace: str, timeout_s: float) -> bytes:
        connection = self._connection(timeout_s)
        try:
            response, content = self._exchange(connection, subject, payload, trace)
        except (OSError, HTTPException) as error:
            self._drop(connection)
            raise NoAnswer(f"{self._where}: {type(error).__name__}: {error}") from None
        if response.status == _OK and response.headers.get_content_type() == REPLY_TYPE:
            return content
        raise self._refusal(response, content)

    def _exchange(
        self, connection: HTTPConnection, subject: str, payload: bytes, trace: str
    ) -> tuple[HTTPResponse, bytes]:
        headers = {"Content-Type": COMMAND_TYPE} | ({TRACE_HEADER: trace} if trace else {})
        connection.request("POST", f"{self._path}/{subject}", payload, headers)
        response = connection.getresponse()
        content = response.read(MAX_REPLY_BYTES + 1)
        if response.will_close or len(content) > MAX_REPLY_BYTES:
            self._drop(connection)
        return response, content

    def _connection(self, timeout_s: float) -> HTTPConnection:
        """This thread's connection, made anew where there is none that is known to stand."""
        held: HTTPConnection | None = getattr(self._held, "connection", None)
        if held is not None and held.sock is not None and not _has_ended(held):
            held.sock.settimeout(timeout_s + GRACE_S)
            return held
        if held is not None:
            self._drop(held)
        connection = self._make(self._connect_timeout_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise NotDelivered(f"{self._where}: {error}") from None
        connection.sock.settimeout(timeout_s + GRACE_S)
        self._open.add(connection)
        self._held.connection = connection
        return connection

    def _make(self, timeout_s: float) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)

    def _drop(self, connection: HTTPConnection) -> None:
        self._open.discard(connection)
        connection.close()
        self._held.connection = None

    def _refusal(self, response: HTTPResponse, content: bytes) -> Exception:
        """What the door says in place of a reply; believed as far as it says that nothing left."""
        said = _problem(content)
        text = f"{self._where} answers {response.status}: {said.get('detail', '')}"[:500]
        if response.headers.get(DELIVERED) == "no":
            return NobodyListens(text)
        if "code" not in said:
            return UnverifiedReply(text)
        error = from_wire(said | {"message": text})
        return error if _was_refused(error) else NoAnswer(text)

    @property
    def _where(self) -> str:
        return f"the door at {self._host}:{self._port or ''}".rstrip(":")


def _has_ended(connection: HTTPConnection) -> bool:
    """Whether the other side closed an idle connection; nothing is sent on such a one."""
    sock = connection.sock
    try:
        sock.settimeout(0.0)
        if isinstance(sock, ssl.SSLSocket):
            return sock.pending() > 0 or _readable(sock)
        return _readable(sock)
    except OSError:
        return True


def _readable(sock: Any) -> bool:
    import select

    return bool(select.select([sock], [], [], 0.0)[0])


def _problem(content: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(content[:MAX_PROBLEM_BYTES])
        if isinstance(value, dict):
            return value
    return {}


def _was_refused(error: MallkuError) -> bool:
    """Whether the door says that it passed nothing on, and why."""
    return error.number < 500  # noqa: PLR2004 - 1xx to 4xx: refused before it left


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"MALLKU_TLS_CA_FILE={ca_file}: {error}") from None
