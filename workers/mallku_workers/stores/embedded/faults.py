"""SQLite's errors as coded errors; none of them ever leaves the store as it is."""

from __future__ import annotations

import sqlite3
from typing import Final

from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    OutcomeUnknown,
    StoreFailure,
    Unavailable,
)

RETRY_AFTER_S: Final = 0.1
"""Advice to callers of a database that another process keeps busy, seconds."""

REPAIR_AFTER_S: Final = 5.0
"""Advice to callers while somebody has to make room or bring a directory back, seconds."""

_PRIMARY: Final = 0xFF
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_OUTSIDE: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for errors of the Python module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection is in the way, for now."""
    return primary_code(error) in _BUSY


def is_gone(error: sqlite3.Error) -> bool:
    """Whether a table or column that was known is no longer there."""
    return primary_code(error) == sqlite3.SQLITE_ERROR and "no such" in str(error)


def translate(error: sqlite3.Error) -> ExecutionError:
    """What a caller is told about an error after which nothing was done."""
    code = primary_code(error)
    if code in _BUSY:
        return Unavailable("the database is busy", retry_after=RETRY_AFTER_S)
    if code == sqlite3.SQLITE_INTERRUPT:
        return DeadlineExceeded("the caller's time was over before the search was")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in _OUTSIDE:
        return Unavailable(f"the database cannot be used: {name}", retry_after=REPAIR_AFTER_S)
    return StoreFailure(f"the database failed: {name}")


def translate_commit(error: sqlite3.Error, *, rolled_back: bool) -> ExecutionError:
    """What the callers of a group are told whose commit failed.

    Where SQLite kept the transaction and let us roll it back, it had not begun to write. A full
    disk stops it before the frame that would make the transaction count. After anything else that
    frame may be found by the next recovery.
    """
    if rolled_back or primary_code(error) == sqlite3.SQLITE_FULL:
        return translate(error)
    return OutcomeUnknown("the commit failed, and it is not certain that nothing was written")
