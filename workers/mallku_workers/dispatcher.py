"""Takes commands off the bus, and lets go of them only when each has been answered.

One subscription for each operation, in a queue group of its class, so that a command reaches one
worker; and one of its own for pages of the cursors that this worker holds. Draining leaves the
groups first, and then finishes what has already come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from mallku_broker.connection import Listener
from mallku_broker.permissions import READ_QUEUE, WRITE_QUEUE
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import NEXT, command_pattern, cursor_pattern
from mallku_contracts.tracing import trace_id
from mallku_workers.message import Message, unix_ms
from mallku_workers.tracing import traceparent_in

CUT_OFF_S: Final = 1.0
"""What a command that is cut off may take to tell its caller so, seconds."""

_log = structlog.get_logger("mallku.dispatcher")


class Subscriber(Protocol):
    """What the dispatcher needs of a bus connection."""

    async def listen(self, subject: str, listener: Listener, *, queue: str = "") -> Any:
        """Call `listener` for each message of a queue group."""
        ...

    async def retire(self, subscriptions: Sequence[Any]) -> None:
        """Unsubscribe, and return when everything sent until then was delivered."""
        ...


class Dispatcher:
    """Runs `handle` for each message, each in a task of its own; `handle` bounds how many."""

    def __init__(
        self, bus: Subscriber, handle: Callable[[Message], Awaitable[None]], worker: str
    ) -> None:
        self._bus = bus
        self._worker = worker
        self._handle = handle
        self._subscriptions: list[Any] = []
        self._cursors: list[Any] = []
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Commands that have come and are not answered yet."""
        return len(self._under_way)

    async def start(self) -> None:
        """Join the queue groups of every operation, and listen for the pages of own cursors."""
        self._cursors.append(await self._bus.listen(cursor_pattern(self._worker), self._receive))
        await self.join()

    async def join(self) -> None:
        """Join the queue groups of every operation, unless that was done."""
        if self._subscriptions:
            return
        for operation in OPERATIONS.values():
            if operation.name == NEXT:
                continue
            self._subscriptions.append(
                await self._bus.listen(
                    command_pattern(operation.name),
                    self._receive,
                    queue=WRITE_QUEUE if operation.mutates else READ_QUEUE,
                )
            )

    def _receive(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        parent = traceparent_in(header)
        message = Message(
            subject,
            reply,
            body,
            unix_ms(),
            time.monotonic(),
            trace_id(parent),
            traceparent=parent,
        )
        task = asyncio.ensure_future(self._handle(message))
        self._under_way.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("reply_not_sent", exc_info=task.exception())

    async def leave(self) -> None:
        """Leave the queue groups; own cursors go on, since nobody else has them."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await self._bus.retire(subscriptions)

    async def drain(self, timeout_s: float) -> int:
        """Leave the groups, finish what has come; return how many commands were cut off."""
        end = asyncio.get_running_loop().time() + timeout_s
        await self._leave_groups(timeout_s)
        if self._under_way:
            left_s = end - asyncio.get_running_loop().time()
            await asyncio.wait(set(self._under_way), timeout=max(left_s, 0))
        cut_off = [task for task in self._under_way if not task.done()]
        for task in cut_off:
            task.cancel()
        if cut_off:
            await asyncio.wait(cut_off, timeout=CUT_OFF_S)
        return len(cut_off)

    async def _leave_groups(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._bus.retire([*self._cursors, *self._subscriptions])
        except Exception as error:  # noqa: BLE001 - whatever the bus says, what came is finished
            _log.warning("queue_groups_not_left", reason=str(error) or type(error).__name__)
        self._cursors.clear()
        self._subscriptions.clear()
