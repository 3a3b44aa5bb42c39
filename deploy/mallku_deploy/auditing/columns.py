"""A message of the trail as a row of an export: the bytes themselves, and what to filter by.

The bytes are what is verified; the columns beside them are read from them, for people and tools.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.lines import Place

STORED: Final = ("sequence", "time", "subject", "hash", "data")
"""The columns of every message; `hash` is SHA-256 of `data`, `time` Unix milliseconds."""

TOLD: Final = (
    "principal",
    "database",
    "collection",
    "operation",
    "outcome",
    "worker",
    "number",
    "id",
    "code",
    "rule",
    "policy",
    "took_us",
)
"""The columns of records besides; empty where a message is no record."""


def stored_row(entry: TrailEntry) -> dict[str, Any]:
    """A message that is kept as it is, such as a checkpoint."""
    return {
        "sequence": entry.sequence,
        "time": entry.time,
        "subject": entry.subject,
        "hash": record_hash(entry.data),
        "data": entry.data,
    }


def record_row(entry: TrailEntry) -> dict[str, Any]:
    """A record: the message, what its subject says, and what is asked for most."""
    place = Place.of(entry.subject)
    return stored_row(entry) | place._asdict() | _of_record(entry.data)


def _of_record(data: bytes) -> dict[str, Any]:
    try:
        record = Record.read(data)
    except RecordError:
        return dict.fromkeys(TOLD[5:])
    return {
        "worker": record.worker,
        "number": record.number,
        "id": record.id or None,
        "code": record.code or record.resolution or None,
        "rule": record.rule,
        "policy": record.policy,
        "took_us": sum(record.steps.values()) or None,
    }
