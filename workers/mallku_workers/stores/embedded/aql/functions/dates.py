"""Dates: from and to texts, their parts, and reckoning with them.

A date is a number, milliseconds since 1970, or an ISO 8601 text. What is none is null with a
warning: 1542 for a wrong type, 1572 for a text or a number that is no date.

Source: ArangoDB manual, "Date functions in AQL"; recorded answers of a server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions import calendar as c
from mallku_workers.stores.embedded.aql.functions.base import Function, Implementation
from mallku_workers.stores.embedded.aql.functions.dateformat import format_date
from mallku_workers.stores.embedded.aql.functions.zones import moved_to_zone, zone_names
from mallku_workers.stores.embedded.aql.values import Number, is_number, to_bool

_LARGEST: Final = 10**9
_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]{1,9})")


def _invalid(call: Call, name: str) -> Any:
    call.warn(w.INVALID_DATE, f"in function {name}(): invalid date value")


def _moment(call: Call, name: str, value: Any) -> int | None:
    """Milliseconds since 1970 of a date; None with a warning."""
    if is_number(value):
        found: int | None = int(value)
    elif type(value) is str:
        found = c.parse_date(value)
    else:
        call.wrong_type(name)
        if name in _TWICE:
            _invalid(call, name)
        return None
    return _checked(call, name, found)


def _checked(call: Call, name: str, ms: int | None) -> int | None:
    """The moment if there is one that can be written; else None with a warning."""
    if ms is not None and c.is_in_range(ms):
        return ms
    _invalid(call, name)
    return None


# Making dates


def _now(call: Call) -> int:
    return call.now_ms


def _made(call: Call, name: str, parts: tuple[Any, ...]) -> int | None:
    """The moment of one date, or of year, month, day and perhaps the time of the day."""
    if len(parts) == 1:
        return _moment(call, name, parts[0])
    if len(parts) < 3:  # noqa: PLR2004 - year, month, day
        call.warn(w.ARGUMENT_COUNT, f"in function {name}(): invalid number of arguments")
        return _invalid(call, name) if name in _TWICE else None
    fields = [field for part in parts if (field := _field(part)) is not None]
    if len(fields) < len(parts):
        call.wrong_type(name)
        return _invalid(call, name) if name in _TWICE else None
    good = all(0 <= field <= _LARGEST for field in fields)
    return _checked(call, name, c.to_ms(*map(int, fields)) if good else None)


def _field(value: Any) -> Number | None:
    if type(value) is str:
        found = _NUMBER.match(value)
        return int(found[1]) if found else -1
    return 0 if value is None else value if is_number(value) else None


def _timestamp(call: Call, *parts: Any) -> int | None:
    return _made(call, "DATE_TIMESTAMP", parts)


def _iso8601(call: Call, *parts: Any) -> str | None:
    ms = _made(call, "DATE_ISO8601", parts)
    return None if ms is None else c.format_iso(ms)


def _is_date_string(_: Call, value: Any) -> bool:
    return type(value) is str and c.parse_date(value) is not None


# Parts of dates


def _part(name: str, take: Callable[[int], Any]) -> Implementation:
    def part(call: Call, date: Any, zone: Any = None) -> Any:
        ms = _moment(call, name, date)
        ms = ms if ms is None or zone is None else _local(call, name, ms, zone)
        return None if ms is None else take(ms)

    return part


def _local(call: Call, name: str, ms: int, zone: Any) -> int | None:
    """The moment as the clocks of a time zone show it."""
    if type(zone) is not str:
        call.wrong_type(name)
        return None
    return _checked(call, name, moved_to_zone(ms, zone))


def _days_in_month(ms: int) -> int:
    fields = c.to_fields(ms)
    return c.month_days(fields.year, fields.month)


_PARTS: Final[dict[str, Callable[[int], Any]]] = {
    "DATE_DAYOFWEEK": c.weekday,
    "DATE_YEAR": lambda ms: c.to_fields(ms).year,
    "DATE_MONTH": lambda ms: c.to_fields(ms).month,
    "DATE_DAY": lambda ms: c.to_fields(ms).day,
    "DATE_HOUR": lambda ms: c.to_fields(ms).hour,
    "DATE_MINUTE": lambda ms: c.to_fields(ms).minute,
    "DATE_SECOND": lambda ms: c.to_fields(ms).second,
    "DATE_MILLISECOND": lambda ms: c.to_fields(ms).millisecond,
    "DATE_DAYOFYEAR": c.day_of_year,
    "DATE_ISOWEEK": lambda ms: c.iso_week(ms)[1],
    "DATE_ISOWEEKYEAR": lambda ms: dict(zip(("year", "week"), c.iso_week(ms), strict=True)),
    "DATE_LEAPYEAR": lambda ms: c.is_leap(c.to_fields(ms).year),
    "DATE_QUARTER": lambda ms: (c.to_fields(ms).month + 2) // 3,
    "DATE_DAYS_IN_MONTH": _days_in_month,
}
_TWICE: Final = {*_PARTS, "DATE_TIMESTAMP", "DATE_ADD", "DATE_SUBTRACT", "DATE_FORMAT"}
"""The functions that warn of a wrong type and of an invalid date, as the recorded server does."""

_WITHOUT_ZONE: Final = ("DATE_SECOND", "DATE_MILLISECOND")


# Reckoning


def _shift(name: str, sign: int) -> Implementation:
    def shift(call: Call, date: Any, amount: Any, unit: Any = None, zone: Any = None) -> Any:
        ms = _moment(call, name, date)
        by = None if ms is None else _duration(call, name, amount, unit)
        if ms is None or by is None:
            return None
        if zone is not None:
            return _shifted_there(call, name, ms, by, zone)
        moved = c.shifted(ms, by, sign)
        return _invalid(call, name) if moved is None else c.format_iso(moved)

    def _shifted_there(call: Call, name: str, ms: int, by: c.Duration, zone: Any) -> Any:
        """Reckoned with the clocks of the zone, told in UTC."""
        local = _local(call, name, ms, zone)
        moved = None if local is None else c.shifted(local, by, sign)
        back = None if moved is None else moved_to_zone(moved, zone, to_utc=True)
        return _invalid(call, name) if back is None else c.format_iso(back)

    return shift


def _duration(call: Call, name: str, amount: Any, unit: Any) -> c.Duration | None:
    """So many of a unit, or an ISO 8601 duration where there is no unit; None with a warning."""
    found = None
    if unit is None:
        right = type(amount) is str
        found = c.parse_duration(amount) if right else None
    else:
        right = type(unit) is str and is_number(amount)
        letter = c.unit_of(unit)
        if right and letter is not None and abs(amount) <= c.LATEST:
            found = c.in_units(int(amount), letter)
    if not right:
        call.wrong_type(name)
    elif found is None:
        _invalid(call, name)
    return found


def _diff(call: Call, one: Any, other: Any, unit: Any, as_float: Any = None) -> Any:
    moments = [_moment(call, "DATE_DIFF", date) for date in (one, other)]
    if moments[0] is None or moments[1] is None:
        return None
    letter = c.unit_of(unit)
    if letter is None:
        return _invalid(call, "DATE_DIFF")
    start, end = moments[0], moments[1]
    if letter in c.FIXED:
        difference = (end - start) / c.FIXED[letter]
    else:
        difference = c.months_between(start, end) / (12 if letter == "y" else 1)
    return difference if to_bool(as_float) else int(difference)


_PLACES: Final = {"y": 0, "m": 1, "d": 2, "h": 3, "i": 4, "s": 5, "f": 6}


def _compare(call: Call, one: Any, other: Any, first: Any, last: Any = None, *zones: Any) -> Any:
    """Whether two dates agree from one field to another, each by the clocks of its zone."""
    moments = [_moment(call, "DATE_COMPARE", date) for date in (one, other)]
    for place, zone in enumerate((*zones, *zones)[:2] if len(zones) == 1 else zones):
        ms = moments[place]
        if ms is not None and zone is not None:
            moments[place] = _local(call, "DATE_COMPARE", ms, zone)
    units = [c.unit_of(unit) for unit in (first, first if last is None else last)]
    if moments[0] is None or moments[1] is None:
        return None
    start, end = (_PLACES.get(unit or "") for unit in units)
    if start is None or end is None or end < start:
        return _invalid(call, "DATE_COMPARE")
    span = slice(start, end + 1)
    return c.to_fields(moments[0])[span] == c.to_fields(moments[1])[span]


def _truncate(call: Call, date: Any, unit: Any, zone: Any = None) -> Any:
    ms = _moment(call, "DATE_TRUNC", date)
    if ms is None:
        return None
    letter = c.unit_of(unit)
    if letter is None:
        return _invalid(call, "DATE_TRUNC") if type(unit) is str else call.wrong_type("DATE_TRUNC")
    local = ms if zone is None else _local(call, "DATE_TRUNC", ms, zone)
    if local is None:
        return None
    begun = _begun(local, letter)
    back = begun if zone is None else moved_to_zone(begun, zone, to_utc=True)
    written = _checked(call, "DATE_TRUNC", back)
    return None if written is None else c.format_iso(written)


def _begun(ms: int, letter: str) -> int:
    """When the unit that the moment lies in began."""
    fields = c.to_fields(ms)
    if letter == "w":
        return (ms // c.DAY - (c.weekday(ms) + 6) % 7) * c.DAY
    if letter in c.FIXED:
        return ms - ms % c.FIXED[letter]
    return c.to_ms(fields.year, 1 if letter == "y" else fields.month, 1)


def _round(call: Call, date: Any, amount: Any, unit: Any, zone: Any = None) -> Any:
    """The beginning of the interval of so many units, counted from 1970, that the date is in."""
    ms = _moment(call, "DATE_ROUND", date)
    by = None if ms is None else _duration(call, "DATE_ROUND", amount, unit)
    if ms is None or by is None:
        return None
    length = by.milliseconds
    if by.months or length <= 0:
        return call.wrong_type("DATE_ROUND")
    local = ms if zone is None else _local(call, "DATE_ROUND", ms, zone)
    begun = None if local is None else local - local % length
    back = begun if zone is None or begun is None else moved_to_zone(begun, zone, to_utc=True)
    written = _checked(call, "DATE_ROUND", back)
    return None if written is None else c.format_iso(written)


def _format(call: Call, date: Any, pattern: Any, zone: Any = None) -> Any:
    ms = _moment(call, "DATE_FORMAT", date)
    if ms is None:
        return None
    if type(pattern) is not str:
        return _invalid(call, "DATE_FORMAT")
    local = ms if zone is None else _local(call, "DATE_FORMAT", ms, zone)
    if local is None:
        return None
    text = format_date(local, pattern)
    call.fit_text(len(text))
    return text


# Time zones


def _zone_function(name: str, *, to_utc: bool) -> Function:
    def move(call: Call, date: Any, zone: Any) -> Any:
        ms = _moment(call, name, date)
        if ms is None:
            return None
        if type(zone) is not str:
            return call.wrong_type(name)
        moved = moved_to_zone(ms, zone, to_utc=to_utc)
        if moved is None:
            return _invalid(call, name)
        text = c.format_iso(moved)
        return text if to_utc else text.removesuffix("Z")

    return Function(name, 2, 2, move)


def _time_zones(_: Call) -> list[str]:
    return list(zone_names())


def _time_zone(_: Call) -> str:
    return "UTC"


DATES: Final = (
    Function("DATE_NOW", 0, 0, _now),
    Function("DATE_TIMESTAMP", 1, 7, _timestamp),
    Function("DATE_ISO8601", 1, 7, _iso8601),
    Function("IS_DATESTRING", 1, 1, _is_date_string),
    *(
        Function(name, 1, 1 if name in _WITHOUT_ZONE else 2, _part(name, take))
        for name, take in _PARTS.items()
    ),
    Function("DATE_ADD", 2, 4, _shift("DATE_ADD", 1)),
    Function("DATE_SUBTRACT", 2, 4, _shift("DATE_SUBTRACT", -1)),
    Function("DATE_DIFF", 3, 4, _diff),
    Function("DATE_COMPARE", 3, 6, _compare),
    Function("DATE_TRUNC", 2, 3, _truncate),
    Function("DATE_ROUND", 3, 4, _round),
    Function("DATE_FORMAT", 2, 3, _format),
    _zone_function("DATE_UTCTOLOCAL", to_utc=False),
    _zone_function("DATE_LOCALTOUTC", to_utc=True),
    Function("DATE_TIMEZONE", 0, 0, _time_zone),
    Function("DATE_TIMEZONES", 0, 0, _time_zones),
)
