"""What of a fast trail is shown line by line, and what is only counted: pure, with the time given.

Refusals and failures are always shown, until they too are a flood. Successes are shown as long as
people can read along; beyond that some are, and the rest is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mallku_deploy.auditing.lines import Line

BURST: Final = 20
"""Successes that are shown however fast they come."""

SAMPLES_PER_S: Final = 5.0
"""Successes that are shown for each second of a busy time."""

TROUBLE_BURST: Final = 200
"""Refusals and failures that are shown however fast they come."""

TROUBLES_PER_S: Final = 20.0
"""Refusals and failures that are shown for each second of a flood."""

MAX_NAMED: Final = 4
"""Operations, or codes and principals, that one summary names."""

MAX_COUNTED: Final = 1_000
"""Different ones that are told apart between two summaries."""


@dataclass(slots=True)
class Summary:
    """What was not shown: how many of each, by operation, or by code and principal."""

    successes: Counter[str] = field(default_factory=Counter[str])
    troubles: Counter[str] = field(default_factory=Counter[str])

    def texts(self) -> list[str]:
        """One line for successes, one for what went wrong."""
        return [
            f"… {counted.total():,} more {what}: {_named(counted)}"
            for what, counted in (("done", self.successes), ("refused or failed", self.troubles))
            if counted
        ]


class Sampler:
    """Decides line by line.

    Args:
        everything: Show all of it, however fast it comes.

    Attributes:
        totals: How many of each kind came, shown or not.
    """

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self._successes = _Allowance(BURST, SAMPLES_PER_S)
        self._troubles = _Allowance(TROUBLE_BURST, TROUBLES_PER_S)
        self._summary = Summary()
        self.totals: Counter[str] = Counter()

    def shows(self, line: Line, now_s: float) -> bool:
        """Whether to show the line; else it is counted. `now_s` counts seconds."""
        self.totals[line.kind] += line.count
        if self._everything:
            return True
        if line.kind == "done":
            shown = self._successes.takes(now_s)
            if not shown:
                _count(self._summary.successes, line.operation, 1)
            return shown
        shown = self._troubles.takes(now_s)
        if not shown:
            name = f"{line.detail or line.kind} of {line.principal}"
            _count(self._summary.troubles, name, line.count)
        return shown

    def summary(self) -> Summary:
        """What was not shown since the last time; a new count begins."""
        summary, self._summary = self._summary, Summary()
        return summary


class _Allowance:
    """A bucket of tokens: `burst` at once, `per_s` in the long run."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = float(burst), per_s
        self._left, self._at = float(burst), 0.0

    def takes(self, now_s: float) -> bool:
        gained = max(0.0, now_s - self._at) * self._per_s
        self._left, self._at = min(self._burst, self._left + gained), now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _count(counter: Counter[str], name: str, how_many: int) -> None:
    counter[name if name in counter or len(counter) < MAX_COUNTED else "others"] += how_many


def _named(counted: Counter[str]) -> str:
    common = counted.most_common(MAX_NAMED)
    said = ", ".join(f"{name} {count:,}" for name, count in common)
    left = counted.total() - sum(count for _, count in common)
    return f"{said}, others {left:,}" if left else said
