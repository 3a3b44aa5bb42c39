"""Time zones by their names in the IANA database, as this machine has it.

Source: PEP 615. Between the hours that clocks skip or repeat, the earlier reading counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from mallku_workers.stores.embedded.aql.functions.calendar import is_in_range

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_REMEMBERED: Final = 64


@lru_cache(1)
def zone_names() -> tuple[str, ...]:
    """Every zone's name, in order."""
    return tuple(sorted(available_timezones()))


@lru_cache(_REMEMBERED)
def _zone(name: str) -> ZoneInfo | None:
    """The zone; only names of the database are looked up, for a name becomes a path."""
    return ZoneInfo(name) if name in zone_names() else None


def moved_to_zone(ms: int, name: str, *, to_utc: bool = False) -> int | None:
    """What the clocks of a zone show at a moment, or the moment at which they show it.

    Both in milliseconds since 1970; None where there is no such zone or the year is not 1 to 9999.
    """
    zone = _zone(name)
    if zone is None:
        return None
    try:
        moment = _EPOCH + timedelta(milliseconds=ms)
        if to_utc:
            moved = moment.replace(tzinfo=zone).astimezone(UTC)
        else:
            moved = moment.astimezone(zone).replace(tzinfo=UTC)
    except OverflowError:
        return None
    found = (moved - _EPOCH) // _MILLISECOND
    return found if is_in_range(found) else None
