"""A message of the trail as a line of JSON: everything in it, but what the policy hides."""

from __future__ import annotations

from typing import Any

from mallku_contracts.audit import record_hash
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Place
from mallku_deploy.decoding.readable import clock, read_message


def describe_entry(entry: TrailEntry, hiding: Hiding) -> dict[str, Any]:
    """Where a message stands, its hash, and what it says; no bytes make it fail."""
    content = read_message(entry.data).content
    record = content.pop("record", None)
    found: dict[str, Any] = {
        "sequence": entry.sequence,
        "stored": clock(entry.time),
        "subject": entry.subject,
        "hash": record_hash(entry.data).hex(),
    }
    if record is None:
        return found | {"unreadable": content}
    return found | {"record": _shown(record, Place.of(entry.subject), hiding)}


def _shown(record: dict[str, Any], place: Place, hiding: Hiding) -> dict[str, Any]:
    shown = dict(record)
    database = place.database
    if isinstance(command := record.get("command"), dict):
        body = hiding.veil_arguments(
            command.get("body"), database, place.collection, place.operation
        )
        shown["command"] = {**command, "body": body}
    if "bound" in record:
        shown["bound"] = hiding.veil(record["bound"], database, None)
    if "effects" in record:
        shown["effects"] = [
            {**effect, "new": hiding.veil(effect.get("new"), database, effect.get("collection"))}
            if "new" in effect
            else effect
            for effect in record["effects"]
        ]
    return shown
