"""Records as a worker writes them, with their place in a stream, made by hand."""

from __future__ import annotations

from typing import Any

from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.policy import Policy, read_policy
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_contracts.trail.stored import TrailEntry

START_MS = 1_795_479_705_000
"""2026-11-24T00:21:45Z."""

HIDING: Policy = read_policy(
    """
version: 3
roles:
  reader:
    rules:
      - {id: people, collections: ["people*"], operations: [read], hide: [salary, home.street]}
      - {id: voices, databases: [sound], collections: [voices], operations: [read], hide: [token]}
  writer:
    rules:
      - {id: all, collections: ["*"], operations: [read, write]}
principals:
  mallku: {roles: [writer]}
"""
)
"""Hides two fields from readers of `people`, and one in another database."""


def made(
    sequence: int, record: Record, subject: CommandSubject, *, after_ms: int = 0
) -> tuple[TrailEntry, Record]:
    """A record where it stands in the stream."""
    place = audit_subject(subject, record.kind)
    return TrailEntry(sequence, place, START_MS + after_ms, record.pack()), record


def command(
    sequence: int,
    kind: str,
    operation: str = "insert",
    collection: str | None = "people",
    *,
    arguments: Any = None,
    after_ms: int = 0,
    principal: str = "mallku",
    database: str = "mallku",
    **fields: Any,
) -> tuple[TrailEntry, Record]:
    """A record about a command; an intent's `arguments` become its body."""
    subject = CommandSubject.build(principal, database, collection, operation)
    known: dict[str, Any] = {"id": f"id-{sequence}", "rule": "writer/all", "policy": 3}
    if arguments is not None:
        body = arguments if isinstance(arguments, bytes) else codec.pack_trusted(arguments)
        known["command"] = (b"", body, b"", b"")
    values = known | fields
    record = Record(
        kind,
        "w1",
        sequence,
        START_MS,
        values.pop("id"),
        principal,
        str(subject),
        **values,
    )
    return made(sequence, record, subject, after_ms=after_ms)


def effect(
    key: str,
    new: dict[str, Any] | None,
    *,
    old_rev: str | None = None,
    collection: str = "people",
    **more: Any,
) -> dict[str, Any]:
    """What happened to one document; its revision is its `_rev`."""
    new_rev = None if new is None else str(new.get("_rev", "r1"))
    found = {"collection": collection, "key": key, "old_rev": old_rev, "new_rev": new_rev}
    return found | {"new": new} | more
