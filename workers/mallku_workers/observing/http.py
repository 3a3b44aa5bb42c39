"""A few paths over HTTP for machines that look after workers: small, bounded, GET alone.

Each request is one connection. There is nothing secret here, but names of collections and
principals; it listens on loopback unless an operator says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import KIB

MAX_REQUEST_BYTES: Final = 8 * KIB
"""Request line and headers of one request, bytes."""

MAX_CONNECTIONS: Final = 16
"""Connections at a time; for one more, the one that has dawdled over its request for longest ends.

Where all of them wait for their answer it is the new one that is closed unheard.
"""

REQUEST_S: Final = 5.0
"""From the connection until the answer has left, seconds."""

TEXT: Final = "text/plain; charset=utf-8"
_END: Final = b"\r\n\r\n"
_REQUEST_LINE_WORDS: Final = 3
_log = structlog.get_logger("mallku.http")


class Request(NamedTuple):
    """What was asked for; the names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Handler = Callable[[Request], Awaitable[Page]]


class HttpServer:
    """Answers GET and HEAD on the paths it was given; `async with` listens.

    Args:
        host: An address, or a name that is one; loopback means that only names of loopback are
            answered, so that no web page can read along by a name of its own (DNS rebinding).
        port: 0 takes a free one.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Handler]) -> None:
        self._host, self._port, self._pages = host, port, pages
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._asking: dict[asyncio.Task[None], None] = {}

    @property
    def address(self) -> str:
        """`HOST:PORT` where it listens; empty while it does not."""
        if self._server is None or not self._server.sockets:
            return ""
        host, port, *_ = self._server.sockets[0].getsockname()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: nobody can listen there.
        """
        try:
            self._server = await asyncio.start_server(
                self._connected, self._host, self._port, limit=MAX_REQUEST_BYTES
            )
        except OSError as error:
            raise ConfigurationError(
                f"HTTP at {self._host}:{self._port}: {error.strerror or error}"
            ) from None

    async def close(self) -> None:
        """Stop listening, and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._has_room():
            writer.close()
            return
        self._connections.add(task)
        self._asking[task] = None
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(REQUEST_S):
                    await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            self._asking.pop(task, None)
            writer.close()

    def _has_room(self) -> bool:
        """Whether one more can be heard; who has been silent for longest makes room for it."""
        if len(self._connections) < MAX_CONNECTIONS:
            return True
        oldest = next(iter(self._asking), None)
        if oldest is None:
            return False
        del self._asking[oldest]
        self._connections.discard(oldest)
        oldest.cancel()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read(reader)
        if (task := asyncio.current_task()) is not None:
            self._asking.pop(task, None)
        page = await self._answer(request)
        wants_body = request is None or request.method != "HEAD"
        writer.write(_head(page) + (page.body if wants_body else b""))
        await writer.drain()

    async def _answer(self, request: Request | None) -> Page:
        if request is None:
            return _complaint(HTTPStatus.BAD_REQUEST)
        if request.method not in {"GET", "HEAD"}:
            return _complaint(HTTPStatus.METHOD_NOT_ALLOWED)
        if not self._may_be_called(request.headers.get("host", "")):
            return _complaint(HTTPStatus.MISDIRECTED_REQUEST)
        handler = self._pages.get(request.path)
        if handler is None:
            return Page(f"there are {', '.join(self._pages)}\n".encode(), HTTPStatus.NOT_FOUND)
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - whoever scrapes must not end a worker
            _log.error("page_failed", path=request.path, exc_info=error)
            return _complaint(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _may_be_called(self, host: str) -> bool:
        if not _is_loopback(self._host):
            return True
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name == "" or _is_loopback(name.strip("[]"))


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        block = await reader.readuntil(_END)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    line, *rest = block.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith("HTTP/1."):
        return None
    headers: dict[str, str] = {}
    for header in rest:
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)


def _head(page: Page) -> bytes:
    lines = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + _END


def _complaint(status: HTTPStatus) -> Page:
    return Page(f"{status.value} {status.phrase}\n".encode(), status)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
