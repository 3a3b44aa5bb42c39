"""Of all workers one reconciles in each period, and never none; who asked is answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from mallku_broker.counters import NotCounted
from mallku_broker.reconciliation import Former
from mallku_contracts.errors import AuditUnavailable
from mallku_workers.message import unix_ms
from mallku_workers.reconciling import CountedTurns, Schedule, keep_reconciled, keeping
from tests.workers.world import until

MINUTE = Schedule(60.0)
NOW_MS = 1_795_000_000_000


@dataclass
class Counted:
    """Counters that several workers share; silent ones answer nobody."""

    values: dict[str, int] = field(default_factory=dict[str, int])
    silent: bool = False

    async def add(
        self, subject: str, amount: int, *, once: str | None = None, timeout_s: float
    ) -> int | None:
        """What the counter then says."""
        assert once is None
        assert timeout_s > 0
        if self.silent:
            raise NotCounted("no answer", sent=True)
        self.values[subject] = self.values.get(subject, 0) + amount
        return self.values[subject]


async def test_one_of_several_has_the_turn() -> None:
    """Whoever comes first in a period; in each period somebody."""
    counted = Counted()
    workers = [CountedTurns(counted, MINUTE) for _ in range(4)]
    for minute in range(3):
        now_ms = NOW_MS + minute * 60_000
        turns = [await worker.is_ours(now_ms + place) for place, worker in enumerate(workers)]
        assert turns == [True, False, False, False]


async def test_the_turn_of_a_dead_worker_passes() -> None:
    """Who had it and died over it holds up one period alone."""
    counted = Counted()
    assert await CountedTurns(counted, MINUTE).is_ours(NOW_MS)
    survivor = CountedTurns(counted, MINUTE)
    assert not await survivor.is_ours(NOW_MS + 1_000)
    assert await survivor.is_ours(NOW_MS + 61_000)


async def test_without_counters_everybody_has_a_turn() -> None:
    """Rather several runs than none."""
    counted = Counted(silent=True)
    workers = [CountedTurns(counted, MINUTE) for _ in range(3)]
    assert [await worker.is_ours(NOW_MS) for worker in workers] == [True, True, True]


class Reads:
    """Runs that fail at first; what each was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def run(self, asked: int = 0) -> None:
        """Remember, and fail the first two times."""
        self.asked.append(asked)
        if len(self.asked) <= 2:
            raise AuditUnavailable("the trail is silent")


async def test_a_request_outlives_a_run_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked before the workers were there, or while a run failed, is answered later."""
    reads = Reads()

    async def follow(asked: Any, _connection: object, _instance: str) -> None:
        asked.revision = 7

    async def former(_connection: object) -> Former:
        return Former(asked=7 if len(reads.asked) > 2 else 3, time_ms=unix_ms())

    monkeypatch.setattr(keeping._Asked, "follow", follow)
    monkeypatch.setattr(keeping, "read_former", former)
    turns = CountedTurns(Counted(), MINUTE)
    task = asyncio.ensure_future(
        keep_reconciled(reads, cast("Any", None), "w1", Schedule(0.1), turns, clock=unix_ms)
    )
    await until(lambda: len(reads.asked) == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(reads.asked[1:]) == {7}
