"""Pulls jobs of one consumer, never more than there are free places (no pulling ahead)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.headers import status
from mallku_broker.jobs import Consumer, JobMessage, ask_for_one, say_again

PULL_S: Final = 10.0
"""How long the server keeps a request for a job, seconds."""

GRACE_S: Final = 3.0
"""Past that, a request of which nothing was heard counts as lost, seconds."""

AGAIN_S: Final = 1.0
"""After a request that the server refused, seconds."""

_INSTANCE_BYTES: Final = 12
_EXPIRED: Final = frozenset({404, 408})

_log = structlog.get_logger("mallku.jobs")


class Line:
    """Takes jobs out of one line, each in a task of its own; `places` bounds how many at a time.

    Every free place asks for one job. A job is never taken before there is room for it, so that it
    does not lie in one worker while another has nothing to do.

    Args:
        away: Whether the worker is at fault itself, and takes nothing.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        consumer: Consumer,
        places: int,
        run: Callable[[JobMessage], Awaitable[None]],
        *,
        away: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._consumer = consumer
        self._run = run
        self._away = away
        self._free = places
        self._inbox = f"{connection.inbox_prefix}.{secrets.token_hex(_INSTANCE_BYTES)}."
        self._asked: dict[str, float] = {}
        self._number = 0
        self._news = asyncio.Event()
        self._ending = False
        self._running: set[asyncio.Task[None]] = set()
        self._subscription: Any = None

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """The jobs under way."""
        return frozenset(self._running)

    async def keep(self) -> None:
        """Take jobs until cancelled or stopped."""
        self._connection.watch(self._on_event)
        self._subscription = await self._connection.listen(f"{self._inbox}*", self._on_message)
        loop = asyncio.get_running_loop()
        while not self._ending:
            self._news.clear()
            await self._connection.connected()
            now_s = loop.time()
            self._asked = {name: end for name, end in self._asked.items() if end > now_s}
            self._ask(now_s)
            try:
                async with asyncio.timeout(PULL_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def stop(self, timeout_s: float) -> None:
        """Take nothing more; what was under way to us goes to somebody else at once."""
        self._ending = True
        self._news.set()
        if self._subscription is None:
            return
        self._connection.unwatch(self._on_event)
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.retire([self._subscription])
        except Exception as error:  # noqa: BLE001 - whatever the broker says, jobs come again
            _log.warning("line_not_left", consumer=self._consumer.name, reason=repr(error))

    def _ask(self, now_s: float) -> None:
        while len(self._asked) < self._free and not self._away():
            self._number += 1
            name = str(self._number)
            try:
                ask_for_one(self._connection, self._consumer, PULL_S, self._inbox + name)
            except ConnectionLost:
                return
            self._asked[name] = now_s + PULL_S + GRACE_S

    def _on_message(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        if not reply:
            self._hear(subject[len(self._inbox) :], header)
            return
        try:
            job = JobMessage.read(subject, reply, body, header)
        except ValueError:
            _log.error("not_a_job", subject=subject)
            return
        if self._asked:  # the server serves requests in their order
            del self._asked[next(iter(self._asked))]
        if self._ending or self._away():
            say_again(self._connection, job, 0.0)
            return
        self._free -= 1
        task = asyncio.ensure_future(self._run(job))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _hear(self, name: str, header: bytes | None) -> None:
        """The server says that a request has come to its end."""
        self._asked.pop(name, None)
        if status(header) not in _EXPIRED:
            asyncio.get_running_loop().call_later(AGAIN_S, self._news.set)
        else:
            self._news.set()

    def _on_event(self, event: ConnectionEvent) -> None:
        """A server that lost us, or was started again, knows no requests of ours."""
        if event.kind in {EventKind.DISCONNECTED, EventKind.RECONNECTED}:
            self._asked.clear()
            self._news.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free += 1
        self._news.set()
