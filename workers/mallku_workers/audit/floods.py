"""Refusals that come in floods are summed up, so that nobody can fill the trail with them."""

from __future__ import annotations

from typing import Final

MAX_COUNTED_PRINCIPALS: Final = 10_000
"""Principals counted apart in one minute; the rest share one count."""

OTHERS: Final = "others"
"""Stands for the principals beyond `MAX_COUNTED_PRINCIPALS`."""


class RefusalFloods:
    """Lets the first refusals of a principal in a minute pass one by one, and counts the rest.

    When a minute ends is for the owner to say, by asking for the `summaries`.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._passed: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def passes(self, principal: str, *, room: bool) -> bool:
        """Count one refusal; whether it gets a record of its own, where there is `room` for one."""
        if len(self._passed) >= MAX_COUNTED_PRINCIPALS and principal not in self._passed:
            principal = OTHERS
        passed = self._passed.setdefault(principal, 0)
        if room and passed < self._per_minute:
            self._passed[principal] = passed + 1
            return True
        self._left_out[principal] = self._left_out.get(principal, 0) + 1
        return False

    def summaries(self) -> list[tuple[str, int]]:
        """(principal, refusals) of all that got no record; the counts begin anew."""
        left_out = list(self._left_out.items())
        self._passed, self._left_out = {}, {}
        return left_out
