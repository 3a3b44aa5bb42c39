"""The documents that a `find` has to give, page by page, as they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mallku_client.arguments import given

if TYPE_CHECKING:
    from mallku_contracts.arguments import Document
    from mallku_contracts.results import Page

FetchPage = Callable[[dict[str, Any]], Awaitable["Page"]]
"""Takes the arguments of `find`, returns its result."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What to ask for next. `limit` counts what is still wanted, None without end.

    Without a sort and a skip, pages continue behind the last key, so that documents which come and
    go meanwhile move nothing; otherwise they continue by number.
    """

    filters: dict[str, Any] | None = None
    skip: int | None = None
    limit: int | None = None
    sort: list[dict[str, str]] | None = None
    batch_size: int | None = None
    after: str | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of `find` for this page."""
        return given(
            filters=self.filters,
            skip=self.skip,
            limit=self.limit,
            sort=self.sort,
            batch_size=self.batch_size,
            after=self.after,
        )

    def following(self, page: Page) -> PageRequest | None:
        """The request behind `page`, None when there is nothing more to ask for."""
        count = len(page["documents"])
        left = None if self.limit is None else self.limit - count
        if not page["more"] or count == 0 or left == 0:
            return None
        if page["after"] is not None:
            return replace(self, skip=None, limit=left, after=page["after"])
        return replace(self, skip=(self.skip or 0) + count, limit=left)


class Cursor:
    """Documents, one after the other: `async for document in cursor`, or `await cursor.all()`.

    Nothing is sent before somebody asks; `await cursor` fetches the first page, so that errors come
    there, and is the cursor. Each page is one command, with the timeout of the call that made it.
    Documents are plain dicts that belong to the caller; several readers share them, each gets its
    own.
    """

    def __init__(self, fetch: FetchPage, first: PageRequest) -> None:
        self._fetch = fetch
        self._next: PageRequest | None = first
        self._started = False
        self._documents: list[Document] = []
        self._turn = asyncio.Lock()

    def __await__(self) -> Generator[Any, None, Cursor]:
        return self._begin().__await__()

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> Document:
        while not self._documents:
            if self._next is None:
                raise StopAsyncIteration
            await self._fetch_page()
        return self._documents.pop()

    async def all(self) -> list[Document]:
        """Everything that has not been handed out yet, as one list."""
        documents: list[Document] = []
        while page := await self.page():
            documents += page
        return documents

    async def page(self) -> list[Document]:
        """What is left of this page, or else the next one; empty only at the end."""
        while not self._documents and self._next is not None:
            await self._fetch_page()
        documents = self._documents[::-1]
        self._documents = []
        return documents

    async def _begin(self) -> Cursor:
        if not self._started:
            await self._fetch_page()
        return self

    async def _fetch_page(self) -> None:
        """Have documents here again, unless another reader of this cursor does."""
        request = self._next
        async with self._turn:
            if request is None or self._next is not request or self._documents:
                return
            page = await self._fetch(request.arguments())
            self._started = True
            self._next = request.following(page)
            self._documents = page["documents"]
            self._documents.reverse()  # handed out from the end: O(1) for each
