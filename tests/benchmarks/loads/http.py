"""The peer's load: keep-alive connections over plain asyncio protocols.

Of the clients that were tried (`python -m tests.benchmarks.peer_clients`) this one gives the peer
its best numbers: it costs the least of the CPU that both have to share.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from mallku_deploy.bench import Call
from mallku_deploy.bench.calls import document

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
COLLECTION: Final = "anchors"


class Refused(Exception):
    """The peer answered with another status than it should."""


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's word that the connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Asyncio's word that bytes came; settles the answer once it is whole."""
        self._received += data
        head, end, body = self._received.partition(_END)
        if end and len(body) >= (length := _content_length(head)) and self._answer is not None:
            self._received = body[length:]
            self._answer.set_result((int(head[9:12]), body[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's word that the connection is gone."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the peer hung up"))

    def request(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a whole request; the future holds status and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    start = head.lower().index(_LENGTH) + len(_LENGTH)
    return int(head[start:].partition(b"\r")[0])


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncGenerator[deque[Connection]]:
    """As many open connections to the peer, closed at the end."""
    loop = asyncio.get_running_loop()
    pool = deque[Connection]()
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            pool.append(connection)
        yield pool
    finally:
        for connection in pool:
            connection.close()


class Requests:
    """Bytes of requests, and a connection for each while it is under way."""

    def __init__(self, pool: deque[Connection], token: str) -> None:
        self._pool = pool
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"

    async def insert(self, number: int, size: int) -> dict[str, Any]:
        """Insert document `number`; returns its `_id`, `_key` and `_rev`."""
        body = json.dumps(document(number, size)).encode()
        head = (
            f"POST /documents/{COLLECTION} HTTP/1.1\r\n{self._head}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._ask(head.encode() + body, 201)

    async def get(self, key: str) -> dict[str, Any]:
        """The document with this key."""
        head = f"GET /documents/{COLLECTION}/{key} HTTP/1.1\r\n{self._head}\r\n"
        return await self._ask(head.encode(), 200)

    async def _ask(self, data: bytes, expected: int) -> dict[str, Any]:
        connection = self._pool.popleft()
        try:
            status, body = await connection.request(data)
        finally:
            self._pool.append(connection)
        if status != expected:
            raise Refused(f"{status}: {body[:200]!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer


@asynccontextmanager
async def peer(setting: dict[str, Any]) -> AsyncGenerator[Call]:
    """Calls of `setting["operation"]` against the peer on `setting["port"]`."""
    size = setting["size"]
    async with connections(setting["port"], setting["in_flight"]) as pool:
        requests = Requests(pool, setting["token"])
        if setting["operation"] == "insert":
            yield lambda number: requests.insert(number, size)
            return
        keys = [
            (await requests.insert(number, size))["_key"] for number in range(setting["documents"])
        ]
        yield lambda number: requests.get(keys[number % len(keys)])
