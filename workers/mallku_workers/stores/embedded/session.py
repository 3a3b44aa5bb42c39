"""One transaction: what a group of works sees and writes between BEGIN and COMMIT.

Works see the documents that earlier works of the group wrote, although these reach the database
together, many rows in one statement, when the group ends or a work has to search. Only collections
with a unique index are written row by row, since the database alone knows whether a row fits.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

from mallku_contracts.arguments import Document
from mallku_contracts.errors import (
    DeadlineExceeded,
    InvalidDocument,
    ResultTooLarge,
    UniqueViolation,
)
from mallku_contracts.limits import MIB
from mallku_contracts.policy import DocumentRules
from mallku_workers.stores.base import Effect, Work
from mallku_workers.stores.documents import is_key, refuse_deep, refuse_large, to_text
from mallku_workers.stores.embedded.catalog import (
    ALONE_BYTES,
    Catalog,
    Collection,
    Index,
    load_catalog,
)
from mallku_workers.stores.embedded.pending import Pending, PendingRows, Place
from mallku_workers.stores.embedded.revisions import revision
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, Row, gather_keys, read_row
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.values import LARGE_BYTES
from mallku_workers.stores.rules import new_version, refuse_change, refuse_more, sees
from mallku_workers.stores.weighing import Shown

CHECK_EVERY: Final = 64
"""Steps of a work between two looks at the clock, count."""

MAX_KEPT_BYTES: Final = 16 * MIB
"""Documents that one transaction keeps as they were read, bytes; others it reads again."""

STEPS_BETWEEN_LOOKS: Final = 1_000_000
"""Instructions of SQLite between two looks at the clock, some tens of milliseconds."""

MAX_INDEX_KEYS_BYTES: Final = 32 * MIB
"""Keys in all indexes together of the documents that one command changes, bytes."""


class Session:
    """The write transaction under way.

    Args:
        clock: Unix milliseconds.
        tick: The last number that an earlier transaction gave away.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        tick: int,
        settings: EmbeddedSettings,
        clock: Callable[[], int],
    ) -> None:
        self.connection = connection
        self.catalog = catalog
        self.settings = settings
        self.effects: list[Effect] = []
        self.bytes = 0
        self._effect_bytes = 0
        self.shown = Shown(settings.max_result_bytes)
        self._key_bytes = 0
        self.deadline_ms = 0
        self.rules: DocumentRules | None = None
        self._clock = clock
        self._tick = tick
        self._seen: dict[Place, Row | None] = {}
        self._pending = PendingRows(connection)
        self._undo: list[tuple[Place, Row | None, Pending | None]] = []
        self._counts: Counter[int] = Counter()
        self._numeric: set[int] = set()
        self._kept_bytes = 0
        self._calls = 0
        self._written = False

    @property
    def now_ms(self) -> int:
        """The time by the store's clock, Unix milliseconds."""
        return self._clock()

    # Numbers

    def next_tick(self) -> int:
        """The next number of this database: a position, a revision, a generated key."""
        self._tick += 1
        return self._tick

    def next_revision(self) -> str:
        """A revision that was never given before."""
        return revision(self.next_tick())

    def new_key(self, collection: Collection) -> str:
        """A key that no document has."""
        key = str(self.next_tick())
        if collection.numeric_keys or collection.id in self._numeric:
            while self.get(collection, key) is not None:
                key = str(self.next_tick())
        return key

    def note_own_key(self, collection: Collection, key: str) -> None:
        """Remember that callers choose keys which generated ones could meet."""
        if not collection.numeric_keys and key.isdecimal():
            self._numeric.add(collection.id)

    # One work

    def begin_work(self, work: Work, *, savepoint: bool) -> None:
        """Start a work; with `savepoint` it may also write rows and tables at once."""
        self.effects = []
        self._effect_bytes = 0
        self.shown = Shown(self.settings.max_result_bytes)
        self._key_bytes = 0
        self.deadline_ms = work.deadline_ms
        self.rules = work.rules
        self._undo.clear()
        if savepoint:
            self.flush()
        self._written = False
        if savepoint:
            self.connection.execute("SAVEPOINT work")

    def keep_work(self, *, savepoint: bool) -> None:
        """The work is done: what it did stays."""
        if savepoint:
            self.connection.execute("RELEASE work")
        for effect in self.effects:
            if effect.old_rev is None or effect.new is None:
                place = self.catalog.collections[effect.collection].id
                self._counts[place] += 1 if effect.old_rev is None else -1

    def undo_work(self, *, savepoint: bool) -> None:
        """The work failed: nothing that it did stays.

        Raises:
            RuntimeError: it wrote a row and has no savepoint, so that all has to be rolled back.
        """
        if self._written and not savepoint:
            raise RuntimeError("a single write failed after it had written")
        for place, row, pending in reversed(self._undo):
            self._seen[place] = row
            self._pending.restore(place, pending)
        if savepoint:
            self.connection.execute("ROLLBACK TO work")
            self.connection.execute("RELEASE work")
            self.reload_catalog()

    def check_deadline(self, *, now: bool = False) -> None:
        """Stop the work when its caller's time is over; looks at the clock now and then."""
        self._calls += 1
        if (now or self._calls % CHECK_EVERY == 0) and self._clock() > self.deadline_ms:
            raise DeadlineExceeded("the caller's time was over before the work was")

    @contextmanager
    def searching(self) -> Generator[None]:
        """Let a search, which writes nothing, be interrupted when the caller's time is over."""

        def overdue() -> bool:
            return self._clock() > self.deadline_ms

        self.connection.set_progress_handler(overdue, STEPS_BETWEEN_LOOKS)
        try:
            yield
        finally:
            self.connection.set_progress_handler(None, 0)

    # Documents

    def prefetch(self, collection: Collection, keys: Iterable[str]) -> None:
        """Read several documents that are about to be asked for."""
        table = collection.id
        wanted = [key for key in keys if (table, key) not in self._seen and is_key(key)]
        for start in range(0, len(wanted), CHUNK_DOCUMENTS):
            some = wanted[start : start + CHUNK_DOCUMENTS]
            rows = gather_keys(self.connection, collection, some)
            for key in some:
                self._keep((table, key), rows.get(key))

    def get(self, collection: Collection, key: str) -> Document | None:
        """The document as this transaction sees it."""
        place = (collection.id, key)
        if place in self._seen:
            row = self._seen[place]
            return None if row is None else row.read(self.connection, collection)
        row = read_row(self.connection, collection, key) if is_key(key) else None
        self._keep(place, row)
        return None if row is None else row.document

    def _keep(self, place: Place, row: Row | None) -> None:
        """Remember what was read: a document as well, while there is room for it."""
        if row is not None and row.document is not None:
            if row.size < ALONE_BYTES and self._kept_bytes + row.size <= MAX_KEPT_BYTES:
                self._kept_bytes += row.size
            else:
                row = row.without_document
        self._seen[place] = row

    def sees(self, document: Document) -> bool:
        """Whether the document is there for whoever asked for this work."""
        return sees(self.rules, document)

    def note(self, collection: Collection, row: Row) -> Document:
        """The document of a row that a search found, remembered for the works that follow."""
        document = row.read(self.connection, collection)
        self._keep((collection.id, row.key), Row(row.key, row.size, document))
        return document

    def put(
        self, collection: Collection, old: Document | None, new: Document, *, shows: bool = False
    ) -> Document:
        """Store `new`, in the place of `old` where there is one, as the work's rules want it.

        Args:
            shows: The work's result will show what is stored.

        Returns:
            What was stored.

        Raises:
            UniqueViolation, InvalidDocument, PermissionDenied: nothing was stored.
            ResultTooLarge: the work's record would not hold all that it changes, or its result
                all that it shows, or the keys of that in indexes would have more than
                `MAX_INDEX_KEYS_BYTES`.
            DeadlineExceeded: large index keys took too long.
        """
        if self.rules is not None:
            new = new_version(self.rules, old, new)
            refuse_more(self.rules, len(self.effects) + 1)
        columns = self._columns(collection, new)
        if shows:
            self.shown.add_bytes(columns[1])
        key: str = columns[0]
        place = (collection.id, key)
        before = self._pending.get(place)
        fresh = before.fresh if before is not None else old is None
        if collection.unique:
            self._write_now(collection, columns, fresh=fresh)
        else:
            self._write_later(collection, place, Pending(fresh, columns), before)
        self._seen[place] = Row(key, 0, new)
        old_rev = None if old is None else old["_rev"]
        self.effects.append(Effect(collection.name, key, old_rev, new["_rev"], new))
        return new

    def remove(self, collection: Collection, old: Document) -> None:
        """Remove the document; `PermissionDenied` where the work's rules keep it."""
        if self.rules is not None:
            refuse_change(self.rules)
            refuse_more(self.rules, len(self.effects) + 1)
        key: str = old["_key"]
        place = (collection.id, key)
        before = self._pending.get(place)
        fresh = before is not None and before.fresh
        self._write_later(collection, place, Pending(fresh, None), before)
        if collection.unique:
            self.flush()
            self._written = True
        self._seen[place] = None
        self.effects.append(Effect(collection.name, key, old["_rev"], None, None))

    def _columns(self, collection: Collection, document: Document) -> list[Any]:
        body = to_text(document)
        try:
            size = len(body.encode())
        except UnicodeEncodeError:
            raise InvalidDocument("the document has a string that is not Unicode") from None
        if size > self.settings.max_document_bytes:
            limit = self.settings.max_document_bytes
            raise InvalidDocument(f"the document has {size} bytes, more than the {limit} allowed")
        self._weigh(document, size)
        columns: list[Any] = [document["_key"], size, body]
        columns += [self._index_key(index, document) for index in collection.indexes]
        return columns

    def _index_key(self, index: Index, document: Document) -> bytes | None:
        key = index.key(document)
        if key is not None:
            self._key_bytes += len(key)
            self.bytes += len(key)
            if self._key_bytes > MAX_INDEX_KEYS_BYTES:
                raise ResultTooLarge(
                    f"keys in indexes of more than {MAX_INDEX_KEYS_BYTES} bytes altogether;"
                    " change fewer documents at a time, or index shorter values"
                )
            if len(key) > LARGE_BYTES:
                self.check_deadline(now=True)
        return key

    def _weigh(self, document: Document, size: int) -> None:
        refuse_deep(document)
        refuse_large(self._effect_bytes + size)
        self._effect_bytes += size
        self.bytes += size

    def _write_later(
        self, collection: Collection, place: Place, row: Pending, before: Pending | None
    ) -> None:
        self._undo.append((place, self._seen.get(place), before))
        self._pending.put(collection, place, row)

    def _write_now(self, collection: Collection, columns: list[Any], *, fresh: bool) -> None:
        place = (collection.id, columns[0])
        self._undo.append((place, self._seen.get(place), None))
        try:
            self.connection.execute(collection.put_sql(1, fresh=fresh), columns)
        except sqlite3.IntegrityError as error:
            raise unique_violation(collection, error) from None
        self._written = True

    # The transaction as a whole

    def flush(self) -> None:
        """Bring everything that waits into the database, in few statements."""
        self._pending.flush()
        for table, change in self._counts.items():
            self.connection.execute(
                "UPDATE mallku_collections SET documents = documents + ? WHERE id = ?",
                (change, table),
            )
        self._counts.clear()

    def finish(self) -> bool:
        """Write what is left; whether the catalog changed with it."""
        self.flush()
        changed = bool(self._numeric)
        for table in self._numeric:
            self.connection.execute(
                "UPDATE mallku_collections SET numeric_keys = 1 WHERE id = ?", (table,)
            )
        self.connection.execute(
            "UPDATE mallku_state SET tick = ?, catalog = catalog + ?", (self._tick, changed)
        )
        return changed

    def change_catalog(self) -> None:
        """Tell every process that collections or indexes changed, this one first."""
        self.connection.execute("UPDATE mallku_state SET catalog = catalog + 1")
        self.reload_catalog()

    def reload_catalog(self) -> None:
        """Read the catalog again, as this transaction sees it."""
        self.catalog = load_catalog(self.connection)

    def forget(self, collection: Collection) -> None:
        """Drop what was read of a collection whose table was emptied or removed."""
        self._seen = {place: row for place, row in self._seen.items() if place[0] != collection.id}


def unique_violation(collection: Collection, error: sqlite3.IntegrityError) -> UniqueViolation:
    """The coded error for what SQLite says as `UNIQUE constraint failed: c7.x9`."""
    column = str(error).rpartition(".")[2]
    for index in collection.persistent:
        if index.column == column:
            return UniqueViolation(
                f"another document in {collection.name} has the same value of"
                f" {', '.join(index.fields)}: index {index.name} is unique",
                details={"index": index.name, "fields": list(index.fields)},
            )
    return UniqueViolation(f"a document with this key exists already in {collection.name}")
