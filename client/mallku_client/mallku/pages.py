"""Where the pages of `Rows` come from: a `find`, or a query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mallku_client as awaited


class Documents:
    """The pages of a `find`, none where there is no collection."""

    def __init__(self, cursor: awaited.Cursor | None) -> None:
        self._cursor = cursor

    async def page(self) -> list[Any]:
        """The next documents; none at the end."""
        return [] if self._cursor is None else await self._cursor.page()

    def statistics(self) -> dict[str, Any]:
        """Nothing is told of a `find`."""
        return {}

    async def close(self) -> None:
        """Nothing is held anywhere: pages go on behind a key."""


Reading = Callable[[list[Any]], Awaitable[list[Any]]]
"""Makes of fetched rows what a caller is given."""


class QueryPages:
    """The pages of a query, each as `reading` makes it; one that could not be read comes again."""

    def __init__(self, cursor: awaited.QueryCursor, reading: Reading | None) -> None:
        self._cursor = cursor
        self._reading = reading
        self._unread: list[Any] = []
        self._turn = asyncio.Lock()

    async def page(self) -> list[Any]:
        """The next rows; none at the end."""
        if self._reading is None:
            return await self._cursor.take()
        async with self._turn:
            if not self._unread:
                self._unread = await self._cursor.take()
            rows = await self._reading(self._unread)
            self._unread = []
            return rows

    def statistics(self) -> dict[str, Any]:
        """What the query did until its first page was there, also by python-arango's names."""
        found, full_count = self._cursor.statistics(), self._cursor.full_count()
        return {
            **found,
            "modified": found["writes_executed"],
            "ignored": found["writes_ignored"],
            **({} if full_count is None else {"fullCount": full_count}),
        }

    async def close(self) -> None:
        """Give the rest back to the worker."""
        self._unread = []
        await self._cursor.close()
