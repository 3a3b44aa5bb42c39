"""The counters of the broker in memory: they take their time, dedupe, and may fall silent."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from mallku_broker.counters import NotCounted


class SimulatedCounters:
    """Stands for `mallku_broker.counters.Counters`; all workers of a test share one.

    Attributes:
        values: What each counter says.
        calls: How many were made.
        told: For which subjects, in order.
        latency_s: From a call to its answer, seconds; the addition is in the middle.
        silent: While it is, additions are made or not (`deaf`), and nobody is answered.
    """

    def __init__(self, latency_s: float = 0.001) -> None:
        self.values: defaultdict[str, int] = defaultdict(int)
        self.calls = 0
        self.told: list[str] = []
        self.latency_s = latency_s
        self.silent = False
        self.deaf = False
        self._seen: set[str] = set()

    async def add(
        self, subject: str, amount: int, *, once: str | None = None, timeout_s: float
    ) -> int | None:
        """Add, and say what the counter then says."""
        self.calls += 1
        self.told.append(subject)
        if self.silent:
            if not self.deaf:
                self.values[subject] += amount
            await asyncio.sleep(timeout_s)
            raise NotCounted("no answer", sent=True)
        await asyncio.sleep(self.latency_s / 2)
        value = self._count(subject, amount, once)
        await asyncio.sleep(self.latency_s / 2)
        return value

    def _count(self, subject: str, amount: int, once: str | None) -> int | None:
        if once is not None:
            if once in self._seen:
                return None
            self._seen.add(once)
        self.values[subject] += amount
        return self.values[subject]
