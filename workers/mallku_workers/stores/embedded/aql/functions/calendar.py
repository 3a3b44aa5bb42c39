"""The calendar that dates are reckoned with: milliseconds since 1970, UTC, Gregorian throughout.

Pure arithmetic on integers. A field that is too large carries over, as in JavaScript: the 30th of
February is the 2nd of March.

Source: ECMA-262, "Time Values and Time Range"; Howard Hinnant, "chrono-Compatible Low-Level Date
Algorithms"; ISO 8601.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY

EARLIEST: Final = -62_167_219_200_000
"""The beginning of the year 0, milliseconds."""

LATEST: Final = 253_402_300_799_999
"""The end of the year 9999, milliseconds."""

UNITS: Final = {
    "y": "y", "year": "y", "years": "y",
    "m": "m", "month": "m", "months": "m",
    "w": "w", "week": "w", "weeks": "w",
    "d": "d", "day": "d", "days": "d",
    "h": "h", "hour": "h", "hours": "h",
    "i": "i", "minute": "i", "minutes": "i",
    "s": "s", "second": "s", "seconds": "s",
    "f": "f", "ms": "f", "millisecond": "f", "milliseconds": "f",
}  # fmt: skip
"""Every name of a unit, in lower case, and its letter."""

FIXED: Final = {"w": WEEK, "d": DAY, "h": HOUR, "i": MINUTE, "s": SECOND, "f": 1}
"""The units that always last the same, milliseconds."""

_MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH: Final = 719_468  # days from 0000-03-01 to 1970-01-01
_ERA: Final = 146_097  # days of 400 years

_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?"
    r"(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_DURATION: Final = re.compile(
    r"P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?"
    r"(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d+))?S)?)?",
    re.ASCII | re.IGNORECASE,
)


class Fields(NamedTuple):
    """A moment as people write it; the month is 1 to 12."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int


@dataclass(frozen=True, slots=True)
class Duration:
    """How much to go on: months and milliseconds, for months are not all as long."""

    months: int
    milliseconds: int


def is_leap(year: int) -> bool:
    """Whether the year has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(year: int, month: int) -> int:
    """The days of a month."""
    return _MONTH_DAYS[month - 1] + (month == 2 and is_leap(year))  # noqa: PLR2004 - February


def days_before(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; months and days beyond their range carry over."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    year -= month <= 2  # noqa: PLR2004 - years begin in March here
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5
    of_era = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * _ERA + of_era - _EPOCH + day - 1


def to_ms(*fields: int) -> int:
    """Milliseconds of year, month, day, hour, minute, second, millisecond; the last may miss."""
    year, month, day, *rest = fields
    lengths = (HOUR, MINUTE, SECOND, 1)
    return days_before(year, month, day) * DAY + sum(
        value * length for value, length in zip(rest, lengths, strict=False)
    )


def to_fields(ms: int) -> Fields:
    """The moment's fields."""
    days, rest = divmod(ms, DAY)
    era, of_era = divmod(days + _EPOCH, _ERA)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9  # noqa: PLR2004 - March is the first
    day = of_year - (153 * shifted + 2) // 5 + 1
    hour, rest = divmod(rest, HOUR)
    minute, rest = divmod(rest, MINUTE)
    return Fields(era * 400 + year + (month <= 2), month, day, hour, minute, *divmod(rest, SECOND))  # noqa: PLR2004


def is_in_range(ms: int) -> bool:
    """Whether the moment lies in the years 0 to 9999, the ones that can be written."""
    return EARLIEST <= ms <= LATEST


def parse_date(text: str) -> int | None:
    """Milliseconds of an ISO 8601 date or date and time; without an offset it is UTC."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[i] or i in (2, 3)) for i in range(1, 7))
    clock = hour * HOUR + minute * MINUTE + second * SECOND
    milliseconds = int((found[7] or "")[:3].ljust(3, "0"))
    if not (1 <= month <= 12 and 1 <= day <= 31) or minute > 59 or second > 59:  # noqa: PLR2004
        return None
    offset = _offset(found[8])
    if clock + milliseconds > DAY or offset is None:
        return None
    ms = to_ms(year, month, day) + clock + milliseconds - offset
    return ms if is_in_range(ms) else None


def _offset(text: str | None) -> int | None:
    if not text or text in "zZ":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - the clock's own limits
        return None
    size = hours * HOUR + minutes * MINUTE
    return -size if text[0] == "-" else size


def format_iso(ms: int) -> str:
    """`2025-03-01T10:20:30.000Z`; years 0 to 9999."""
    f = to_fields(ms)
    return (
        f"{f.year:04}-{f.month:02}-{f.day:02}"
        f"T{f.hour:02}:{f.minute:02}:{f.second:02}.{f.millisecond:03}Z"
    )


def parse_duration(text: str) -> Duration | None:
    """`P1Y2M3W4DT5H6M7.890S`; every part may miss."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    years, months, weeks, days, hours, minutes, seconds = (int(found[i] or 0) for i in range(1, 8))
    clock = hours * HOUR + minutes * MINUTE + seconds * SECOND
    fraction = int((found[8] or "")[:3].ljust(3, "0"))
    return Duration(years * 12 + months, weeks * WEEK + days * DAY + clock + fraction)


def in_units(amount: int, unit: str) -> Duration:
    """So many of a unit, by its letter."""
    if unit in FIXED:
        return Duration(0, amount * FIXED[unit])
    return Duration(amount * (12 if unit == "y" else 1), 0)


def shifted(ms: int, by: Duration, sign: int) -> int | None:
    """The moment later (sign 1) or earlier (-1); None where it cannot be written."""
    f = to_fields(ms + sign * by.milliseconds)
    moved = to_ms(*f._replace(month=f.month + sign * by.months))
    return moved if is_in_range(moved) else None


def iso_week(ms: int) -> tuple[int, int]:
    """The ISO year and week: a week belongs to the year of its Thursday."""
    thursday = ms - (weekday(ms) + 6) % 7 * DAY + 3 * DAY
    year = to_fields(thursday).year
    return year, (thursday - to_ms(year, 1, 1)) // WEEK + 1


def weekday(ms: int) -> int:
    """0 for Sunday to 6 for Saturday."""
    return (ms // DAY + 4) % 7


def day_of_year(ms: int) -> int:
    """1 to 366."""
    return (ms - to_ms(to_fields(ms).year, 1, 1)) // DAY + 1


def months_between(one: int, other: int) -> float:
    """Months from one moment to another; parts of a month by the mean of both months' lengths."""
    a, b = to_fields(one), to_fields(other)
    whole = (b.year * 12 + b.month) - (a.year * 12 + a.month)
    within = (other - to_ms(b.year, b.month, 1)) - (one - to_ms(a.year, a.month, 1))
    length = (month_days(a.year, a.month) + month_days(b.year, b.month)) * DAY / 2
    return whole + within / length


def unit_of(name: Any) -> str | None:
    """The letter of a unit's name, None where it is none."""
    return UNITS.get(name.lower()) if type(name) is str else None
