"""The reading threads: one for look-ups by key, one for searches, so that neither waits long.

A read is one snapshot of the database; it never waits for a writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog

from mallku_contracts import arguments as a
from mallku_contracts.errors import DeadlineExceeded, MallkuError, NotSupported, StoreFailure
from mallku_workers.stores.base import Done, Work
from mallku_workers.stores.documents import is_key, locate
from mallku_workers.stores.embedded import reads
from mallku_workers.stores.embedded.catalog import (
    Catalog,
    Collection,
    catalog_version,
    load_catalog,
)
from mallku_workers.stores.embedded.collections import list_collections
from mallku_workers.stores.embedded.faults import is_gone, translate
from mallku_workers.stores.embedded.graphs import list_graphs
from mallku_workers.stores.embedded.indexes import list_indexes
from mallku_workers.stores.embedded.lane import Job
from mallku_workers.stores.embedded.ledger import recall, recall_transmission, remembers_ms
from mallku_workers.stores.embedded.reads import Lookups, Snapshot
from mallku_workers.stores.embedded.schema import connect
from mallku_workers.stores.embedded.session import STEPS_BETWEEN_LOOKS
from mallku_workers.stores.embedded.settings import EmbeddedSettings

_log = structlog.get_logger("mallku.store")

POINTS = frozenset({"get", "exists"})
"""Operations that are answered together."""

SCANS = frozenset({"find", "count"})
"""Operations that may take long."""


@dataclass(frozen=True, slots=True)
class Recall:
    """A look into the ledger by key."""

    key: str


@dataclass(frozen=True, slots=True)
class Remembers:
    """How far back the ledger remembers."""


@dataclass(frozen=True, slots=True)
class RecallTransmission:
    """A look into the ledger by transmission, at keys that begin with `owner`."""

    transmission: str
    owner: str


Read = Callable[[Snapshot, Catalog, str, Any], Any]

READS: dict[str, Read] = {
    "get-many": lambda s, c, name, args: reads.get_many(s, c.collection(name), args),
    "find": lambda s, c, name, args: reads.find(s, c.collection(name), args),
    "count": lambda s, c, name, args: reads.count(s, c.collection(name), args),
    "list-collections": lambda _s, c, _name, _args: list_collections(c),
    "describe-collection": lambda s, c, name, _args: reads.describe(s, c.collection(name)),
    "list-graphs": lambda _s, c, _name, _args: list_graphs(c),
    "list-indexes": lambda _s, c, name, _args: list_indexes(c.collection(name)),
}
"""Every read that is answered alone."""


class Reader:
    """Answers reads from one connection of its own.

    Args:
        clock: Unix milliseconds.
    """

    def __init__(self, path: Path, settings: EmbeddedSettings, clock: Callable[[], int]) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._catalog = Catalog(0, {})

    def serve(self, jobs: list[Job]) -> list[Job]:
        """Answer all of them."""
        points: dict[str, list[Job]] = {}
        for job in jobs:
            if job.future.cancelled():
                continue
            if isinstance(job.task, Work) and job.task.operation.name in POINTS:
                points.setdefault(job.task.collection, []).append(job)
            else:
                self._settle([job], partial(self._answer, job))
        for name, some in points.items():
            self._settle(some, partial(self._look_up, name, some))
        return []

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _settle(self, jobs: list[Job], answer: Callable[[], None]) -> None:
        """Run `answer`, and give its failure to every job that has no answer of its own."""
        error: MallkuError
        try:
            answer()
        except MallkuError as refusal:
            error = refusal
        except sqlite3.Error as fault:
            self.close()
            error = translate(fault)
        except Exception:  # noqa: BLE001 - see below
            # A thread that dies would leave every caller waiting.
            _log.exception("a read failed unexpectedly")
            self.close()
            error = StoreFailure("the store failed unexpectedly")
        else:
            return
        for job in jobs:
            if job.result is None and job.error is None:
                job.error = error
        del error  # its traceback holds this frame

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, self._settings)
        return self._connection

    # Look-ups by key

    def _look_up(self, name: str, jobs: list[Job]) -> None:
        """One statement for all that ask for documents of one collection."""
        connection = self._opened()
        try:
            self._look_up_in(connection, self._known(connection, name), jobs)
        except sqlite3.OperationalError as error:
            if not is_gone(error):
                raise
            with _snapshot(connection):
                self._catalog = load_catalog(connection)
                self._look_up_in(connection, self._catalog.collection(name), jobs)

    def _known(self, connection: sqlite3.Connection, name: str) -> Collection:
        if name not in self._catalog.collections:
            with _snapshot(connection):
                self._catalog = load_catalog(connection)
        return self._catalog.collection(name)

    def _look_up_in(
        self, connection: sqlite3.Connection, collection: Collection, jobs: list[Job]
    ) -> None:
        now_ms = self._clock()
        lookups = Lookups(connection, collection)
        wanted: list[tuple[Job, str]] = []
        for job in jobs:
            try:
                wanted.append((job, _located(collection, job.task, now_ms)))
            except MallkuError as error:
                job.error = error
        lookups.fetch([key for _, key in wanted if is_key(key)])
        for job, key in wanted:
            try:
                document = lookups.get(key, job.task.arguments, job.task.rules)
            except MallkuError as error:
                job.error = error
            else:
                is_there = document is not None
                job.result = Done(document if job.task.operation.name == "get" else is_there)

    # Everything else

    def _answer(self, job: Job) -> None:
        connection = self._opened()
        task = job.task
        if isinstance(task, Recall | RecallTransmission | Remembers):
            job.result = self._recall(connection, task)
            return
        read = READS.get(task.operation.name)
        if read is None:
            raise NotSupported(f"{task.operation.name} is not supported by the embedded store")

        def check() -> None:
            _check_deadline(task, self._clock())

        connection.set_progress_handler(
            lambda: self._clock() > task.deadline_ms, STEPS_BETWEEN_LOOKS
        )
        try:
            with _snapshot(connection):
                if catalog_version(connection) != self._catalog.version:
                    self._catalog = load_catalog(connection)
                check()
                snapshot = Snapshot(connection, self._settings, check, task.rules)
                job.result = Done(read(snapshot, self._catalog, task.collection, task.arguments))
        finally:
            connection.set_progress_handler(None, 0)

    def _recall(
        self, connection: sqlite3.Connection, task: Recall | RecallTransmission | Remembers
    ) -> Any:
        if isinstance(task, Remembers):
            return remembers_ms(connection)
        if isinstance(task, Recall):
            return recall(connection, task.key, self._clock())
        return recall_transmission(connection, task.transmission, task.owner, self._clock())


def _located(collection: Collection, work: Work, now_ms: int) -> str:
    _check_deadline(work, now_ms)
    return locate(collection, cast("a.Get", work.arguments).document)[0]


def _check_deadline(work: Work, now_ms: int) -> None:
    if now_ms > work.deadline_ms:
        raise DeadlineExceeded("the caller's time was over before the read was")


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """Let several statements see the same state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
