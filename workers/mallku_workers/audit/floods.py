"""Refusals that come in floods are summed up, so that nobody can fill the trail with them."""

from __future__ import annotations

from typing import Final

MAX_COUNTED_PRINCIPALS: Final = 10_000
"""Principals counted apart in one minute; the rest share one count."""

_MS_PER_MINUTE: Final = 60_000
OTHERS: Final = "others"
"""Stands for the principals beyond `MAX_COUNTED_PRINCIPALS`."""


class RefusalFloods:
    """Lets the first refusals of a principal in a minute pass one by one, and counts the rest."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = 0
        self._counts: dict[str, int] = {}

    def passes(self, principal: str) -> bool:
        """Count one refusal; whether it gets a record of its own."""
        if len(self._counts) >= MAX_COUNTED_PRINCIPALS and principal not in self._counts:
            principal = OTHERS
        self._counts[principal] = self._counts.get(principal, 0) + 1
        return self._counts[principal] <= self._per_minute

    def begin_minute(self, now_ms: int) -> list[tuple[str, int]]:
        """What former minutes left to sum up: (principal, refusals); empty in the same minute."""
        minute = now_ms // _MS_PER_MINUTE
        if minute == self._minute:
            return []
        self._minute = minute
        return self.summaries()

    def summaries(self) -> list[tuple[str, int]]:
        """What was counted and has no record yet; the counts begin anew."""
        left = [(name, count - self._per_minute) for name, count in self._counts.items()]
        self._counts = {}
        return [(name, count) for name, count in left if count > 0]
