"""The ArangoDB store: documents, ledger and catalog of an ArangoDB, through its HTTP interface.

The asyncio side only queues and waits; requests run in a bounded number of threads, each with a
connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    CollectionNotFound,
    ConfigurationError,
    DatabaseNotFound,
    MallkuError,
    NotSupported,
    Unavailable,
)
from mallku_contracts.operations import Scope
from mallku_contracts.policy import is_reserved
from mallku_contracts.subjects import check_name
from mallku_workers.stores.arango import catalog, combining, queries, reading, recalling
from mallku_workers.stores.arango.blocking import Blocking, refuse_late, within
from mallku_workers.stores.arango.client import Clients, make_clients
from mallku_workers.stores.arango.combining import Prepared
from mallku_workers.stores.arango.cursors import ArangoCursor, Desk
from mallku_workers.stores.arango.http import LeanClient
from mallku_workers.stores.arango.preparation import check_entry, prepare
from mallku_workers.stores.arango.queries import Rows
from mallku_workers.stores.arango.recalling import RECALL_S
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.arango.waiting import WaitingRoom
from mallku_workers.stores.arango.writing import BATCHES, MATCHES, SINGLE, Outcome
from mallku_workers.stores.base import (
    Done,
    LedgerEntry,
    QueryCollections,
    RunnableQuery,
    StoreClock,
    Work,
    runnable,
)
from mallku_workers.stores.names import check_new_name, is_collection_name

WRITE_OPERATIONS: Final = frozenset({*SINGLE, *BATCHES, *MATCHES, *catalog.CHANGES, "transaction"})
"""Mutations that this store carries out."""

READ_OPERATIONS: Final = frozenset({*reading.READS, *catalog.READS})
"""Reads that this store answers; `outcome` is the pipeline's, through `recall`.

`aql` is in neither: it reads or writes.
"""

RETRY_AFTER_S: Final = 0.05
"""Advice to callers who meet a full queue, seconds."""

T = TypeVar("T")


def wall_clock_ms() -> int:
    """The machine's clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class ArangoStore:
    """Documents, collections, indexes, graphs and the ledger in the databases of an ArangoDB.

    Args:
        databases: The names of the databases; they have to be there.
        clock: Unix milliseconds; ArangoDB's own clock decides about deadlines of writes.
    """

    name = "arango"

    def __init__(
        self,
        settings: ArangoSettings | None = None,
        *,
        databases: Iterable[str] = ("mallku",),
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._settings = settings or ArangoSettings()
        self._names = tuple(check_name(name, "database") for name in databases)
        self._clock = clock
        self._blocking = Blocking(self._settings, clock)
        self._servers: dict[str, Server] = {}
        self._readers: dict[str, Server] = {}
        self._writers: dict[str, Server] = {}
        self._clients: Clients | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._room = WaitingRoom(self._carry_out_group, self._settings)
        self._desk = Desk(self._begin_timed, self._begin_end)
        self._durability: Durability | None = None
        self._under_way = 0
        self._stopping = False

    def __repr__(self) -> str:
        return f"ArangoStore({self._settings.url!r}, databases={self._names})"

    @property
    def durability(self) -> Durability:
        """What a commit survives, as the database itself told at the start."""
        if self._durability is None:
            raise ConfigurationError("the store has not been started")
        return self._durability

    async def start(self) -> None:
        """Connect, make the ledgers that are missing, read how durable the databases are.

        Raises:
            ConfigurationError: a setting, file, name or password is wrong, or a database missing.
            Unavailable: no coordinator can be reached.
        """
        if self._servers:
            raise ConfigurationError("the store is running already")
        if not self._names:
            raise ConfigurationError("the store was given no database")
        self._clients = clients = make_clients(self._settings)
        size = self._settings.connections
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="store-arango")
        servers = self._as(clients.own)
        readers, writers = self._as(clients.reading), self._as(clients.writing)
        try:
            levels = [await self._run(prepare, server) for server in servers.values()]
            for server in (*readers.values(), *writers.values()):
                await self._run(check_entry, server)
        except BaseException:
            await self.stop()
            raise
        self._durability = min(levels)
        self._servers, self._readers, self._writers = servers, readers, writers
        self._stopping = False

    async def stop(self) -> None:
        """Finish what was accepted, end the threads, close the connections."""
        self._stopping = True
        await self._room.close()
        await self._desk.close()
        self._servers = {}
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._threads = None
        if self._clients is not None:
            self._clients.close()
            self._clients = None

    def _as(self, client: LeanClient) -> dict[str, Server]:
        return {name: Server(client, name, self._settings) for name in self._names}

    async def execute(self, work: Work) -> Done:
        """Carry out one operation; effect and ledger entry in one commit.

        Raises:
            RequestError: the work cannot be carried out as it stands; nothing was done.
            Unavailable, DeadlineExceeded, StoreFailure: nothing was done.
            OutcomeUnknown: it may have been done.
        """
        server = self._server(work.database)
        name = work.operation.name
        if name not in WRITE_OPERATIONS and name not in READ_OPERATIONS and name != "aql":
            raise NotSupported(f"{name} is not supported by the ArangoDB store")
        refuse_late(work.deadline_ms, self._clock())
        _check_collection(work)
        if self._stopping:
            raise Unavailable("the store is stopping")
        if self._under_way >= self._settings.queue_works:
            raise Unavailable(f"{self._under_way} works wait already", retry_after=RETRY_AFTER_S)
        self._under_way += 1
        try:
            return await self._execute(server, work)
        finally:
            self._under_way -= 1

    async def _execute(self, server: Server, work: Work) -> Done:
        if work.operation.name in READ_OPERATIONS:
            return await self._run(self._blocking.read, server, work)
        if work.operation.name in catalog.CHANGES:
            return await self._run(self._blocking.administer, server, work)
        if work.operation.name == "aql" and not runnable(work).modifies:
            return await self._run_query(work)
        prepared = combining.prepare(work, self._settings, self._clock())
        if prepared is not None:
            return await self._room.submit(prepared)
        if work.operation.name == "aql":
            server = self._for_query(work.database, runnable(work))
        [outcome] = await self._run(self._blocking.write, server, [work])
        if isinstance(outcome, MallkuError):
            raise outcome
        return outcome

    async def collections_of(self, database: str, query: RunnableQuery) -> QueryCollections:
        """The collections that a query would use, as the database itself explains it."""
        server = self._for_query(database, query)
        return await self._run(within, RECALL_S, queries.collections_of, server, query)

    async def _run_query(self, work: Work) -> Done:
        """The first page of a reading query, and its cursor where there are more."""
        server = self._for_query(work.database, runnable(work))
        if runnable(work).arguments.explain:
            explained = await self._begin_timed(work.deadline_ms, queries.explain, server, work)
            return Done(explained)
        rows, result = await self._desk.open(work.deadline_ms, queries.read, server, work)
        if not result["more"]:
            return Done(result)
        size = runnable(work).arguments.batch_size
        return Done(result, cursor=ArangoCursor(self._desk, rows, size))

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """The ledger's entry under `key`; `settled` waits for every write that may be under way.

        A change of the catalog is entered as begun before it is made, so that "none" is a "no" for
        these too; of one that is begun and not finished nobody can say by its entry.
        """
        recall = recalling.recall_settled if settled else recalling.recall
        return await self._run(within, RECALL_S, recall, self._server(database), key)

    async def clock(self, database: str) -> StoreClock:
        """The database's own clock; its TTL index may remove whatever has expired by it."""
        now_ms = await self._run(within, RECALL_S, recalling.clock, self._server(database))
        return StoreClock(now_ms, now_ms)

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The entry of the owner's mutation that this transmission committed."""
        server = self._server(database)
        recall = recalling.recall_transmission
        return await self._run(within, RECALL_S, recall, server, transmission, owner)

    def _server(self, name: str) -> Server:
        found = self._servers.get(name)
        if found is not None:
            return found
        if name in self._names:
            raise Unavailable("the store is not running")
        raise DatabaseNotFound(f"there is no database {name}", details={"name": name})

    def _for_query(self, database: str, query: RunnableQuery) -> Server:
        """The database as the user that needs to do no more than the query."""
        self._server(database)
        return (self._writers if analyse(query.tree).modifies else self._readers)[database]

    async def _run(self, act: Callable[..., T], *arguments: object) -> T:
        """Cut off, what was not begun is not; what was goes on, and nobody learns its outcome."""
        return await self._begin(act, *arguments)

    def _begin(self, act: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        threads = self._threads
        if threads is None:
            raise Unavailable("the store is not running")
        return asyncio.get_running_loop().run_in_executor(threads, act, *arguments)

    def _begin_timed(
        self, deadline_ms: int, act: Callable[..., T], *arguments: object
    ) -> asyncio.Future[T]:
        return self._begin(self._blocking.timed, deadline_ms, act, *arguments)

    def _begin_end(self, rows: Rows) -> asyncio.Future[None]:
        return self._begin(within, RECALL_S, rows.close)

    async def _carry_out_group(self, prepared: Sequence[Prepared]) -> list[Outcome]:
        server = self._server(prepared[0].work.database)
        return await self._run(self._blocking.write_combined, server, prepared)


def _check_collection(work: Work) -> None:
    """Nobody reaches the gateway's own collections, or a name that none can have."""
    if work.operation.scope is Scope.DATABASE:
        return
    if work.operation.name == "create-collection":
        check_new_name(work.collection)
    elif is_reserved(work.collection) or not is_collection_name(work.collection):
        name = work.collection
        raise CollectionNotFound(f"there is no collection {name:.80}", details={"name": name})
