"""Trails that do not hold everything: outcomes as other records of the same commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mallku_contracts.audit import Record
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.rebuilding.again import CannotRepeatError, make_work, refuse_new_keys
from mallku_workers.rebuilding.steps import CATALOG
from tests.workers.rebuilding.world import DATABASE

Alter = Callable[[Record, Record], Record | None]
"""Makes another record of an outcome, given its intent; None leaves it out."""


def altered(entries: Sequence[TrailEntry], alter: Alter) -> list[TrailEntry]:
    """The trail with other outcomes."""
    intents: dict[str, Record] = {}
    found: list[TrailEntry] = []
    for entry in entries:
        record = Record.read(entry.data)
        if record.kind == "intent":
            intents[record.id] = record
        elif record.kind == "done" and record.id in intents:
            changed = alter(intents[record.id], record)
            if changed is None:
                continue
            subject = entry.subject.removesuffix("done") + changed.kind
            found.append(entry._replace(subject=subject, data=changed.pack()))
            continue
        found.append(entry)
    return found


def counted(_intent: Record, record: Record) -> Record:
    """As a record that was too large: how many effects there were, and no more."""
    return replace(record, effects=({"omitted": len(record.effects)},))


def without_versions(_intent: Record, record: Record) -> Record:
    """As a reconciler writes what was changed since: keys and revisions alone."""
    effects = tuple(
        one if one["new"] is None else {**one, "new": None, "omitted": True}
        for one in record.effects
    )
    return replace(record, effects=effects)


def resolved(intent: Record, record: Record) -> Record:
    """As a reconciler writes what it found in the ledger."""
    resolves = {"worker": intent.worker, "number": intent.number, "sequence": 1}
    return replace(record, kind="resolved", resolves=resolves, resolution="committed", facts={})


def is_repeatable(intent: Record) -> bool:
    """Whether the command comes to the same when it is carried out again."""
    operation = intent.subject.split(".")[-1]
    try:
        refuse_new_keys(make_work(operation, DATABASE, "people", intent, within_ms=0))
    except CannotRepeatError:
        return False
    return operation not in CATALOG
