"""Looks for a command on the trail: first anywhere around its time, then where it was found."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from mallku_client.trail import AuditReader, Selection, TrailEntry
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS, MAX_COMMAND_LIFE_MS
from mallku_contracts.subjects import JOB, PREFIX
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Lines, Place
from mallku_deploy.ways.way import Found, Way

WITHIN_MS: Final = 10 * 60 * 1_000
"""Later attempts of a command, and what reconcilers say of it, are looked for so long, ms."""

_BEFORE_MS: Final = MAX_CLOCK_SKEW_MS + 1_000
_AFTER_MS: Final = MAX_COMMAND_LIFE_MS + MAX_CLOCK_SKEW_MS
_JOBS: Final = f"{PREFIX}.{JOB}."


async def find_way(
    reader: AuditReader, wanted: str, hiding: Hiding, *, principal: str | None = None
) -> Way:
    """Every attempt of the command with this id.

    Args:
        principal: Whose it is; ids are callers' to choose, and two may have chosen the same.

    Raises:
        ConfigurationError: it is no id, or the trail knows nothing of it.
    """
    if not is_uuid7(wanted):
        raise ConfigurationError(
            f"{wanted[:80]!r} is not the id of a command; ids are UUIDs of version 7, in answers,"
            " in log lines and in records"
        )
    way, at = Way(wanted), uuid7_ms(wanted)
    around = Selection(
        principals=() if principal is None else (principal,),
        since_ms=max(0, at - _BEFORE_MS),
        until_ms=at + _AFTER_MS,
    )
    first = await _first(reader, around, way, Lines(hiding))
    if first is None:
        raise ConfigurationError(
            f"the trail knows nothing of {wanted}: it was refused in a flood, never arrived, or"
            " happened before the trail began"
        )
    await _gather(reader, _like(first, around, way), way, Lines(hiding))
    return way


async def _first(reader: AuditReader, selection: Selection, way: Way, lines: Lines) -> Found | None:
    async with aclosing(_about(reader, selection, way, lines)) as records:
        async for found in records:
            if Way(way.wanted).add(found):
                return found
    return None


def _like(first: Found, around: Selection, way: Way) -> Selection:
    """Where its other records are: below the same subject, from its first attempt on.

    A durable job is tried for days, so that only the end of the trail is its end.
    """
    way.add(first)
    began = uuid7_ms(way.key) if is_uuid7(way.key) else uuid7_ms(way.wanted)
    since_ms = min(around.since_ms or 0, max(0, began - _BEFORE_MS))
    place = Place.of(first.entry.subject)
    is_job = first.record.subject.startswith(_JOBS)
    return replace(
        around,
        principals=(place.principal,),
        databases=(place.database,),
        collections=(place.collection,),
        operations=(place.operation,),
        since_ms=since_ms,
        until_ms=None if is_job else uuid7_ms(way.wanted) + WITHIN_MS,
    )


async def _gather(reader: AuditReader, selection: Selection, way: Way, lines: Lines) -> None:
    way.clear()
    async with aclosing(_about(reader, selection, way, lines)) as records:
        async for found in records:
            way.add(found)


async def _about(
    reader: AuditReader, selection: Selection, way: Way, lines: Lines
) -> AsyncGenerator[Found]:
    """Records that may be about the command: only those are unpacked that hold its id or key."""
    async with aclosing(reader.batches(selection)) as batches:
        async for batch in batches:
            for entry in batch:
                if not any(needle in entry.data for needle in way.needles):
                    continue
                found = _read(entry, lines)
                if found is not None:
                    yield found


def _read(entry: TrailEntry, lines: Lines) -> Found | None:
    try:
        record = Record.read(entry.data)
    except RecordError:
        return None
    return Found(entry, record, lines.add(entry, record))
