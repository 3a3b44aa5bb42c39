"""Looks into the ledger of a database, and at its clock, on connections of the store's threads."""

from __future__ import annotations

from typing import Final

from mallku_workers.stores.arango import texts
from mallku_workers.stores.arango.ledger import opened
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.base import LedgerEntry

RECALL_S: Final = 5.0
"""A look into the ledger, seconds."""


def recall(server: Server, key: str) -> LedgerEntry | None:
    """The ledger's entry under `key`, as it stands now."""
    rows = server.query(texts.RECALL, {"key": key})
    return opened(rows[0]) if rows else None


def recall_settled(server: Server, key: str) -> LedgerEntry | None:
    """The ledger's entry under `key` when no write is under way any more."""
    # The exclusive lock is had when every transaction that may write has ended.
    with server.transaction([], [texts.LEDGER]) as transaction:
        rows = transaction.query(texts.RECALL_SETTLED, {"key": key})
    return opened(rows[0]) if rows else None


def recall_transmission(server: Server, transmission: str, owner: str) -> LedgerEntry | None:
    """The entry of the owner's mutation that this transmission committed."""
    rows = server.query(texts.RECALL_TRANSMISSION, {"id": transmission, "owner": owner})
    return opened(rows[0]) if rows else None


def clock(server: Server) -> int:
    """The database's own clock, Unix milliseconds."""
    [now_ms] = server.query(texts.CLOCK, {})
    return int(now_ms)
