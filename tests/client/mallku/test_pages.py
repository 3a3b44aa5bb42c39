"""Pages between a cursor and whoever reads them: none is lost, and none comes twice."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mallku_client import QueryCursor
from mallku_client.mallku.pages import QueryPages
from mallku_contracts.errors import Unavailable


class Cursor:
    """Pages of a query, handed out once."""

    def __init__(self, *pages: list[Any]) -> None:
        self._pages = list(pages)

    async def take(self) -> list[Any]:
        """The next page."""
        await asyncio.sleep(0)
        return self._pages.pop(0) if self._pages else []

    async def close(self) -> None:
        """Nothing is left."""
        self._pages = []


def pages(*rows: list[Any], reading: Any) -> QueryPages:
    """The pages of such a cursor."""
    return QueryPages(cast("QueryCursor", Cursor(*rows)), reading)


async def test_a_page_that_could_not_be_read_comes_again() -> None:
    """The store that names come from was away for one look: the rows stay until they are read."""
    faults = [Unavailable("away"), None, None, None]

    async def reading(rows: list[Any]) -> list[Any]:
        if (fault := faults.pop(0)) is not None:
            raise fault
        return [row * 10 for row in rows]

    source = pages([1, 2], [3], reading=reading)
    with pytest.raises(Unavailable):
        await source.page()
    assert [await source.page() for _ in range(3)] == [[10, 20], [30], []]


async def test_a_page_whose_reader_was_cancelled_comes_again() -> None:
    """Whoever waits next has it; it comes once, also to several who wait at the same time."""
    held = asyncio.Event()

    async def reading(rows: list[Any]) -> list[Any]:
        await held.wait()
        return rows

    source = pages([1], [2], reading=reading)
    waiting = asyncio.ensure_future(source.page())
    while not source._unread:  # noqa: ASYNC110 - a task's doing
        await asyncio.sleep(0)
    waiting.cancel()
    held.set()
    assert sorted(await asyncio.gather(source.page(), source.page())) == [[1], [2]]
    assert await source.page() == []


async def test_a_page_that_waits_to_be_read_is_dropped_with_the_rest() -> None:
    """What was given back does not come."""

    async def reading(rows: list[Any]) -> list[Any]:
        if rows:
            raise Unavailable("away")
        return rows

    source = pages([1], [2], reading=reading)
    with pytest.raises(Unavailable):
        await source.page()
    await source.close()
    assert await source.page() == []
