"""The door a service uses: signed commands out, verified replies back, never a database.

::

    from mallku_client import SecuredDatabaseInterface

    async with await SecuredDatabaseInterface.connect() as db:
        anchors = db.collection("memory_anchors")
        meta = await anchors.insert({"kind": "khipu", "weight": 3})

`mallku_client.sync` has the same names without `await`; `mallku_client.exceptions` has every error.
NATS, PyJWT and the argument models are imported when they are first used.
"""

from __future__ import annotations

from mallku_client.answers import Answer
from mallku_client.aql import AQL
from mallku_client.collection import Collection
from mallku_client.cursor import Cursor
from mallku_client.database import SecuredDatabaseInterface
from mallku_client.jobs import Job, JobOptions, JobReceipt
from mallku_client.memory_transport import MemoryTransport
from mallku_client.options import CallOptions
from mallku_client.query_cursor import QueryCursor
from mallku_client.settings import ClientSettings
from mallku_client.transaction import Transaction, TransactionCollection, TransactionJob
from mallku_client.transport import (
    NoAnswer,
    NobodyListens,
    NotDelivered,
    Transport,
    TransportError,
)
from mallku_contracts.errors import MallkuError

__all__ = [
    "AQL",
    "Answer",
    "CallOptions",
    "ClientSettings",
    "Collection",
    "Cursor",
    "Job",
    "JobOptions",
    "JobReceipt",
    "MallkuError",
    "MemoryTransport",
    "NoAnswer",
    "NobodyListens",
    "NotDelivered",
    "QueryCursor",
    "SecuredDatabaseInterface",
    "Transaction",
    "TransactionCollection",
    "TransactionJob",
    "Transport",
    "TransportError",
]
