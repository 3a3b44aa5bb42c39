"""The embedded store: ArangoDB's semantics over SQLite files, without a database server.

Each database has one file, and in each process one writing thread, two reading threads and some for
queries; any number of processes may work on the same files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mallku_broker.files import make_private_folder
from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    ConfigurationError,
    DatabaseNotFound,
    NotSupported,
    Unavailable,
)
from mallku_contracts.subjects import check_name
from mallku_workers.stores.base import (
    Done,
    LedgerEntry,
    QueryCollections,
    RunnableQuery,
    StoreClock,
    Work,
)
from mallku_workers.stores.embedded.document_writes import SEVERAL, SINGLE
from mallku_workers.stores.embedded.handlers import CATALOG, TOGETHER
from mallku_workers.stores.embedded.lane import Lane
from mallku_workers.stores.embedded.queries import Queries
from mallku_workers.stores.embedded.reader import (
    POINTS,
    READS,
    SCANS,
    Reader,
    Recall,
    RecallTransmission,
    Remembers,
)
from mallku_workers.stores.embedded.schema import (
    connect,
    prepare_file,
    read_durability,
)
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.writer import SettledRecall, Writer

WRITE_OPERATIONS = frozenset({*SINGLE, *SEVERAL, *CATALOG, *TOGETHER})
"""Mutations that this store carries out."""

READ_OPERATIONS = frozenset({*POINTS, *READS})
"""Reads that this store answers; `outcome` is the pipeline's, through `recall`."""


def wall_clock_ms() -> int:
    """The machine's clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Database:
    """One file with its threads."""

    def __init__(self, path: Path, settings: EmbeddedSettings, clock: Callable[[], int]) -> None:
        limit, group = settings.queue_works, settings.group_works
        name = f"store-{path.stem}"
        self.writes = Lane(f"{name}-write", Writer(path, settings, clock), limit=limit, group=group)
        self.points = Lane(f"{name}-read", Reader(path, settings, clock), limit=limit, group=group)
        self.scans = Lane(f"{name}-search", Reader(path, settings, clock), limit=limit, group=group)
        self.queries = Queries(path.stem, path, settings, clock)

    async def stop(self) -> None:
        """Finish what was accepted and end the threads."""
        await asyncio.gather(
            self.writes.stop(), self.points.stop(), self.scans.stop(), self.queries.stop()
        )


class EmbeddedStore:
    """Documents, collections, indexes and the ledger in SQLite files (WAL).

    Args:
        directory: Where the files lie; made with mode 0700, refused when open to others.
        settings: Limits and durability.
        databases: The names of the databases; each is made at the start if it is missing.
        clock: Unix milliseconds; deadlines and expiry are judged by it.
    """

    name = "embedded"

    def __init__(
        self,
        directory: Path,
        *,
        settings: EmbeddedSettings | None = None,
        databases: Iterable[str] = ("mallku",),
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._directory = directory
        self._settings = settings or EmbeddedSettings()
        self._names = tuple(check_name(name, "database") for name in databases)
        self._clock = clock
        self._databases: dict[str, Database] = {}
        self._durability: Durability | None = None

    @property
    def durability(self) -> Durability:
        """What a commit survives, as the database itself told at the start."""
        if self._durability is None:
            raise ConfigurationError("the store has not been started")
        return self._durability

    async def start(self) -> None:
        """Make or open the files and start the threads.

        Raises:
            ConfigurationError: the directory is open to others, or a file is of another version.
            Unavailable, StoreFailure: a file cannot be used.
        """
        if self._databases:
            raise ConfigurationError("the store is running already")
        levels = await asyncio.to_thread(self._prepare)
        self._durability = min(levels)
        for name in self._names:
            self._databases[name] = Database(self._path(name), self._settings, self._clock)

    async def stop(self) -> None:
        """Finish what was accepted, end the threads, close the files."""
        databases = list(self._databases.values())
        await asyncio.gather(*(database.stop() for database in databases))
        self._databases.clear()

    async def execute(self, work: Work) -> Done:
        """Carry out one operation; effect and ledger entry in one commit.

        Raises:
            RequestError: the work cannot be carried out as it stands; nothing was done.
            Unavailable, DeadlineExceeded, StoreFailure: nothing was done.
            OutcomeUnknown: the commit failed and may nevertheless be found on the disk.
        """
        database = self._database(work.database)
        name = work.operation.name
        if work.query is not None and not work.query.modifies:
            return await database.queries.run(work)
        if name in WRITE_OPERATIONS:
            done: Done = await database.writes.submit(work)
        elif name in SCANS:
            done = await database.scans.submit(work)
        elif name in READ_OPERATIONS:
            done = await database.points.submit(work)
        else:
            raise NotSupported(f"{name} is not supported by the embedded store")
        return done

    async def collections_of(self, database: str, query: RunnableQuery) -> QueryCollections:
        """The collections that a query would use, those of named graphs included."""
        return await self._database(database).queries.collections_of(query)

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """The ledger's entry under `key`; `settled` waits for every write that may be under way."""
        lanes = self._database(database)
        task: Any = SettledRecall(key) if settled else Recall(key=key)
        entry: LedgerEntry | None = await (lanes.writes if settled else lanes.points).submit(task)
        return entry

    async def clock(self, database: str) -> StoreClock:
        """The machine's clock, which is this store's, and what the ledger in the file remembers."""
        now_ms = self._clock()
        return StoreClock(now_ms, await self._database(database).points.submit(Remembers()))

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The entry of the owner's mutation that this transmission committed."""
        lane = self._database(database).points
        entry: LedgerEntry | None = await lane.submit(RecallTransmission(transmission, owner))
        return entry

    def _database(self, name: str) -> Database:
        found = self._databases.get(name)
        if found is not None:
            return found
        if name in self._names:
            raise Unavailable("the store is not running")
        raise DatabaseNotFound(f"there is no database {name}", details={"name": name})

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.sqlite"

    def _prepare(self) -> list[Durability]:
        if not self._names:
            raise ConfigurationError("the store was given no database")
        make_private_folder(self._directory, "store directory")
        levels: list[Durability] = []
        for name in self._names:
            prepare_file(self._path(name), self._settings)
            connection = connect(self._path(name), self._settings)
            try:
                levels.append(read_durability(connection))
            finally:
                connection.close()
        return levels
