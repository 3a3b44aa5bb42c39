"""A stretch of the audit trail, read as fast as it comes by somebody who may read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import TrailReader, trail_state
from mallku_broker.ranges import Range
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import PREFIX

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a stretch begins: at a time, or so many records of the trail before its end."""

    since: datetime | None = None
    last: int | None = None


def read_since(text: str, now: datetime) -> datetime:
    """A time, as in `2026-01-31T12:00:00Z`, or how long ago it was: `90s`, `15m`, `2h`, `7d`.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        if text[-1:] in _UNITS and text[:-1].isdecimal():
            return now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text[:40]!r} is neither a time (2026-01-31T12:00:00Z) nor how long ago (90s, 2h, 7d)"
        ) from None
    return found.astimezone(UTC)


async def read_stretch(
    connection: GatewayConnection, stretch: Stretch, kinds: tuple[str, ...]
) -> AsyncGenerator[Record]:
    """The records of these kinds in a stretch, oldest first, up to those that are there now."""
    wanted = Range(
        AUDIT,
        subjects=tuple(f"{PREFIX}.audit.*.*.*.*.{kind}" for kind in kinds),
        first=await _first(connection, stretch),
        since_ms=None if stretch.since is None else int(stretch.since.timestamp() * 1_000),
    )
    async with TrailReader(connection, wanted, name="stretch") as reader:
        while batch := await reader.next():
            for entry in batch:
                try:
                    yield Record.read(entry.data)
                except RecordError:
                    continue  # whether the trail is whole is for `audit verify` to say


async def _first(connection: GatewayConnection, stretch: Stretch) -> int:
    if stretch.last is None:
        return 1
    return max(1, (await trail_state(connection)).last - stretch.last + 1)
