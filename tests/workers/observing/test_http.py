from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
import pytest_asyncio

from mallku_contracts.errors import ConfigurationError
from mallku_workers.observing import http
from mallku_workers.observing.http import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    HttpServer,
    Page,
    Request,
)


async def _fine(request: Request) -> Page:
    return Page(f"{request.path} {request.headers.get('accept', '')}".encode())


async def _breaks(_request: Request) -> Page:
    raise RuntimeError("secret-of-mine")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[HttpServer]:
    """A server with one path that works and one that breaks."""
    server = HttpServer("127.0.0.1", 0, {"/fine": _fine, "/breaks": _breaks})
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def say(server: HttpServer, data: bytes) -> bytes:
    """Send these bytes; everything that comes until the end."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", *headers, "", "")).encode()


async def test_a_page_is_shown(server: HttpServer) -> None:
    """GET gives the page with its length and ends the connection; what follows `?` is no path."""
    answer = await say(server, get("/fine?x=1", "Host: 127.0.0.1", "Accept: text/plain"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: 16" in head
    assert b"Connection: close" in head
    assert body == b"/fine text/plain"


async def test_head_has_no_body(server: HttpServer) -> None:
    """HEAD tells the length and sends nothing."""
    answer = await say(server, get("/fine", method="HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/none"), HTTPStatus.NOT_FOUND),
        (get("/fine", method="POST"), HTTPStatus.METHOD_NOT_ALLOWED),
        (get("/fine", method="DELETE"), HTTPStatus.METHOD_NOT_ALLOWED),
        (b"nonsense\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET /fine FTP/1.1\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"\x00\xff\xfe\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET /fine HTTP/1.1\r\n" + b"a: b\r\n" * MAX_REQUEST_BYTES, HTTPStatus.BAD_REQUEST),
        (get("/breaks"), HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
async def test_everything_else_is_refused(
    server: HttpServer, data: bytes, status: HTTPStatus
) -> None:
    """Whatever comes gets one short answer, or none, which tells nothing of what went wrong."""
    answer = await say(server, data)
    assert answer == b"" or answer.startswith(f"HTTP/1.1 {status.value} ".encode())
    assert b"secret-of-mine" not in answer
    assert (await say(server, get("/fine"))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("127.0.0.1:9464", True),
        ("localhost", True),
        ("[::1]:80", True),
        ("evil.example", False),
        ("evil.example:9464", False),
        ("10.1.2.3", False),
    ],
)
async def test_a_web_page_cannot_read_along(server: HttpServer, host: str, is_served: bool) -> None:
    """On loopback only loopback's own names are answered, whatever name leads there (rebinding)."""
    answer = await say(server, get("/fine", f"Host: {host}"))
    assert answer.startswith(b"HTTP/1.1 200") is is_served


async def test_who_says_nothing_is_let_go(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a request ends after a while, without an answer."""
    monkeypatch.setattr(http, "REQUEST_S", 0.05)
    assert await say(server, b"GET /fi") == b""


async def test_idle_connections_do_not_starve_a_probe(server: HttpServer) -> None:
    """Sixteen that dawdle hold every place: the oldest makes room for each one that asks."""
    host, port = server.address.rsplit(":", 1)
    held = [await asyncio.open_connection(host, int(port)) for _ in range(MAX_CONNECTIONS)]
    async with asyncio.timeout(5):
        while len(server._connections) < MAX_CONNECTIONS:  # noqa: ASYNC110 - sockets set no event
            await asyncio.sleep(0.01)
    for _ in range(3):
        assert (await say(server, get("/fine"))).startswith(b"HTTP/1.1 200")
    ended = [reader.at_eof() or await reader.read() == b"" for reader, _ in held[:1]]
    assert ended == [True]
    held[-1][1].write(get("/fine"))
    assert (await held[-1][0].read()).startswith(b"HTTP/1.1 200")
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(5):
        while server._connections:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert (await say(server, get("/fine"))).startswith(b"HTTP/1.1 200")


async def test_who_waits_for_an_answer_is_not_sent_away() -> None:
    """Where every place is taken by somebody who has asked, it is the new one that is closed."""
    answer = asyncio.Event()

    async def slow(_request: Request) -> Page:
        await answer.wait()
        return Page(b"slow")

    server = HttpServer("127.0.0.1", 0, {"/slow": slow})
    await server.start()
    try:
        asking = [asyncio.create_task(say(server, get("/slow"))) for _ in range(MAX_CONNECTIONS)]
        async with asyncio.timeout(5):
            while len(server._connections) < MAX_CONNECTIONS or server._asking:  # noqa: ASYNC110 - sockets set no event
                await asyncio.sleep(0.01)
        assert await say(server, get("/slow")) == b""
        answer.set()
        for answered in await asyncio.gather(*asking):
            assert answered.endswith(b"slow")
    finally:
        await server.close()


async def test_a_port_that_is_taken_is_named(server: HttpServer) -> None:
    """Two workers told the same port: the second says which, and does not start."""
    port = int(server.address.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
        await HttpServer("127.0.0.1", port, {}).start()


async def test_closing_ends_what_hangs() -> None:
    """A page that never comes does not keep a worker from ending."""
    began = asyncio.Event()

    async def hangs(_request: Request) -> Page:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = HttpServer("127.0.0.1", 0, {"/hangs": hangs})
    await server.start()
    asking = asyncio.create_task(say(server, get("/hangs")))
    await began.wait()
    async with asyncio.timeout(5):
        await server.close()
    assert await asking == b""
