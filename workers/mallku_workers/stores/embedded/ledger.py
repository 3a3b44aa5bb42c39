"""The ledger of finished mutations, in the same file and the same commit as their effects.

An entry is `(key, fingerprint, id, expires_ms, result)`; that a key has one entry is decided under
the write lock. A result whose msgpack is larger than `ledger_body_bytes` is kept without its `new`
and `old` documents.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgpack

from mallku_contracts.codec import pack_trusted
from mallku_workers.stores.base import LedgerClaim, LedgerEntry
from mallku_workers.stores.embedded.documents import to_text
from mallku_workers.stores.embedded.rows import portions
from mallku_workers.stores.embedded.settings import EmbeddedSettings

_COLUMNS: Final = "key, fingerprint, id, result"
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
)
_BODIES: Final = frozenset({"new", "old"})
_WIDTH: Final = 6


@cache
def _put_sql(rows: int) -> str:
    values = ",".join([f"({','.join('?' * _WIDTH)})"] * rows)
    return (
        "INSERT INTO mallku_ledger (digest, key, fingerprint, id, expires_ms, result)"  # noqa: S608 - marks
        f" VALUES {values}"
    )


def _digest(key: str) -> int:
    """A number of 64 bits for a key.

    Keys are random, so an index over them changes a page for every entry; over these numbers it is
    a fifth of the size. Two keys may share a number: the key itself decides.
    """
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), signed=True)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry whose result is still packed."""

    key: str
    fingerprint: bytes
    id: str
    packed: bytes

    def opened(self) -> LedgerEntry:
        """The entry as the seam shows it."""
        # The codec's limits are for what comes from outside: a result may lie deeper than a body.
        result = msgpack.unpackb(self.packed, strict_map_key=False)
        return LedgerEntry(self.key, self.fingerprint, self.id, result)


class Ledger:
    """The entries that one group of works reads and writes under the write lock."""

    def __init__(self, connection: sqlite3.Connection, settings: EmbeddedSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._known: dict[str, StoredEntry] = {}
        self._digests: dict[str, int] = {}
        self._added: list[tuple[Any, ...]] = []

    def prefetch(self, keys: Iterable[str], now_ms: int) -> None:
        """Read what there is under `keys`; entries that have expired are removed."""
        wanted = set(keys)
        self._digests = {key: _digest(key) for key in wanted}
        digests = to_text(list(self._digests.values()))
        expired: list[int] = []
        for *entry, expires_ms, row in self._connection.execute(_FIND, (digests,)).fetchall():
            if entry[0] in wanted:
                if expires_ms < now_ms:
                    expired.append(row)
                else:
                    self._known[entry[0]] = StoredEntry(*entry)
        if expired:
            self._connection.execute(_REMOVE, (to_text(expired),))

    def find(self, key: str) -> StoredEntry | None:
        """The entry under a key that was prefetched, or that this group added."""
        return self._known.get(key)

    def add(self, claim: LedgerClaim, result: Any) -> None:
        """Write down that `claim` is finished."""
        packed = pack_trusted(result)
        if len(packed) > self._settings.ledger_body_bytes:
            packed = pack_trusted(without_bodies(result))
        self._known[claim.key] = StoredEntry(claim.key, claim.fingerprint, claim.id, packed)
        digest = self._digests[claim.key]
        self._added.append(
            (digest, claim.key, claim.fingerprint, claim.id, claim.expires_ms, packed)
        )

    def flush(self, now_ms: int) -> None:
        """Bring the additions into the transaction, and remove some of what has expired."""
        for some in portions(len(self._added)):
            rows = self._added[some]
            values = [value for row in rows for value in row]
            self._connection.execute(_put_sql(len(rows)), values)
        bound = 2 * len(self._added) + self._settings.ledger_sweep_entries
        self._connection.execute(_SWEEP, (now_ms, bound))
        self._added.clear()


def without_bodies(result: Any) -> Any:
    """A result without the documents in it, which can be read again."""
    if isinstance(result, list):
        return [without_bodies(entry) for entry in result]
    if isinstance(result, dict):
        return {name: value for name, value in result.items() if name not in _BODIES}
    return result


def recall(connection: sqlite3.Connection, key: str, now_ms: int) -> LedgerEntry | None:
    """The entry under `key` that has not expired."""
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
