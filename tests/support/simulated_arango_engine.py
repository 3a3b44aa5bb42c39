"""The database inside the simulated ArangoDB: one engine for a database, one writer at a time.

Documents, keys, revisions, unique indexes and AQL are the embedded engine's; what ArangoDB does
otherwise is said here. None of the gateway's own limits hold.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mallku_contracts import arguments as a
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.tree import Query
from mallku_contracts.errors import CollectionNotFound, GraphNotFound, MallkuError, RevisionMismatch
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded import writes
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.catalog import Collection, load_catalog
from mallku_workers.stores.embedded.schema import connect, prepare_file
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.settings import EmbeddedSettings

HUGE = 2**40
FOREVER_MS = 2**47
_LOOK_S = 0.05
_BY_PRIMARY = re.compile(r"FILTER d\._key > @after SORT d\._key LIMIT")


class Fault(Exception):
    """An error by ArangoDB's number."""

    def __init__(self, number: int, status: int, message: str) -> None:
        super().__init__(message)
        self.number, self.status, self.message = number, status, message


class _Session(Session):
    def _weigh(self, document: a.Document, size: int) -> None:
        """Neither depth nor the size of a transaction is a concern of a database."""


@dataclass
class Transaction:
    """An open transaction: the only one of its database."""

    session: Session
    number: str = ""
    lock: bool = False
    used_s: float = field(default_factory=time.monotonic)


@dataclass
class Engine:
    """One database.

    Attributes:
        extra: Indexes of types that the engine has no use for, by collection.
        properties: What a collection says of its durability.
        idle_s: A stream transaction that nobody uses for so long is undone, seconds
            (`--transaction.streaming-idle-timeout`).
    """

    path: Path
    clock: Callable[[], int]
    extra: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    open: dict[str, Transaction] = field(default_factory=dict)
    idle_s: float = 60.0
    _free: threading.Condition = field(default_factory=threading.Condition)
    _door: threading.RLock = field(default_factory=threading.RLock)
    _busy: bool = False

    def __post_init__(self) -> None:
        self.settings = EmbeddedSettings.model_construct(
            None, **{**EmbeddedSettings().model_dump(), "max_document_bytes": HUGE}
        )
        prepare_file(self.path, self.settings)
        self._connection = connect(self.path, self.settings)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    # Transactions

    @contextmanager
    def session(self, number: str | None = None) -> Generator[Session]:
        """A transaction of its own, or the stream transaction of this number."""
        if number is not None:
            with self._door:
                if number not in self.open:
                    raise Fault(1655, 404, "transaction not found")
                self.open[number].used_s = time.monotonic()
                yield self.open[number].session
            return
        self._acquire(30.0)
        try:
            session = self._begin()
            yield session
            self._commit(session)
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._release()

    @contextmanager
    def catalog(self) -> Generator[Session]:
        """For collections, indexes and graphs: no stream transaction stands in their way.

        One that holds the ledger, and has written nothing yet, stands beside the change.
        """
        with self._door:
            lock = next((one for one in self.open.values() if one.lock), None)
            if lock is not None:
                with self._beside(lock) as session:
                    yield session
                return
        with self.session() as session:
            yield session

    @contextmanager
    def _beside(self, lock: Transaction) -> Generator[Session]:
        try:
            yield lock.session
            self._commit(lock.session)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        finally:
            lock.session = self._begin()

    def begin(self, number: str, lock_timeout_s: float, *, lock: bool = False) -> None:
        """A stream transaction; the others wait. `lock` says that it holds the ledger alone."""
        self._acquire(lock_timeout_s)
        self.open[number] = Transaction(self._begin(), number, lock)

    def end(self, number: str, *, commit: bool) -> None:
        """Commit or undo a stream transaction."""
        with self._door:
            transaction = self.open.pop(number, None)
            if transaction is None:
                raise Fault(1655, 404, "transaction not found")
            try:
                if commit:
                    self._commit(transaction.session)
                else:
                    self._connection.execute("ROLLBACK")
            finally:
                self._release()

    def _acquire(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while True:
            with self._free:
                if self._free.wait_for(lambda: not self._busy, min(timeout_s, _LOOK_S)):
                    self._busy = True
                    return
            if time.monotonic() >= end:
                raise Fault(18, 409, "lock timeout")
            self._undo_idle()

    def _undo_idle(self) -> None:
        """What a client began that died meanwhile."""
        with self._door:
            for number, one in list(self.open.items()):
                if time.monotonic() - one.used_s > self.idle_s:
                    self.end(number, commit=False)

    def _release(self) -> None:
        with self._free:
            self._busy = False
            self._free.notify()

    def _begin(self) -> Session:
        self._connection.execute("BEGIN IMMEDIATE")
        (tick,) = self._connection.execute("SELECT tick FROM mallku_state").fetchone()
        catalog = load_catalog(self._connection)
        session = _Session(self._connection, catalog, tick, self.settings, self.clock)
        session.deadline_ms = FOREVER_MS
        return session

    def _commit(self, session: Session) -> None:
        session.finish()
        self._connection.execute("COMMIT")

    # Catalog

    def create_collection(self, session: Session, name: str, *, edge: bool) -> Collection:
        """A new collection, of any name that ArangoDB takes."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,255}", name):
            raise Fault(1208, 400, "illegal name")
        if name in session.catalog.collections:
            raise Fault(1207, 409, f"duplicate name: {name}")
        collection = Collection(session.next_tick(), name, edge, numeric_keys=False)
        session.connection.execute(
            "INSERT INTO mallku_collections (id, name, is_edge, numeric_keys, documents)"
            " VALUES (?, ?, ?, 0, 0)",
            (collection.id, name, edge),
        )
        session.connection.execute(collection.create_sql)
        for index in collection.indexes:
            session.connection.execute(collection.create_index_sql(index))
        session.change_catalog()
        return collection

    def collection(self, session: Session, name: str) -> Collection:
        """A collection; error 1203 where there is none."""
        known = session.catalog.collections.get(name)
        if known is None:
            raise Fault(1203, 404, f"collection or view not found: {name}")
        return known

    # Documents

    def write(
        self,
        session: Session,
        operation: str,
        collection: Collection,
        document: Any,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        """One document through the document API; its error undoes nothing but itself."""
        act, model = _ACTS[operation]
        arguments = model(document=document, **options)
        work = Work(OPERATIONS[operation], "", collection.name, arguments, FOREVER_MS)
        session.begin_work(work, savepoint=True)
        try:
            result = act(session, collection, arguments)
        except BaseException:
            session.undo_work(savepoint=True)
            raise
        session.keep_work(savepoint=True)
        if "_old_rev" in result:
            result["_oldRev"] = result.pop("_old_rev")
        return dict(result)

    # Queries

    def query(self, session: Session, body: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """All rows of a query, and what it has to say besides."""
        text, binds, options = body["query"], body.get("bindVars", {}), body.get("options", {})
        tree = parse(_BY_PRIMARY.sub(_BYTES, text))
        check_run(tree, binds)
        now = self.clock()
        _check_revisions(session, text, binds)
        runtime_s = float(options.get("maxRuntime", 0))
        work = Work(OPERATIONS["count"], "", "", a.Count(), FOREVER_MS)
        session.begin_work(work, savepoint=True)
        session.deadline_ms = now + int(runtime_s * 1000) if runtime_s else FOREVER_MS
        circumstances = Circumstances(
            now_ms=now,
            memory_bytes=body.get("memoryLimit") or HUGE,
            full_count=options.get("fullCount", False),
            fail_on_warning=options.get("failOnWarning", False),
        )
        try:
            execution = evaluate(tree, binds, SessionSource(session), circumstances)
            rows = list(execution.rows)
        except BaseException:
            session.undo_work(savepoint=True)
            raise
        finally:
            session.deadline_ms = FOREVER_MS
        session.keep_work(savepoint=True)
        warnings = [{"code": code, "message": text} for code, text in execution.warnings]
        done = execution.statistics
        stats = {"writesExecuted": done.writes_executed, "writesIgnored": done.writes_ignored}
        if options.get("fullCount"):
            stats["fullCount"] = len(rows) if done.full_count is None else done.full_count
        return rows, {"warnings": warnings, "stats": stats}

    def explain(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """The collections of a query with what is done to them, graphs spelled out."""
        tree, binds = parse(body["query"]), body.get("bindVars", {})
        check_run(tree, binds)
        found = analyse(tree)
        writes = found.write_names(binds)
        reads = set(found.read_names(binds))
        for name in found.graph_names(binds):
            if name not in session.catalog.graphs:
                raise Fault(1924, 404, f"graph '{name}' not found")
            reads |= set(session.catalog.graphs[name].members)
        for name in (*writes, *reads):
            self.collection(session, name)
        used = [{"name": name, "type": "write"} for name in sorted(writes)]
        used += [{"name": name, "type": "read"} for name in sorted(reads - writes.keys())]
        return {"collections": used, "nodes": self._nodes(session, tree, binds)}

    def _nodes(self, session: Session, tree: Query, binds: dict[str, Any]) -> list[dict[str, Any]]:
        """How each loop over a collection gets at its documents, as the evaluator decides it.

        ArangoDB's plans say far more; this is what is common to both.
        """
        circumstances = Circumstances(now_ms=self.clock(), memory_bytes=HUGE)
        execution = evaluate(tree, binds, SessionSource(session), circumstances)
        return [_node(one) for one in execution.run.explained]


_BYTES = "FILTER TO_HEX(d._key) > TO_HEX(@after) SORT TO_HEX(d._key) LIMIT"
"""The order of a primary index is that of the bytes of keys."""

_ACTS: dict[str, tuple[Any, Any]] = {
    "insert": (writes.insert, a.Insert),
    "update": (writes.update, a.Update),
    "replace": (writes.replace, a.Replace),
    "delete": (writes.delete, a.Delete),
}


def _node(way: dict[str, Any]) -> dict[str, Any]:
    """A way to documents as a node of ArangoDB's; the primary index is one of its indexes."""
    if way["access"] == "full":
        return {"type": "EnumerateCollectionNode", "collection": way["collection"]}
    kind = "primary" if way["access"] == "primary" else "persistent"
    index = {"type": kind, "name": way["access"]}
    return {"type": "IndexNode", "collection": way["collection"], "indexes": [index]}


def _check_revisions(session: Session, text: str, binds: dict[str, Any]) -> None:
    """`ignoreRevs: false`, which the evaluator does not know: here for `@works` with a target."""
    if "ignoreRevs: false" not in text:
        return
    collection = session.catalog.collection(binds["@collection"])
    for work in binds["works"]:
        target = work["target"]
        known = session.get(collection, target["_key"])
        if known is not None and "_rev" in target and known["_rev"] != target["_rev"]:
            raise Fault(1200, 409, "AQL: conflict, _rev values do not match (while executing)")


def wall_clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def fault_of(error: MallkuError) -> Fault:
    """ArangoDB's error for one of the engine's."""
    number = error.error_code or 4
    status = {32: 500, 1500: 410}.get(number, error.http_code)
    message = error.message
    if number == 1210:
        message = "unique constraint violated"
        details = error.details
        if "fields" in details:
            fields = ", ".join(details["fields"])
            message += f" - in index {details['index']} of type persistent over '{fields}'"
        else:
            message += " - in index primary of type primary over '_key'"
    if isinstance(error, CollectionNotFound):
        message = f"AQL: collection or view not found: {error.details['name']} (while parsing)"
    if isinstance(error, GraphNotFound):
        message = f"graph '{error.details['name']}' not found"
    if isinstance(error, RevisionMismatch):
        message = "conflict, _rev values do not match"
    if error.code == "deadline_exceeded":
        number, status, message = 1500, 410, "query killed"
    return Fault(number, status, message)
