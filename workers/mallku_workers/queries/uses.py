"""Which collections a query uses, by the store's own account, remembered for a while.

The account depends on the text and on the collections that bind values name, not on other values.
A named graph's members change behind its name, so that they are asked for every time; what else an
administrator may change past the gateway, as a view, is unseen for no longer than answers are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from mallku_contracts.errors import Unavailable
from mallku_workers.queries.book import KnownQuery
from mallku_workers.stores.base import QueryCollections, RunnableQuery

COLLECTIONS_S: Final = 5.0
"""How long the store may take to say which collections a query uses, seconds."""

KEPT_S: Final = 30.0
"""How long an answer of the store is believed, seconds."""

MAX_KEPT: Final = 1_024
"""Answers that are remembered, count; the one that was not asked for longest goes first."""

Collections = Callable[[str, RunnableQuery], Awaitable[QueryCollections]]
"""What the store says a query uses, given the database and the query."""


class _Key(NamedTuple):
    database: str
    digest: str
    reads: frozenset[str]
    writes: frozenset[tuple[str, frozenset[str]]]
    policy_version: int


class QueryUses:
    """Asks the store, or remembers what it said.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self, collections: Collections, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._collections = collections
        self._clock = clock
        self._kept: OrderedDict[_Key, tuple[float, QueryCollections]] = OrderedDict()

    async def of(
        self, database: str, known: KnownQuery, query: RunnableQuery, policy_version: int
    ) -> QueryCollections:
        """The collections that a query reads and changes.

        Raises:
            Unavailable: the store does not say so in time.
        """
        analysis = known.analysis
        if analysis.graphs:
            return await self._ask(database, query)
        reads, writes = analysis.read_names(query.binds), analysis.write_names(query.binds)
        key = _Key(database, known.digest, reads, frozenset(writes.items()), policy_version)
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept[0]:
            self._kept.move_to_end(key)
            return kept[1]
        used = await self._ask(database, query)
        self._kept[key] = self._clock() + KEPT_S, used
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return used

    async def _ask(self, database: str, query: RunnableQuery) -> QueryCollections:
        try:
            async with asyncio.timeout(COLLECTIONS_S):
                return await self._collections(database, query)
        except TimeoutError:
            raise Unavailable(
                "the store did not say in time which collections the query uses; nothing was done"
            ) from None
