"""The rows of a query, page by page: the first came with its answer, one worker holds the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mallku_contracts.errors import CursorLost, MallkuError

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import (
        CursorInfo,
        PlannedAccess,
        QueryResult,
        QueryRows,
        QueryStatistics,
        QueryWarning,
    )

AskWorker = Callable[[str, dict[str, Any]], Awaitable["QueryRows"]]
"""Takes a worker and the arguments of `next`, returns its result."""

FIRST_PAGE: Final = 1


class QueryCursor:
    """Rows, one after the other: `async for row in cursor`, or `await cursor.all()`.

    ::

        async with await db.aql.execute("FOR a IN memory_anchors RETURN a") as cursor:
            async for anchor in cursor:
                ...

    One page is held at a time, and each further one is one command, with the timeout of the query.
    Where a page did not come (`DeadlineExceeded`, `Busy`, …) asking again goes on with it: no row
    is left out and none comes twice. `CursorLost` ends the cursor: the query may be asked again.

    Who stops before the end gives the rest back with `async with` or `close`; otherwise the worker
    keeps it until nobody asked for a while. Rows are plain values that belong to the caller.
    """

    def __init__(self, answer: QueryResult, ask_worker: AskWorker) -> None:
        self._ask_worker = ask_worker
        self._answer: QueryResult = {**answer, "result": []}
        self._rows = answer["result"][::-1]  # handed out from the end: O(1) for each
        self._held: CursorInfo | None = answer.get("cursor") if answer["more"] else None
        self._page = FIRST_PAGE
        self._turn = asyncio.Lock()
        self._lost: CursorLost | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'complete'}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._rows:
            if not await self._fetch():
                raise StopAsyncIteration
        return self._rows.pop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def id(self) -> str | None:
        """The name of the rest at the worker that holds it; None once everything is here."""
        return None if self._held is None else self._held["id"]

    def count(self) -> int | None:
        """How many rows there are altogether, where `count` or `full_count` was asked for."""
        return self._answer.get("count")

    def full_count(self) -> int | None:
        """How many rows there were without the last `LIMIT`, where that was asked for."""
        return self._answer.get("full_count")

    def statistics(self) -> QueryStatistics:
        """What the query did until its first page was there."""
        return self._answer["statistics"]

    def warnings(self) -> list[QueryWarning]:
        """What the query went on in spite of: `{"code", "message"}` of each."""
        return self._answer["warnings"]

    def plan(self) -> list[PlannedAccess] | None:
        """How the query got at its documents, where `profile` was asked for."""
        return self._answer.get("plan")

    def batch(self) -> list[Any]:
        """The rows that are here and were not handed out yet; they stay."""
        return self._rows[::-1]

    def empty(self) -> bool:
        """Whether no row is here now; there may be more to fetch."""
        return not self._rows

    def has_more(self) -> bool:
        """Whether rows are left to fetch."""
        return self._held is not None

    async def next(self) -> Any:
        """The next row; `StopAsyncIteration` at the end."""
        return await anext(self)

    async def fetch(self) -> list[Any]:
        """Fetch a further page behind the rows that are here; its rows, none at the end.

        Raises:
            CursorLost: the worker that held the rest has it no more.
        """
        before = len(self._rows)
        await self._fetch()
        return self._rows[: len(self._rows) - before][::-1]

    async def take(self) -> list[Any]:
        """The rows that are here, or else the next page, handed out at once; none at the end."""
        while not self._rows and await self._fetch():
            pass
        rows = self._rows[::-1]
        self._rows = []
        return rows

    async def all(self) -> list[Any]:
        """Every row that was not handed out yet, as one list."""
        rows: list[Any] = []
        while page := await self.take():
            rows += page
        return rows

    async def close(self, ignore_missing: bool = True) -> bool:
        """Give the rest back; False where there was none. Rows that are here are dropped.

        Raises:
            CursorLost: it was gone already, and that was not to be ignored.
        """
        async with self._turn:
            held, self._held, self._rows = self._held, None, []
            if held is None:
                return False
            try:
                await self._ask_worker(held["worker"], {"cursor": held["id"], "close": True})
            except MallkuError as error:
                # What cannot be given back now, the worker gives back when nobody asks for it.
                if not ignore_missing and isinstance(error, CursorLost):
                    raise
                return False
            return True

    aclose = close

    async def _fetch(self) -> bool:
        """Put the next page behind the rows that are here; False where there is none."""
        before = self._page
        async with self._turn:
            if self._lost is not None:
                raise self._lost
            if self._page != before:  # somebody else fetched it meanwhile
                return True
            if self._held is None:
                return False
            page = await self._ask_for(self._held, before + 1)
            self._page = before + 1
            self._held = self._held if page["more"] else None
            self._rows = page["result"][::-1] + self._rows
            return True

    async def _ask_for(self, held: CursorInfo, page: int) -> QueryRows:
        try:
            return await self._ask_worker(held["worker"], {"cursor": held["id"], "page": page})
        except CursorLost as error:
            self._held, self._lost = None, error
            raise
