"""Rows that come in pages, for whoever iterates, awaits, or takes them for a list."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Protocol, Self

from mallku_client import portal
from mallku_client.mallku.calls import Face, tell_failure
from mallku_contracts.errors import ClientClosed

KEPT_ROWS: Final = 1_000
"""Rows that are kept for a second look; of more than that only the page at hand is."""

DEFAULT_PAGE_ROWS: Final = 1_000
"""Rows fetched at a time where nobody says otherwise."""


class Source(Protocol):
    """Where pages come from; coroutines for the portal's loop."""

    async def page(self) -> list[Any]:
        """The next rows; none at the end."""
        ...

    def statistics(self) -> dict[str, Any]:
        """What was done for them."""
        ...

    async def close(self) -> None:
        """Give the rest back."""
        ...


class Rows:
    """Rows of a query or of a collection: `for`, `async for`, `list()`, `await`, or as a list.

    Pages are fetched as they are reached, and no more than one is held of what is longer than
    `KEPT_ROWS`. Asking for a length, a place or a comparison fetches the rest and keeps it. Each
    row is a plain value that belongs to the caller.

    Args:
        begin: Makes the source, whose first page is there then.
    """

    def __init__(self, face: Face, begin: Coroutine[Any, Any, Source]) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._begun: Future[Source] = portal.current().submit(begin)
        self._rows: list[Any] = []
        self._dropped = 0
        self._keep_all = False
        self._ended = False
        self._own: Iterator[Any] | None = None
        self._seen = face is Face.BLOCKING
        if face is Face.BLOCKING:
            portal.current().wait(self._begun)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __del__(self) -> None:
        if not getattr(self, "_seen", True):
            self._begun.add_done_callback(tell_failure)

    # --- as they come

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while True:
            found, row = self._at(place)
            if found:
                place += 1
                yield row
            elif not self._fetch(place):
                return

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def _each(self) -> AsyncIterator[Any]:
        place = 0
        while True:
            found, row = self._at(place)
            if found:
                place += 1
                yield row
                continue
            self._refuse_child()
            page = await asyncio.wrap_future(portal.current().submit(self._page()))
            if not self._take(place, page):
                return

    def __next__(self) -> Any:
        if self._own is None:
            self._own = iter(self)
        return next(self._own)

    next = __next__
    pop = __next__

    def __await__(self) -> Generator[Any, None, Self]:
        self._seen = True
        yield from asyncio.wrap_future(self._begun).__await__()
        return self

    # --- as a list

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, place: Any) -> Any:
        return self._all()[place]

    def __contains__(self, row: object) -> bool:
        return row in self._all()

    def __bool__(self) -> bool:
        return self._at(0)[0] or self._dropped > 0 or self._fetch(0)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows):
            return self._all() == other._all()
        return self._all() == other

    __hash__ = object.__hash__

    def all(self) -> list[Any]:
        """Every row, as one list."""
        return list(self._all())

    # --- as a cursor

    def batch(self) -> list[Any]:
        """The rows that are here."""
        self.empty()
        return list(self._rows)

    def empty(self) -> bool:
        """Whether there is no row at all."""
        return not self

    def count(self) -> int:
        """How many rows there are."""
        return len(self)

    def statistics(self) -> dict[str, Any]:
        """What the query did: `modified`, `scanned_full`, `scanned_index` and so on."""
        self._refuse_child()
        return portal.current().wait(self._begun).statistics()

    def close(self) -> None:
        """Give back what was not fetched."""
        self._ended = True
        self._refuse_child()
        portal.current().call(self._close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- pages

    def _all(self) -> list[Any]:
        with self._lock:
            self._keep_all = True
            while self._fetch(self._dropped + len(self._rows)):
                pass
            self._at(0)
            return self._rows

    def _at(self, place: int) -> tuple[bool, Any]:
        with self._lock:
            place -= self._dropped
            if place < 0:
                raise RuntimeError(
                    f"rows beyond {KEPT_ROWS} are handed out once: keep them with list(rows)"
                )
            here = place < len(self._rows)
            return here, self._rows[place] if here else None

    def _fetch(self, place: int) -> bool:
        """Get the page that begins at `place`; False at the end."""
        with self._lock:
            if self._ended:
                return False
            self._refuse_child()
            return self._take(place, portal.current().call(self._page()))

    def _take(self, place: int, page: list[Any]) -> bool:
        with self._lock:
            if place != self._dropped + len(self._rows):  # somebody else fetched meanwhile
                self._rows += page
                return True
            if not page:
                self._ended = True
                return False
            if len(self._rows) >= KEPT_ROWS and not self._keep_all:
                self._dropped += len(self._rows)
                self._rows = page
            else:
                self._rows += page
            return True

    async def _page(self) -> list[Any]:
        self._seen = True
        return await (await asyncio.wrap_future(self._begun)).page()

    async def _close(self) -> None:
        await (await asyncio.wrap_future(self._begun)).close()

    def _refuse_child(self) -> None:
        if self._process != os.getpid():
            raise ClientClosed("these rows belong to the parent process; ask for them anew")
