"""Queries over the embedded store: reading ones on connections of their own, page by page.

A cursor keeps the snapshot that its first page was read from, so that no row comes twice and none
is left out, whatever is written meanwhile; it is bounded in number here, and in time by whoever
holds it. Between its pages it gives its page cache back, so that caches are bounded by the queries
at work. Nobody has more queries open, or at work, than are free for others. Queries that change
data run elsewhere: in the writing thread (`modifying`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.errors import Busy, DeadlineExceeded, InvalidQuery, Unavailable
from mallku_workers.stores.base import (
    Done,
    QueryCollections,
    QueryPage,
    RunnableQuery,
    Work,
    runnable,
)
from mallku_workers.stores.embedded.aql.evaluate import evaluate
from mallku_workers.stores.embedded.aql.source import SnapshotSource
from mallku_workers.stores.embedded.catalog import Catalog, catalog_version, load_catalog
from mallku_workers.stores.embedded.faults import translate
from mallku_workers.stores.embedded.paging import Rows, circumstances, first_page
from mallku_workers.stores.embedded.places import Owner, Places, has_share
from mallku_workers.stores.embedded.schema import connect
from mallku_workers.stores.embedded.session import STEPS_BETWEEN_LOOKS
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.placing import placing

RETRY_AFTER_S: Final = 0.2
"""Advice to callers who meet as many open cursors as there may be, seconds."""

SPARE_THREADS: Final = 1
"""Threads beside those of queries, for what takes no time: ends of queries, members of graphs."""

_MS_PER_S: Final = 1_000
_NO_CATALOG: Final = Catalog(0, {})


class EmbeddedCursor:
    """A reading query that is not at its end: its rows, its snapshot, its connection.

    One call at a time: whoever holds it sees to that.
    """

    def __init__(self, desk: Queries, reading: _Reading, rows: Rows, batch_size: int) -> None:
        self._desk = desk
        self._reading = reading
        self._rows = rows
        self._batch_size = batch_size

    async def fetch(self, deadline_ms: int) -> QueryPage:
        """The next page.

        Raises:
            QueryFailed, ResourceLimit, DeadlineExceeded: the cursor is of no more use.
        """
        self._reading.deadline_ms = deadline_ms
        page: QueryPage = await self._desk.in_thread(
            self._reading, self._rows.page, self._batch_size
        )
        return page

    async def close(self) -> None:
        """Give the snapshot back."""
        await self._desk.close(self._reading)


@dataclass(slots=True)
class _Reading:
    """Until when a query may work, and whose it is; connection and catalog once it began."""

    deadline_ms: int
    owner: Owner = None
    connection: sqlite3.Connection | None = None
    catalog: Catalog = _NO_CATALOG
    closed: bool = False
    step: asyncio.Future[Any] | None = None
    rows: Rows | None = None


@dataclass(slots=True)
class Queries:
    """Runs the reading queries of one database.

    Args:
        clock: Unix milliseconds.
    """

    name: str
    path: Path
    settings: EmbeddedSettings
    clock: Callable[[], int]
    _threads: ThreadPoolExecutor = field(init=False)
    _places: Places = field(init=False)
    _open: dict[int, _Reading] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: list[sqlite3.Connection] = field(default_factory=list)
    _catalog: Catalog = _NO_CATALOG

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(
            self.settings.query_threads + SPARE_THREADS,
            thread_name_prefix=f"store-{self.name}-query",
        )
        self._places = Places(self.settings.query_threads)

    async def run(self, work: Work) -> Done:
        """The first page of a reading query, and its cursor where there are more."""
        query = runnable(work)
        self._refuse_more(work.owner)
        reading = _Reading(work.deadline_ms, work.owner)
        self._open[id(reading)] = reading
        try:
            rows, result = await self.in_thread(reading, self._first, reading, work, query)
        except BaseException:
            await self.close(reading)
            raise
        if not result["more"]:
            await self.close(reading)
            return Done(result)
        return Done(result, cursor=EmbeddedCursor(self, reading, rows, query.arguments.batch_size))

    def _refuse_more(self, owner: Owner) -> None:
        free = self.settings.max_cursors - len(self._open)
        own = sum(reading.owner == owner for reading in self._open.values())
        if not has_share(owner, own, free):
            raise Busy(
                f"{len(self._open)} queries are open in this worker already, {own} of them yours",
                retry_after=RETRY_AFTER_S,
            )

    async def collections_of(self, query: RunnableQuery) -> QueryCollections:
        """The collections that a query names, and those of the graphs that it names."""
        analysis = analyse(query.tree)
        graphs = analysis.graph_names(query.binds)
        members = await self._in_pool(self._members, graphs) if graphs else frozenset[str]()
        return QueryCollections(
            analysis.read_names(query.binds) | members, analysis.write_names(query.binds)
        )

    def _members(self, graphs: Iterable[str]) -> frozenset[str]:
        connection, catalog = self._begin()
        self._give_back(connection)
        found = (catalog.graphs.get(name) for name in graphs)
        return frozenset(name for graph in found if graph is not None for name in graph.members)

    async def in_thread(self, reading: _Reading, step: Callable[..., Any], *given: Any) -> Any:
        """Do one step of a query in a thread, its connection interrupted when time is over.

        Raises:
            DeadlineExceeded: there was no thread for it in time.
        """
        owner = reading.owner
        left_s = (reading.deadline_ms - self.clock()) / _MS_PER_S
        await self._places.take(owner, left_s)
        try:
            reading.step = self._submit(self._watched, reading, step, *given)
        except BaseException:
            self._places.give_back(owner)
            raise
        # The thread is free when the step is over, and not when nobody waits for it any more.
        reading.step.add_done_callback(lambda _: self._places.give_back(owner))
        return await asyncio.shield(reading.step)

    async def close(self, reading: _Reading) -> None:
        """End the snapshot; the connection is used again once no thread is at it any more.

        A step that was cut off ends when it next looks at the clock; nobody waits for that.
        """
        if reading.closed:
            return
        reading.closed = True
        reading.deadline_ms = 0
        if reading.step is None or reading.step.done():
            await self._end(reading)
            return
        task = asyncio.ensure_future(self._end_behind(reading, reading.step))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_behind(self, reading: _Reading, step: asyncio.Future[Any]) -> None:
        await asyncio.wait([step])
        step.exception()  # whoever waited for it has gone
        await self._end(reading)

    async def _end(self, reading: _Reading) -> None:
        try:
            if reading.connection is not None:
                await self._in_pool(self._give_back, reading.connection)
        finally:
            self._open.pop(id(reading), None)
            reading.rows = reading.step = None  # they hold what looks at the time, which holds it

    async def stop(self) -> None:
        """End the threads and close every connection, those of cursors that nobody closed too."""
        while self._ending:
            await asyncio.wait(self._ending)
        await asyncio.to_thread(self._threads.shutdown)
        while self._open:
            _, reading = self._open.popitem()
            if reading.connection is not None:
                reading.connection.close()
        while self._idle:
            self._idle.pop().close()

    async def _in_pool(self, step: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.shield(self._submit(step, *given))

    def _submit(self, step: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
        """Begin a step in a thread, where it goes on whoever waits for it no longer."""
        try:
            return asyncio.get_running_loop().run_in_executor(self._threads, step, *given)
        except RuntimeError:
            raise Unavailable("the store is stopping") from None

    def _connection(self, reading: _Reading) -> sqlite3.Connection:
        if reading.connection is None:
            reading.connection, reading.catalog = self._begin()
        return reading.connection

    def _begin(self) -> tuple[sqlite3.Connection, Catalog]:
        """A snapshot and its catalog; the one that is kept may be another thread's by then."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.path, self.settings)
        try:
            connection.execute("BEGIN")
            catalog = self._catalog
            if catalog_version(connection) != catalog.version:
                self._catalog = catalog = load_catalog(connection)
        except sqlite3.Error as error:
            connection.close()
            raise translate(error) from None
        return connection, catalog

    def _first(
        self, reading: _Reading, work: Work, query: RunnableQuery
    ) -> tuple[Rows, dict[str, Any]]:
        def check() -> None:
            if self.clock() > reading.deadline_ms:
                raise DeadlineExceeded("the caller's time was over before the query was")

        source = SnapshotSource(self._connection(reading), reading.catalog, check)
        given = circumstances(work, self.settings, self.clock())
        with placing(query):
            execution = evaluate(query.tree, query.binds, source, given)
        rows, result = first_page(query, execution, self.settings, query.arguments.batch_size)
        reading.rows = rows
        return rows, result

    def _watched(self, reading: _Reading, step: Callable[..., Any], *given: Any) -> Any:
        connection = self._connection(reading)
        connection.set_progress_handler(
            lambda: self.clock() > reading.deadline_ms, STEPS_BETWEEN_LOOKS
        )
        try:
            done = step(*given)
            _give_back_cache(connection, reading.rows)
        except sqlite3.Error as error:
            raise translate(error) from None
        except RecursionError:
            raise InvalidQuery("the query is nested too deeply", error_code=1524) from None
        else:
            return done
        finally:
            connection.set_progress_handler(None, 0)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        if len(self._idle) < self.settings.query_threads:
            self._idle.append(connection)
        else:
            connection.close()


def _give_back_cache(connection: sqlite3.Connection, rows: Rows | None) -> None:
    """Who waits for a page to be asked for needs no page cache."""
    if rows is not None and rows.left:
        connection.execute("PRAGMA shrink_memory")
