"""What a rebuild has understood of the trail and how far it has come, in one SQLite file.

Steps lie in it sorted by commit position, whatever the order in which their records came: an
outcome that a reconciler wrote hours later falls into its place like any other. Reading the trail
and putting steps into the target are both written down in transactions of this file, so that a
rebuild that was killed goes on where it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mallku_broker.files import make_private_folder
from mallku_contracts.errors import ConfigurationError
from mallku_workers.rebuilding.steps import Change, Step

VERSION: Final = 2

MAX_NOTES: Final = 1_000
"""Remarks that are kept with their words; those beyond are counted."""

CHUNK_STEPS: Final = 500
"""Steps that are read at once."""

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""The same, bytes; a larger step comes alone."""

MAX_POSITION: Final = 2**63 - 1
"""The highest commit position that the file can sort."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
    position INTEGER NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL,
    final INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS in_order ON steps (position, name);
CREATE TABLE IF NOT EXISTS heads (
    collection TEXT NOT NULL, key TEXT NOT NULL, revision TEXT, lost INTEGER NOT NULL,
    PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lost_heads ON heads (lost) WHERE lost;
CREATE TABLE IF NOT EXISTS indexes (
    collection TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, definition TEXT NOT NULL,
    PRIMARY KEY (collection, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS digests (collection TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which trail is made into which database; a work file belongs to one of these.

    Attributes:
        stream: The stream's name and when it was made, so that another one is not taken for it.
        database: Of the gateway.
        target: Where it is put.
        until: The last sequence or the time up to which records count; empty for all.
        collections: Those that are made; all when empty.
    """

    stream: str
    database: str
    target: str
    until: str = ""
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """A document as of the last step: its revision, None where nobody knows it.

    `lost` says that the version is not recorded, and could not be made again.
    """

    revision: str | None
    lost: bool


class WorkFile:
    """The file of one rebuild; within its block no other process goes on with the same one.

    Raises on entering:
        ConfigurationError: it belongs to another rebuild, is none of ours, or is in use.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self.resumed = path.exists()
        self._lock: int | None = None
        self._file: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        if not self.path.parent.exists():
            make_private_folder(self.path.parent)
        try:
            self._take_lock()
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _take_lock(self) -> None:
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"{self.path}: this rebuild is under way elsewhere") from None
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None

    def _open(self) -> None:
        known = json.dumps({"version": VERSION, **asdict(self.identity)}, sort_keys=True)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(self.path, isolation_level=None)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.executescript(_SCHEMA)
            self._execute("INSERT OR IGNORE INTO facts VALUES ('identity', ?)", known)
            [found] = self._execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
            self._execute("BEGIN")
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{self.path}: not the file of a rebuild ({error})") from None
        if found != known:
            raise ConfigurationError(f"{self.path}: belongs to another rebuild: {found}")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self._file is None:
            raise ConfigurationError(f"{self.path}: the rebuild is not under way")
        return self._file.execute(sql, values)

    def save(self) -> None:
        """Make everything up to here count."""
        self._execute("COMMIT")
        self._execute("BEGIN")

    def remove(self) -> None:
        """The rebuild is not needed any more."""
        self._close()
        for suffix in ("", "-wal", "-shm", ".lock"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    # What is known of the rebuild itself

    def fact(self, name: str) -> int:
        """A number that was put down under a name, 0 without."""
        row = self._execute("SELECT value FROM facts WHERE name = ?", name).fetchone()
        return 0 if row is None else int(row[0])

    def put_fact(self, name: str, value: int) -> None:
        """Put a number down under a name."""
        self._execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, str(value))

    def note(self, kind: str, text: str) -> None:
        """Keep a remark; `MAX_NOTES` of a kind with their words, all counted."""
        count = self.fact(kind)
        self.put_fact(kind, count + 1)
        if count < MAX_NOTES:
            self._execute("INSERT INTO notes VALUES (?, ?)", kind, text)

    def notes(self, kind: str) -> list[str]:
        """The remarks of a kind that were kept."""
        return [text for (text,) in self._execute("SELECT text FROM notes WHERE kind = ?", kind)]

    # Reading the trail

    def keep_intents(self, intents: Iterable[tuple[str, bytes]]) -> None:
        """Intents whose outcome has not been read yet."""
        for name, data in intents:
            self._execute("INSERT OR REPLACE INTO intents VALUES (?, ?)", name, data)

    def intent(self, name: str) -> bytes | None:
        """An intent that was kept."""
        row = self._execute("SELECT data FROM intents WHERE name = ?", name).fetchone()
        return None if row is None else row[0]

    def intents(self) -> list[tuple[str, bytes]]:
        """Those whose outcome was not read; as many as commands were under way at the end."""
        return self._execute("SELECT name, data FROM intents ORDER BY name").fetchall()

    def forget_intent(self, name: str) -> None:
        """Its outcome was read."""
        self._execute("DELETE FROM intents WHERE name = ?", name)

    def add(self, step: Step, *, final: bool) -> None:
        """Put a step in its place; one commit stands there once, as its own outcome says it.

        Args:
            final: It comes from a `done` record; what a reconciler found out gives way to it.
        """
        data = step.pack()
        self._execute(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (position, name) DO UPDATE SET"
            " sequence = excluded.sequence, final = excluded.final, size = excluded.size,"
            " data = excluded.data WHERE excluded.final > final",
            step.position,
            step.name,
            step.sequence,
            final,
            len(data),
            data,
        )

    def add_digest(self, collections: Iterable[str]) -> None:
        """Note collections of which the trail holds hashes alone."""
        for name in collections:
            self._execute("INSERT OR IGNORE INTO digests VALUES (?)", name)

    def digests(self) -> list[str]:
        """Those collections, by name."""
        return [name for (name,) in self._execute("SELECT collection FROM digests ORDER BY 1")]

    # Putting steps into the target

    def steps(self) -> int:
        """How many there are."""
        [count] = self._execute("SELECT count(*) FROM steps").fetchone()
        return int(count)

    def done(self) -> int:
        """How many of them are in the target."""
        sql = "SELECT count(*) FROM steps WHERE (position, name) <= (?, ?)"
        [count] = self._execute(sql, *self.place()).fetchone()
        return int(count)

    def steps_behind(self, position: int, name: str) -> list[Step]:
        """The next ones in commit order, a bounded number of bytes."""
        found: list[Step] = []
        size = 0
        rows = self._execute(
            "SELECT position, name, size, data FROM steps WHERE (position, name) > (?, ?)"
            " ORDER BY position, name LIMIT ?",
            position,
            name,
            CHUNK_STEPS,
        )
        for at, named, own, data in rows:
            size += own
            if found and size > CHUNK_BYTES:
                break
            found.append(Step.read(at, named, data))
        rows.close()
        return found

    def place(self) -> tuple[int, str]:
        """The last step that is in the target; before all of them without."""
        row = self._execute("SELECT value FROM facts WHERE name = 'place'").fetchone()
        if row is None:
            return -1, ""
        position, name = json.loads(row[0])
        return position, name

    def put_place(self, step: Step) -> None:
        """Everything up to this step is in the target."""
        value = json.dumps([step.position, step.name])
        self._execute("INSERT OR REPLACE INTO facts VALUES ('place', ?)", value)

    def head(self, collection: str, key: str) -> Head | None:
        """A document as of the last step; None where there is none."""
        row = self._execute(
            "SELECT revision, lost FROM heads WHERE collection = ? AND key = ?", collection, key
        ).fetchone()
        return None if row is None else Head(row[0], bool(row[1]))

    def put_head(self, change: Change) -> None:
        """The document is now what the change made of it."""
        if change.recorded and change.new is None:
            self._execute(
                "DELETE FROM heads WHERE collection = ? AND key = ?", change.collection, change.key
            )
            return
        self._execute(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)",
            change.collection,
            change.key,
            change.new_rev,
            not change.recorded,
        )

    def empty(self, collection: str, *, dropped: bool) -> None:
        """The collection has no documents any more; dropped, no indexes either."""
        self._execute("DELETE FROM heads WHERE collection = ?", collection)
        if dropped:
            self._execute("DELETE FROM indexes WHERE collection = ?", collection)

    def lost(self) -> Iterator[tuple[str, str]]:
        """Documents whose last version is not on the trail, as collection and key."""
        yield from self._execute("SELECT collection, key FROM heads WHERE lost ORDER BY 1, 2")

    def has_lost(self) -> bool:
        """Whether there is such a document."""
        row = self._execute("SELECT 1 FROM heads WHERE lost LIMIT 1").fetchone()
        return row is not None

    def put_index(self, collection: str, name: str, id_: str, definition: dict[str, Any]) -> None:
        """An index that the database has."""
        text = json.dumps(definition)
        self._execute(
            "INSERT OR REPLACE INTO indexes VALUES (?, ?, ?, ?)", collection, name, id_, text
        )

    def drop_index(self, collection: str, wanted: str) -> None:
        """An index that it has no more, by its name, its number, or `collection/number`."""
        self._execute(
            "DELETE FROM indexes WHERE collection = ? AND ? IN (name, id,"
            " collection || '/' || name, substr(id, instr(id, '/') + 1))",
            collection,
            wanted,
        )

    def indexes(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """The indexes that it has, as collection and arguments of `create-index`."""
        rows = self._execute("SELECT collection, definition FROM indexes ORDER BY 1, name")
        return [(collection, json.loads(definition)) for collection, definition in rows]
