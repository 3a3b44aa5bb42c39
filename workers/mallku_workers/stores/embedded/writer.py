"""The writing thread: everything that waits goes into one transaction and one commit.

1. Take the write lock, waiting for other processes no longer than the settings and deadlines say.
2. Read the tick, the catalog if it changed, and what the group is known to need.
3. Each work in turn: deadline by the store's clock, ledger, effect, ledger entry. A work that
   fails is undone and the others do not notice.
4. Write what they left, commit once, and only then answer.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from mallku_contracts.arguments import is_dry_run
from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    MallkuError,
    StoreFailure,
    Unavailable,
)
from mallku_workers.stores.base import Done, LedgerEntry, Work
from mallku_workers.stores.dry_run import foreseen
from mallku_workers.stores.embedded import faults
from mallku_workers.stores.embedded.catalog import Catalog, load_catalog
from mallku_workers.stores.embedded.handlers import carry_out, needs_savepoint, prefetch_all
from mallku_workers.stores.embedded.lane import Job
from mallku_workers.stores.embedded.ledger import Ledger, recall
from mallku_workers.stores.embedded.schema import connect, file_identity
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.turn import Turn

FIRST_WAIT_S: Final = 0.000_25
"""Before the second try for the turn or the write lock, seconds; it doubles with every try."""

LONGEST_WAIT_S: Final = 0.002
"""Between two such tries, seconds."""

_MS_PER_S: Final = 1_000
_log = structlog.get_logger("mallku.store")


EVER_MS: Final = 0
"""Every entry expires later than this."""


@dataclass(frozen=True, slots=True)
class SettledRecall:
    """A look into the ledger under the write lock."""

    key: str


class Writer:
    """Carries out mutations over one connection of its own.

    Args:
        clock: Unix milliseconds.
    """

    def __init__(self, path: Path, settings: EmbeddedSettings, clock: Callable[[], int]) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._catalog = Catalog(0, {})
        self._turn = Turn(path)
        self._pause = threading.Event()
        self._sweeps_from = time.monotonic() + settings.ledger_sweep_after_s

    def serve(self, jobs: list[Job]) -> list[Job]:
        """Carry out the first of them in one transaction; those that are left."""
        live = [job for job in jobs if not job.future.cancelled()]
        try:
            return self._transaction(live)
        except MallkuError as refusal:
            self._fail(live, refusal)
        except sqlite3.Error as fault:
            self._fail(live, faults.translate(fault))
        except Exception:  # noqa: BLE001 - see below
            # A thread that dies would leave every caller waiting.
            _log.exception("a group of writes failed unexpectedly")
            self._fail(live, StoreFailure("the store failed unexpectedly; nothing was done"))
        return []

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back by that."""
        self._turn.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fail(self, jobs: list[Job], error: MallkuError) -> None:
        """Nothing is left of the transaction: everybody in it learns that, in the same words."""
        self.close()
        for job in jobs:
            # Refusals of a work's own stay what they are; successes were not committed.
            if job.error is None:
                job.result, job.error = None, error

    def _opened(self) -> sqlite3.Connection:
        # A file that was removed or replaced under us would swallow what it acknowledges.
        file = file_identity(self._path)
        if self._connection is not None and file != self._file:
            self.close()
        if self._connection is None:
            self._connection = connect(self._path, self._settings)
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._file = file
            self._catalog = Catalog(0, {})
        return self._connection

    # The transaction

    def _transaction(self, jobs: list[Job]) -> list[Job]:
        if not jobs:
            return []
        connection = self._opened()
        if not self._lock(connection, jobs):
            return [job for job in jobs if job.error is None]
        session, ledger = self._begin(connection, jobs)
        left: list[Job] = []
        for place, job in enumerate(jobs):
            if session.bytes > self._settings.group_bytes:
                left = jobs[place:]
                break
            self._run(session, ledger, job)
        ledger.flush(self._clock(), sweep=time.monotonic() >= self._sweeps_from)
        changed = session.finish()
        self._commit(connection)
        self._catalog = Catalog(0, {}) if changed else session.catalog
        return left

    def _begin(self, connection: sqlite3.Connection, jobs: list[Job]) -> tuple[Session, Ledger]:
        tick, version = connection.execute("SELECT tick, catalog FROM mallku_state").fetchone()
        if version != self._catalog.version:
            self._catalog = load_catalog(connection)
        session = Session(connection, self._catalog, tick, self._settings, self._clock)
        ledger = Ledger(connection, self._settings)
        works = [job.task for job in jobs if isinstance(job.task, Work)]
        keys = [work.claim.key for work in works if work.claim is not None]
        if keys:
            ledger.prefetch(keys, self._clock())
        prefetch_all(session, works)
        return session, ledger

    def _run(self, session: Session, ledger: Ledger, job: Job) -> None:
        """Carry out one work, whose failure is its own."""
        if isinstance(job.task, SettledRecall):
            job.result = self._recall(session, ledger, job.task)
            return
        if self._clock() > job.task.deadline_ms:
            job.error = DeadlineExceeded("the caller's time was over before the work began")
            return
        savepoint = needs_savepoint(session, job.task)
        session.begin_work(job.task, savepoint=savepoint)
        try:
            job.result = _carry_out_once(session, ledger, job.task)
        except MallkuError as refusal:
            job.error = refusal
        except sqlite3.Error as fault:
            if not session.connection.in_transaction:
                raise
            job.error = faults.translate(fault)
        except Exception:  # noqa: BLE001 - the other works of the group shall not suffer
            _log.exception("a write failed unexpectedly", operation=job.task.operation.name)
            job.error = StoreFailure("the store failed unexpectedly; nothing was done")
        if job.error is None and not is_dry_run(job.task.arguments):
            session.keep_work(savepoint=savepoint)
        else:
            session.undo_work(savepoint=savepoint)

    def _recall(self, session: Session, ledger: Ledger, task: SettledRecall) -> LedgerEntry | None:
        found = ledger.find(task.key)
        if found is not None:
            return found.opened()
        return recall(session.connection, task.key, EVER_MS)

    # The lock and the commit

    def _lock(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """Take the write lock; False as soon as some of the jobs have waited too long for it."""
        if not self._patiently(self._turn.try_take, jobs):
            return False
        try:
            return self._patiently(partial(_try_begin, connection), jobs)
        finally:
            self._turn.give_back()

    def _patiently(self, attempt: Callable[[], bool], jobs: list[Job]) -> bool:
        wait_s = FIRST_WAIT_S
        while not attempt():
            if self._refuse_late(jobs):
                return False
            self._pause.wait(wait_s * (0.5 + random.random()))  # noqa: S311 - only spreads tries
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        return True

    def _refuse_late(self, jobs: list[Job]) -> bool:
        now_ms, now = self._clock(), time.monotonic()
        for job in jobs:
            late = isinstance(job.task, Work) and now_ms > job.task.deadline_ms
            if late or (now - job.since) * _MS_PER_S > self._settings.busy_timeout_ms:
                job.error = Unavailable(
                    "another process is writing; nothing was done",
                    retry_after=faults.RETRY_AFTER_S,
                )
        return any(job.error is not None for job in jobs)

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._commit_error(connection, error) from None

    def _commit_error(self, connection: sqlite3.Connection, error: sqlite3.Error) -> ExecutionError:
        rolled_back = False
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
                rolled_back = True
            except sqlite3.Error:
                _log.exception("a failed commit could not be rolled back")
        return faults.translate_commit(error, rolled_back=rolled_back)


def _try_begin(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if faults.is_busy(error):
            return False
        raise
    return True


def _carry_out_once(session: Session, ledger: Ledger, work: Work) -> Done:
    if is_dry_run(work.arguments):
        return foreseen(carry_out(session, work), session.effects)
    claim = work.claim
    if claim is not None:
        entry = ledger.find(claim.key)
        if entry is not None:
            return entry.opened().answer(claim)
    result: Any = carry_out(session, work)
    effects, position = tuple(session.effects), session.next_tick()
    if claim is not None:
        ledger.add(claim, result, position, effects)
    return Done(result, effects, position)
