"""The rows of a reading query that are still in ArangoDB, for whoever holds them on the loop.

A step that is cut off goes on in its thread, and what it holds in ArangoDB is given back behind it:
nobody waits for that, and nothing is left open until ArangoDB itself forgets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mallku_contracts.errors import MallkuError
from mallku_workers.stores.arango.queries import Rows
from mallku_workers.stores.base import QueryPage

Step = Callable[..., asyncio.Future[Any]]
"""Begins something in a thread, with time until a moment of Unix milliseconds."""


class Desk:
    """Opens, reads and gives back the rows of queries.

    Args:
        begin: Begins a step that has time until its first argument.
        end: Gives rows back.
    """

    def __init__(self, begin: Step, end: Callable[[Rows], asyncio.Future[None]]) -> None:
        self._begin = begin
        self._end = end
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(
        self, deadline_ms: int, read: Callable[..., tuple[Rows, dict[str, Any]]], *given: object
    ) -> tuple[Rows, dict[str, Any]]:
        """What `read` returns; cut off, what it opened is given back when it returns."""
        opening = self._begin(deadline_ms, read, *given)
        try:
            opened: tuple[Rows, dict[str, Any]] = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._later(self._give_back_opened(opening))
            raise
        return opened

    def begin(self, deadline_ms: int, rows: Rows, size: int) -> asyncio.Future[QueryPage]:
        """Begin to fetch the next page."""
        return self._begin(deadline_ms, rows.page, size)

    async def give_back(self, rows: Rows, step: asyncio.Future[Any] | None) -> None:
        """Give rows back, behind a step that may still be at them."""
        if step is None or step.done():
            await self._give_back(rows)
        else:
            self._later(self._give_back_behind(rows, step))

    async def close(self) -> None:
        """Wait until all that was cut off is given back."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _later(self, giving_back: Any) -> None:
        task = asyncio.ensure_future(giving_back)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back_opened(self, opening: asyncio.Future[Any]) -> None:
        with suppress(MallkuError):
            rows, _ = await opening
            await self._give_back(rows)

    async def _give_back_behind(self, rows: Rows, step: asyncio.Future[Any]) -> None:
        await asyncio.wait([step])
        step.exception()  # whoever waited for it has gone
        await self._give_back(rows)

    async def _give_back(self, rows: Rows) -> None:
        with suppress(MallkuError):  # ArangoDB forgets them by itself, later
            await self._end(rows)


class ArangoCursor:
    """The rows of a reading query that were not fetched yet; one call at a time."""

    def __init__(self, desk: Desk, rows: Rows, batch_size: int) -> None:
        self._desk = desk
        self._rows = rows
        self._batch_size = batch_size
        self._step: asyncio.Future[QueryPage] | None = None

    async def fetch(self, deadline_ms: int) -> QueryPage:
        """The next page."""
        self._step = self._desk.begin(deadline_ms, self._rows, self._batch_size)
        return await asyncio.shield(self._step)

    async def close(self) -> None:
        """Give the rest back."""
        await self._desk.give_back(self._rows, self._step)
