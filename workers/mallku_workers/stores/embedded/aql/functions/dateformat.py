"""DATE_FORMAT's placeholders.

Source: ArangoDB manual, "Date functions in AQL", DATE_FORMAT().
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mallku_workers.stores.embedded.aql.functions import calendar as c

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS: Final = (
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
)  # fmt: skip
_ABBREVIATED: Final = 3


def _quarter(_: int, fields: c.Fields) -> str:
    return str((fields.month + 2) // 3)


_PLACEHOLDERS: Final[dict[str, Callable[[int, c.Fields], str]]] = {
    "%&": lambda _ms, _f: "",
    "%yyyyyy": lambda _ms, f: f"+{f.year:06}",
    "%yyyy": lambda _ms, f: f"{f.year:04}",
    "%mmmm": lambda _ms, f: _MONTHS[f.month - 1],
    "%wwww": lambda ms, _f: _DAYS[c.weekday(ms)],
    "%mmm": lambda _ms, f: _MONTHS[f.month - 1][:_ABBREVIATED],
    "%www": lambda ms, _f: _DAYS[c.weekday(ms)][:_ABBREVIATED],
    "%fff": lambda _ms, f: f"{f.millisecond:03}",
    "%xxx": lambda ms, _f: f"{c.day_of_year(ms):03}",
    "%yy": lambda _ms, f: f"{f.year % 100:02}",
    "%mm": lambda _ms, f: f"{f.month:02}",
    "%dd": lambda _ms, f: f"{f.day:02}",
    "%hh": lambda _ms, f: f"{f.hour:02}",
    "%ii": lambda _ms, f: f"{f.minute:02}",
    "%ss": lambda _ms, f: f"{f.second:02}",
    "%kk": lambda ms, _f: f"{c.iso_week(ms)[1]:02}",
    "%t": lambda ms, _f: str(ms),
    "%z": lambda ms, _f: c.format_iso(ms),
    "%w": lambda ms, _f: str(c.weekday(ms)),
    "%y": lambda _ms, f: str(f.year),
    "%m": lambda _ms, f: str(f.month),
    "%d": lambda _ms, f: str(f.day),
    "%h": lambda _ms, f: str(f.hour),
    "%i": lambda _ms, f: str(f.minute),
    "%s": lambda _ms, f: str(f.second),
    "%f": lambda _ms, f: str(f.millisecond),
    "%x": lambda ms, _f: str(c.day_of_year(ms)),
    "%k": lambda ms, _f: str(c.iso_week(ms)[1]),
    "%l": lambda _ms, f: str(int(c.is_leap(f.year))),
    "%q": _quarter,
    "%a": lambda _ms, f: str(c.month_days(f.year, f.month)),
    "%%": lambda _ms, _f: "%",
    "%": lambda _ms, _f: "",
}
_ANY: Final = re.compile("|".join(_PLACEHOLDERS), re.IGNORECASE)


def format_date(ms: int, pattern: str) -> str:
    """The pattern with its placeholders filled in; what is none stays as it is."""
    fields = c.to_fields(ms)
    return _ANY.sub(lambda found: _PLACEHOLDERS[found[0].lower()](ms, fields), pattern)
