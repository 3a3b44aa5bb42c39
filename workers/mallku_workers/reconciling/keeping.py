"""When a worker reconciles: once it serves, in its turn, and when an administrator asks.

A run takes as long as it takes to read the records of a minute, under load many seconds: so of all
workers one alone begins in each period, whoever counts first. Who asks writes the key `reconcile`
of the bucket `mallku_flags`, which administrators alone may; the run that answers names that
revision in its record.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mallku_broker.buckets import Watch, place
from mallku_broker.connection import GatewayConnection
from mallku_broker.counters import NotCounted, counter_subject
from mallku_broker.reconciliation import RECONCILE, read_former
from mallku_broker.streams import FLAGS
from mallku_contracts.errors import MallkuError
from mallku_contracts.governed import GATEWAY

SPREAD_S: Final = 0.5
"""Workers that begin at the same moment wait up to this long, each another time, seconds."""

AGAIN_S: Final = 5.0
"""After a run that failed the next one comes so soon, seconds."""

COUNTED_S: Final = 2.0
"""How long the counter of turns may take, seconds."""

_MS_PER_S: Final = 1_000
_log = structlog.get_logger("mallku.reconciler")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often the gateway reconciles, seconds; of its workers one does it each time."""

    every_s: float


class Turns(Protocol):
    """Says whose turn a period is."""

    async def is_ours(self, now_ms: int) -> bool:
        """Whether nobody else has begun in this period."""
        ...


class Counting(Protocol):
    """Counters that all workers share: `Counters`."""

    async def add(
        self, subject: str, amount: int, *, once: str | None = None, timeout_s: float
    ) -> int | None:
        """Add, and return what the counter then says."""
        ...


class CountedTurns:
    """Gives a period to the worker that counts first on a counter of its own.

    Where the counters do not answer everybody has a turn: rather several runs than none.
    """

    def __init__(self, counters: Counting, schedule: Schedule) -> None:
        self._counters = counters
        self._period_ms = int(schedule.every_s * _MS_PER_S)

    async def is_ours(self, now_ms: int) -> bool:
        """Whether nobody else has begun in this period."""
        period = now_ms // self._period_ms
        subject = counter_subject(GATEWAY, f"{RECONCILE}-{period}")
        try:
            return await self._counters.add(subject, 1, timeout_s=COUNTED_S) == 1
        except NotCounted:
            return True


class Runs(Protocol):
    """What can be run: `Reconciler`."""

    async def run(self, asked: int = 0) -> object:
        """Close what can be closed."""
        ...


class _Asked:
    """The newest request of an administrator."""

    def __init__(self) -> None:
        self.revision = 0
        self.news = asyncio.Event()

    async def follow(self, connection: GatewayConnection, instance: str) -> None:
        """Hear every request until cancelled; those from before the start are answered by it."""
        stream, subject = place(FLAGS, RECONCILE)
        name = f"{RECONCILE}-{instance}"
        async with Watch(connection, stream, subject, name=name, troubled=_trouble) as watch:
            kept = await watch.next()
            self.revision = max((entry.revision for entry in kept), default=0)
            while True:
                for entry in await watch.next():
                    if entry.revision > self.revision:
                        self.revision = entry.revision
                        self.news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next request; False when there is none in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.news.wait()
                self.news.clear()
                return True
        return False


async def keep_reconciled(  # noqa: PLR0913 - what it brings together
    runs: Runs,
    connection: GatewayConnection,
    instance: str,
    schedule: Schedule,
    turns: Turns,
    *,
    clock: Callable[[], int],
) -> None:
    """Run at the start, when it is our turn, and when asked; until cancelled.

    Args:
        clock: Unix milliseconds.
    """
    asked = _Asked()
    async with asyncio.TaskGroup() as group:
        group.create_task(asked.follow(connection, instance))
        since_ms, due = 0, True
        while True:
            await asyncio.sleep(SPREAD_S * random.random())  # noqa: S311 - only spreads runs
            done = True
            if due or await turns.is_ours(clock()):
                done = await _run(runs, connection, asked.revision, since_ms)
            due = await asked.wait(schedule.every_s if done else min(AGAIN_S, schedule.every_s))
            due, since_ms = due or not done, clock() - _half(schedule)


async def _run(runs: Runs, connection: GatewayConnection, request: int, since_ms: int) -> bool:
    """Run unless another worker did, since then and for the request; False when it failed."""
    try:
        last = await read_former(connection)
        if last.asked < request:
            await runs.run(request)
        elif not since_ms or last.time_ms <= since_ms:
            await runs.run()
    except MallkuError as error:
        _log.warning("not_reconciled", reason=str(error))
        return False
    except Exception as error:  # noqa: BLE001 - what is left open must not end what can be served
        _log.error("reconciler_failed", exc_info=error)
        return False
    return True


def _half(schedule: Schedule) -> int:
    return int(schedule.every_s * _MS_PER_S / 2)


def _trouble(error: MallkuError) -> None:
    _log.warning("requests_not_heard", reason=error.message)
