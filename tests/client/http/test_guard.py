"""What a door takes on, and what all of its answers say: bounds, headers, nothing secret."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from mallku_client.http import guard
from mallku_client.http.settings import DoorSettings
from tests.client.http.stage import SECRET, served, visitor
from tests.integration.world import EVENT_S, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENTS = "/api/v1/collections/memory_anchors/documents"


async def test_every_answer_is_closed_to_browsers(http: httpx.AsyncClient) -> None:
    """No cross-origin access, no cookies, no caching, no sniffing, whatever the answer."""
    origin = {"Origin": "http://evil.example"}
    for answer in (
        await http.get("/health", headers=origin),
        await http.get("/api/v1/collections", headers=origin),
        await http.get("/nowhere", headers=origin),
        await http.options("/api/v1/collections", headers=origin),
        await http.put("/api/v1/collections", headers=origin),
    ):
        names = set(answer.headers)
        assert not {name for name in names if name.startswith("access-control-")}
        assert not names & {"set-cookie", "server"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert (await http.get("/docs")).status_code == 404


async def test_content_is_bounded(world: World, tmp_path: Path) -> None:
    """Too much is refused by its announced length, and as it comes where none is announced."""
    async with served(world, tmp_path, max_body_bytes=1_000) as url, visitor(url) as http:
        large = await http.post(DOCUMENTS, json={"text": "x" * 2_000})
        assert (large.status_code, large.json()["code"]) == (413, "message_too_large")

        async def pieces() -> object:
            for _ in range(100):
                yield b"x" * 100

        streamed = await http.post(DOCUMENTS, content=pieces())  # type: ignore[arg-type]
        assert streamed.status_code == 413
        assert (await http.post(DOCUMENTS, json={"text": "small"})).status_code == 201


async def test_content_that_does_not_come_is_not_waited_for(world: World, tmp_path: Path) -> None:
    """Who sends half a request is answered in time, and holds nobody up."""
    async with served(world, tmp_path, body_timeout_s=0.2) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        async with asyncio.timeout(5.0):
            head = await reader.readuntil(b"\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        writer.close()


async def test_long_heads_are_refused(url: str) -> None:
    """A head beyond its bound is refused, whether it comes at once or never ends."""
    async with visitor(url) as http:
        for size in (40_000, 100_000):
            answer = await http.get("/health", headers={"X-Long": "x" * size})
            assert answer.status_code in {400, 413}  # by whom it is read first


async def test_too_many_requests_are_turned_away_at_once(world: World, tmp_path: Path) -> None:
    """Beyond its bound a door says 503 and when to come back; then it serves again."""
    async with served(world, tmp_path, max_requests=2, body_timeout_s=30.0) as url:
        host, port = url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for _, writer in held:
            writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            await writer.drain()
        async with visitor(url) as http:
            async with asyncio.timeout(5.0):
                while (turned := await http.get("/health")).status_code == 200:
                    pass
            assert (turned.status_code, turned.json()["code"]) == (503, "busy")
            assert turned.headers["retry-after"] == "1"
            for _, writer in held:
                writer.close()
            async with asyncio.timeout(5.0):
                while (await http.get("/health")).status_code != 200:
                    pass


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes holds its place for a bounded time, and frees it."""
    monkeypatch.setattr(guard, "SLOW_READER_S", 0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise AssertionError("nobody reads")

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def never(_: Message) -> None:
        await asyncio.get_running_loop().create_future()

    door = guard.Guard(app, DoorSettings(max_requests=1))
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    async with asyncio.timeout(5.0):
        await door(scope, receive, never)
        await door(scope, receive, never)
    assert door._under_way == 0


async def test_nothing_secret_is_logged(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a request the log has method, path's shape, status, time and principal."""
    with caplog.at_level(logging.INFO, logger="mallku.http"):
        await http.get(f'{DOCUMENTS}/private-key?filter={{"secret":"value"}}')
        await until("the line", lambda: "mallku.http" in {each.name for each in caplog.records})
    text = caplog.text
    assert "400" in text  # there is no filter of one document
    for secret in (SECRET, "private-key", "value", "Bearer"):
        assert secret not in text


async def test_wait_is_the_callers_to_choose(http: httpx.AsyncClient) -> None:
    """`Prefer: wait` becomes the command's time; what is nonsense counts as not said."""
    for prefer in ("wait=1", "wait=99999", "wait=-1", "respond-sync"):
        answer = await http.get("/api/v1/collections", headers={"Prefer": prefer})
        assert answer.status_code == 200


async def test_broker_that_is_away_is_said(world: World, http: httpx.AsyncClient) -> None:
    """Without the broker, health says so at once, and requests are refused in their time."""
    assert (await http.get("/health")).json() == {"status": "ok"}
    os.kill(world.gateway.pids["nats-server"], signal.SIGKILL)
    async with asyncio.timeout(EVENT_S):
        while (said := await http.get("/health")).status_code != 503:
            pass
        assert said.json() == {"status": "away"}
        refused = await http.post(DOCUMENTS, json={}, headers={"Prefer": "wait=1"})
        assert refused.status_code in {201, 503, 504}  # it may be back within the second
        while (await http.get("/api/v1/collections")).status_code != 200:
            pass
    assert (await http.post(DOCUMENTS, json={})).status_code == 201
