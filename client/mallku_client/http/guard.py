"""What stands in front of every request: how many, how large, how slow, and what all answers say.

Plain ASGI, so that nothing of a request is read before it was let in, and answers stream through.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mallku_client.http.carrying import RETRY_AFTER_S
from mallku_client.http.problems import problem
from mallku_client.http.settings import MAX_HEADER_BYTES, DoorSettings
from mallku_contracts.errors import Busy, InternalError, MalformedBody, MallkuError, MessageTooLarge

SLOW_READER_S: Final = 30.0
"""How long a part of an answer waits for a caller who does not read, seconds."""

_LOG = logging.getLogger("mallku.http")
_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """Lets a bounded number of bounded requests through, and logs each without what it holds."""

    def __init__(self, app: ASGIApp, settings: DoorSettings) -> None:
        self._app = app
        self._settings = settings
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; everything else goes through as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _exempt(scope))
        if self._under_way >= self._settings.max_requests:
            busy = Busy("the door has no room for more requests", retry_after=RETRY_AFTER_S)
            await problem(busy)(scope, receive, answer.send)
            return
        self._under_way += 1
        began = time.monotonic()
        try:
            await self._let_in(scope, receive, answer)
        finally:
            self._under_way -= 1
            _log(scope, answer.status, time.monotonic() - began)

    async def _let_in(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            content = await _content(scope, receive, self._settings)
        except MallkuError as error:
            await problem(error)(scope, receive, answer.send)
            return
        try:
            await self._serve(scope, content, receive, answer)
        except ConnectionError as error:  # there is nobody to tell
            _LOG.info("cut off: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever happens, the caller is told, not of it
            # The application has answered for itself, unless it broke before it could.
            if not answer.status:
                await unexpected(error)(scope, receive, answer.send)

    async def _serve(self, scope: Scope, content: bytes, receive: Receive, answer: _Answer) -> None:
        """Have the application answer; what nobody waits for any more is called off.

        Raises:
            ConnectionError: the caller left before an answer began.
        """
        leaving = asyncio.ensure_future(receive())  # nothing but the caller's leaving follows
        serving = asyncio.ensure_future(self._app(scope, _replay(content, leaving), answer.send))
        given_up = False
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            given_up = not serving.done() and not answer.status
            if given_up:
                serving.cancel()
            await serving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if given_up and task is not None and not task.cancelling():
                raise ConnectionError("the caller left before it was answered") from None
            serving.cancel()
            raise
        finally:
            leaving.cancel()


def unexpected(error: Exception) -> Response:
    """What is told of a surprise: nothing but where to ask; the log has the rest."""
    correlation = secrets.token_hex(8)
    _LOG.error("unexpected: correlation %s", correlation, exc_info=error)
    return problem(InternalError("something unexpected happened", correlation=correlation))


async def _content(scope: Scope, receive: Receive, settings: DoorSettings) -> bytes:
    """All of a request's content, within its bounds.

    Raises:
        MessageTooLarge, MalformedBody
    """
    most = settings.max_body_bytes
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise MessageTooLarge(f"the headers of a request have at most {MAX_HEADER_BYTES} bytes")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise _too_large(most)
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise MalformedBody("the content ended before it was complete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise _too_large(most)
                more = message.get("more_body", False)
    except TimeoutError:
        raise MalformedBody(
            f"the content was not complete within {settings.body_timeout_s:g} s"
        ) from None
    return b"".join(parts)


def _too_large(most: int) -> MessageTooLarge:
    return MessageTooLarge(f"the content of a request has at most {most} bytes here")


def _replay(content: bytes, leaving: asyncio.Future[Message]) -> Receive:
    """Hands the content over once; then waits for the caller to leave."""
    handed = False

    async def next_message() -> Message:
        nonlocal handed
        if handed:
            return await asyncio.shield(leaving)
        handed = True
        return {"type": "http.request", "body": content, "more_body": False}

    return next_message


class _Answer:
    """What is sent, with the headers that all answers have; `status` is 0 until it begins."""

    def __init__(self, send: Send, exempt: frozenset[bytes]) -> None:
        self._send = send
        self._exempt = exempt
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            given = {name for name, _ in headers} | self._exempt
            headers += [(name, value) for name, value in _ALWAYS if name not in given]
            message = {**message, "headers": headers}
        try:
            async with asyncio.timeout(SLOW_READER_S):
                await self._send(message)
        except TimeoutError:
            raise ConnectionError("the caller does not read its answer") from None


def _exempt(scope: Scope) -> frozenset[bytes]:
    return frozenset({b"cache-control"}) if scope["path"] == "/openapi.json" else frozenset()


def _log(scope: Scope, status: int, took_s: float) -> None:
    """One line: neither query nor headers nor keys, which may hold what nobody else may see."""
    route = getattr(scope.get("route"), "path", "-")
    who = scope.get("mallku.principal", "-")
    _LOG.info("%s %s %d %.1f ms %s", scope["method"], route, status, took_s * 1_000, who)
