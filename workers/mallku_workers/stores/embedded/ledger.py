"""The ledger of finished mutations, in the same file and the same commit as their effects.

An entry is `(key, fingerprint, id, expires_ms, result, position, touched)`; that a key has one is
decided under the write lock. A result whose msgpack is larger than `ledger_body_bytes` is kept
without its `new` and `old` documents, and as large a list of touched documents is not kept.

Entries that have expired are removed a few at a time, and how far is written down with it: what
expires later is still there. A writer that has just been opened removes none for a while, so that
after a long time without any worker it can still be found out what the last ones did.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgpack

from mallku_contracts.codec import pack_trusted
from mallku_workers.stores.base import Effect, LedgerClaim, LedgerEntry, Touched, touched_by
from mallku_workers.stores.documents import to_text, without_bodies
from mallku_workers.stores.embedded.rows import portions
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.weighing import pack_answer

_COLUMNS: Final = "key, fingerprint, id, result, position, touched"
_FIND_TRANSMISSION: Final = (
    f"SELECT {_COLUMNS} FROM mallku_ledger"  # noqa: S608 - constant
    " WHERE id = ? AND expires_ms >= ? AND substr(key, 1, ?) = ?"
)
_FIND: Final = (
    f"SELECT {_COLUMNS}, expires_ms, rowid FROM mallku_ledger"  # noqa: S608 - constant
    " WHERE digest IN (SELECT value FROM json_each(?))"
)
_REMOVE: Final = "DELETE FROM mallku_ledger WHERE rowid IN (SELECT value FROM json_each(?))"
_SWEEP: Final = (
    "DELETE FROM mallku_ledger WHERE rowid IN"
    " (SELECT rowid FROM mallku_ledger WHERE expires_ms < ? ORDER BY expires_ms LIMIT ?)"
    " RETURNING expires_ms"
)
_FORGET: Final = "UPDATE mallku_state SET forgotten_ms = max(forgotten_ms, ?)"
_WIDTH: Final = 8
_NO_LIST: Final = pack_trusted(None)


@cache
def _put_sql(rows: int) -> str:
    values = ",".join([f"({','.join('?' * _WIDTH)})"] * rows)
    return (
        "INSERT INTO mallku_ledger (digest, key, fingerprint, id, expires_ms, result,"  # noqa: S608 - marks
        f" position, touched) VALUES {values}"
    )


def _digest(key: str) -> int:
    """A number of 64 bits for a key.

    Keys are random, so an index over them changes a page for every entry; over these numbers it is
    a fifth of the size. Two keys may share a number: the key itself decides.
    """
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry whose result and list of documents are still packed."""

    key: str
    fingerprint: bytes
    id: str
    packed: bytes
    position: int
    touched: bytes

    def opened(self) -> LedgerEntry:
        """The entry as the seam shows it."""
        # The codec's limits are for what comes from outside: a result may lie deeper than a body.
        result = msgpack.unpackb(self.packed, strict_map_key=False)
        return LedgerEntry(
            self.key, self.fingerprint, self.id, result, self.position, _touched(self.touched)
        )


def _touched(packed: bytes) -> tuple[Touched, ...] | None:
    listed = msgpack.unpackb(packed)
    return None if listed is None else tuple(Touched(*each) for each in listed)


class Ledger:
    """The entries that one group of works reads and writes under the write lock."""

    def __init__(self, connection: sqlite3.Connection, settings: EmbeddedSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._known: dict[str, StoredEntry] = {}
        self._digests: dict[str, int] = {}
        self._added: list[tuple[Any, ...]] = []
        self._forgotten_ms = 0

    def prefetch(self, keys: Iterable[str], now_ms: int) -> None:
        """Read what there is under `keys`; entries that have expired are removed."""
        wanted = set(keys)
        self._digests = {key: _digest(key) for key in wanted}
        digests = to_text(list(self._digests.values()))
        expired: dict[int, int] = {}
        for *entry, expires_ms, row in self._connection.execute(_FIND, (digests,)).fetchall():
            if entry[0] in wanted:
                if expires_ms < now_ms:
                    expired[row] = expires_ms
                else:
                    self._known[entry[0]] = StoredEntry(*entry)
        if expired:
            self._connection.execute(_REMOVE, (to_text(list(expired)),))
            self._forgotten_ms = max(expired.values())

    def find(self, key: str) -> StoredEntry | None:
        """The entry under a key that was prefetched, or that this group added."""
        return self._known.get(key)

    def add(
        self, claim: LedgerClaim, result: Any, position: int, effects: Sequence[Effect]
    ) -> None:
        """Write down that `claim` is finished; `ResultTooLarge` where no reply would say so."""
        packed = pack_answer(result)
        if len(packed) > self._settings.ledger_body_bytes:
            packed = pack_trusted(without_bodies(result))
        touched = pack_trusted(touched_by(effects))
        if len(touched) > self._settings.ledger_body_bytes:
            touched = _NO_LIST
        entry = StoredEntry(claim.key, claim.fingerprint, claim.id, packed, position, touched)
        self._known[claim.key] = entry
        head = (self._digests[claim.key], claim.key, claim.fingerprint, claim.id)
        self._added.append((*head, claim.expires_ms, packed, position, touched))

    def flush(self, now_ms: int, *, sweep: bool) -> None:
        """Bring the additions into the transaction, and remove some of what has expired."""
        for some in portions(len(self._added)):
            rows = self._added[some]
            values = [value for row in rows for value in row]
            self._connection.execute(_put_sql(len(rows)), values)
        if sweep:
            bound = 2 * len(self._added) + self._settings.ledger_sweep_entries
            removed = self._connection.execute(_SWEEP, (now_ms, bound)).fetchall()
            self._forgotten_ms = max([self._forgotten_ms, *(row[0] for row in removed)])
        if self._forgotten_ms:
            self._connection.execute(_FORGET, (self._forgotten_ms,))
        self._added.clear()


def remembers_ms(connection: sqlite3.Connection) -> int:
    """An entry that expires at this time or later is still there, Unix milliseconds."""
    (forgotten_ms,) = connection.execute("SELECT forgotten_ms FROM mallku_state").fetchone()
    return int(forgotten_ms) + 1


def recall(connection: sqlite3.Connection, key: str, now_ms: int) -> LedgerEntry | None:
    """The entry under `key` that had not expired at `now_ms`."""
    for *entry, expires_ms, _ in connection.execute(_FIND, (to_text([_digest(key)]),)).fetchall():
        if entry[0] == key and expires_ms >= now_ms:
            return StoredEntry(*entry).opened()
    return None


def recall_transmission(
    connection: sqlite3.Connection, transmission: str, owner: str, now_ms: int
) -> LedgerEntry | None:
    """The entry of the transmission with this id under a key that begins with `owner`."""
    wanted = (transmission, now_ms, len(owner), owner)
    row = connection.execute(_FIND_TRANSMISSION, wanted).fetchone()
    return None if row is None else StoredEntry(*row).opened()
