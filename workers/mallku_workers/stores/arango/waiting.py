"""Where single writes wait for each other: whoever comes while a request is under way goes next.

There is no timer. A write that meets nobody is sent at once; while the lanes of its group are busy,
all that comes is gathered and leaves together when one of them is free.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field

from mallku_workers.stores.arango.combining import Prepared
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.arango.writing import Outcome
from mallku_workers.stores.base import Done

CarryOut = Callable[[Sequence[Prepared]], Awaitable[list[Outcome]]]
"""Carries out works of one group; raises for all of them, or tells the outcome of each."""


@dataclass(slots=True)
class _Waiting:
    prepared: Prepared
    future: asyncio.Future[Done]


@dataclass(slots=True)
class _Group:
    waiting: deque[_Waiting] = field(default_factory=deque)
    busy: int = 0


class WaitingRoom:
    """Gathers prepared works by their group, and sends them together."""

    def __init__(self, carry_out: CarryOut, settings: ArangoSettings) -> None:
        self._carry_out = carry_out
        self._settings = settings
        self._groups: dict[Hashable, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, prepared: Prepared) -> Done:
        """The outcome of a work; raises its coded error."""
        group = self._groups.setdefault(prepared.group, _Group())
        one = _Waiting(prepared, asyncio.get_running_loop().create_future())
        group.waiting.append(one)
        if group.busy < self._settings.group_lanes:
            group.busy += 1
            task = asyncio.ensure_future(self._serve(prepared.group, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await one.future

    async def close(self) -> None:
        """Wait until all that was submitted is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, name: Hashable, group: _Group) -> None:
        """One lane: send what waits until nobody does."""
        try:
            while group.waiting:
                if taken := self._take(group):
                    await self._send(taken)
        finally:
            group.busy -= 1
            if not group.busy and not group.waiting:
                self._groups.pop(name, None)

    def _take(self, group: _Group) -> list[_Waiting]:
        """The first that wait, as many as go together; no document twice."""
        taken: list[_Waiting] = []
        keys: set[str] = set()
        size = 0
        while group.waiting and len(taken) < self._settings.group_works:
            one = group.waiting[0]
            if one.future.done():
                group.waiting.popleft()
                continue
            key = one.prepared.key
            size += len(one.prepared.item)
            if taken and (key in keys or size > self._settings.group_bytes):
                break
            if key is not None:
                keys.add(key)
            taken.append(group.waiting.popleft())
        return taken

    async def _send(self, taken: list[_Waiting]) -> None:
        try:
            outcomes = await self._carry_out([one.prepared for one in taken])
            ends = list(zip(taken, outcomes, strict=True))
        except asyncio.CancelledError:
            for one in taken:
                one.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each who waits is told, and the lane goes on
            for one in taken:
                _end(one.future, error)
        else:
            for one, outcome in ends:
                _end(one.future, outcome)


def _end(future: asyncio.Future[Done], outcome: Done | Exception) -> None:
    """Tell an outcome to whoever still waits for it."""
    if future.done():
        return
    if isinstance(outcome, Done):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
