"""Cursors between their pages: held by one worker, for one principal, for a while.

A cursor is named by a random id. It belongs to the principal and the database that asked, in the
roles of that time, and to the policy of that time: in other roles or under another policy it is
lost, and the query has to be asked again. Pages
are numbered; asking for the last one again gives it again, so that a reply that was lost on the way
costs no row and repeats none.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import structlog

from mallku_contracts.arguments import Next
from mallku_contracts.errors import Busy, CursorLost, InvalidArguments
from mallku_contracts.limits import MAX_CURSORS
from mallku_workers.stores.base import Done, QueryPage, StoreCursor

FIRST_PAGE: Final = 1

MAX_HELD: Final = MAX_CURSORS
"""Cursors with rows left in one worker, cursors; nobody holds more of them than are free."""

MAX_ENDED: Final = 32
"""Cursors at their end whose last page can still be asked for again, cursors."""

RETRY_AFTER_S: Final = 0.2
"""Advice to callers for whom there is no cursor now, seconds."""

_ID_BYTES: Final = 16

_log = structlog.get_logger("mallku.cursors")


class Owner(NamedTuple):
    """Whose a cursor is: all of it has to be the same for each page.

    Attributes:
        door: Through which it is read, a ceiling that only its own queries kept; empty without one.
        door_roles: What that door might carry.
    """

    principal: str
    database: str
    roles: frozenset[str]
    policy_version: int
    door: str = ""
    door_roles: frozenset[str] = frozenset()


@dataclass(slots=True)
class HeldCursor:
    """A cursor, whose it is, and the page that was given last."""

    owner: Owner
    rows: StoreCursor
    last: QueryPage
    idle_until: float
    ends_at: float
    page: int = FIRST_PAGE
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Cursors:
    """Every cursor that this worker holds.

    Args:
        worker: The instance whose cursors they are.
        idle_s: A cursor that nobody asks for is given back after so many seconds.
        life_s: And every cursor after so many.
        clock: Monotonic seconds.
    """

    def __init__(
        self, worker: str, *, idle_s: float, life_s: float, clock: Callable[[], float]
    ) -> None:
        self._worker = worker
        self._idle_s = idle_s
        self._life_s = life_s
        self._clock = clock
        self._held: dict[str, HeldCursor] = {}
        self._ended: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def keep(self, done: Done, owner: Owner) -> Done:
        """The outcome of a query with the name of its cursor, where rows are left.

        Raises:
            Busy: the principal holds as many cursors as are free; the rows are given back.
        """
        if done.cursor is None:
            return done
        if not self._has_room(owner.principal):
            await done.cursor.close()
            raise Busy(
                "you hold too many cursors in this worker: read them to their end, or close them",
                retry_after=RETRY_AFTER_S,
            )
        name = secrets.token_hex(_ID_BYTES)
        now = self._clock()
        first = QueryPage(done.result["result"], more=True)
        self._held[name] = HeldCursor(
            owner, done.cursor, first, now + self._idle_s, now + self._life_s
        )
        result = {**done.result, "cursor": {"id": name, "worker": self._worker}}
        return replace(done, result=result, cursor=None)

    def _has_room(self, principal: str) -> bool:
        live = [
            held.owner.principal for name, held in self._held.items() if name not in self._ended
        ]
        return live.count(principal) < MAX_HELD - len(live)

    async def next(self, owner: Owner, arguments: Next, deadline_ms: int) -> Done:
        """A page of a cursor: the one after the last, or the last one again.

        Raises:
            CursorLost: there is none of that name for this owner.
            InvalidArguments: another page is asked for.
        """
        held = self._held.get(arguments.cursor)
        if held is None or held.owner != owner:
            raise _lost()
        async with held.turn:
            if arguments.close:
                await self._give_back(arguments.cursor)
                return Done({"result": [], "more": False})
            return Done(await self._page(arguments, held, deadline_ms))

    async def _page(self, arguments: Next, held: HeldCursor, deadline_ms: int) -> dict[str, Any]:
        if arguments.page not in (held.page, held.page + 1):
            raise InvalidArguments(
                f"page: {arguments.page} is neither the last one, {held.page}, nor the next"
            )
        if arguments.page > held.page:
            if not held.last.more or arguments.cursor not in self._held:
                raise _lost()
            await self._advance(arguments.cursor, held, deadline_ms)
        held.idle_until = self._clock() + self._idle_s
        return {"result": held.last.rows, "more": held.last.more}

    async def _advance(self, name: str, held: HeldCursor, deadline_ms: int) -> None:
        try:
            held.last = await held.rows.fetch(deadline_ms)
        except BaseException:
            # A page that was made and not given would leave a gap: there are no more pages.
            await self._give_back(name)
            raise
        held.page += 1
        if not held.last.more:
            await self._end(name, held)

    async def _end(self, name: str, held: HeldCursor) -> None:
        """Give the rows back; the last page stays for a while, and only so many of them."""
        self._ended[name] = None
        if len(self._ended) > MAX_ENDED:
            await self._give_back(next(iter(self._ended)))
        await held.rows.close()

    async def _give_back(self, name: str) -> None:
        self._ended.pop(name, None)
        held = self._held.pop(name, None)
        if held is not None:
            await held.rows.close()

    async def sweep(self) -> None:
        """Give back what nobody asked for in time, and what is too old."""
        now = self._clock()
        await self._close(
            name
            for name, held in list(self._held.items())
            if now > min(held.idle_until, held.ends_at) and not held.turn.locked()
        )

    async def keep_swept(self, every_s: float) -> None:
        """Sweep from time to time, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.sweep()

    async def close(self) -> None:
        """Give all of them back."""
        await self._close(list(self._held))

    async def _close(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                await self._give_back(name)
            except Exception:  # noqa: BLE001 - the others are to be given back too
                _log.exception("cursor_not_closed")


def _lost() -> CursorLost:
    return CursorLost("this worker holds no such cursor for you any more; ask the query again")
