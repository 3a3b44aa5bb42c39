"""Everything of durable jobs in one worker: lines, runner, results, and the operations for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Final

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.jobs import CONSUMERS, Consumer
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import REDRIVEN
from mallku_workers.jobs.delivery import Fate
from mallku_workers.jobs.line import Line
from mallku_workers.jobs.redriving import Redriving
from mallku_workers.jobs.replies import JobReplies
from mallku_workers.jobs.results import Outcomes, Results
from mallku_workers.jobs.runner import JobRunner
from mallku_workers.jobs.shares import Shares, StreamLook
from mallku_workers.message import unix_ms
from mallku_workers.pipeline import Pipeline
from mallku_workers.replies import Replies
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.base import Store

FEW: Final = 4
"""Places for jobs that were given another try, jobs."""

CUT_OFF_S: Final = 1.0
"""What a job that is cut off may take to say so, seconds."""

_log = structlog.get_logger("mallku.jobs")


class Desk:
    """Where a worker takes durable jobs; nothing is taken before `open`."""

    def __init__(
        self, settings: WorkerSettings, connection: GatewayConnection, asking: RequestMultiplexer
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._asking = asking
        self._shares = Shares(StreamLook(connection, asking), settings.job_share, monotonic)
        self._results = Results(connection, asking, self._shares)
        self._lines: list[Line] = []
        self._runner: JobRunner | None = None

    @property
    def under_way(self) -> int:
        """Jobs in this worker's hands."""
        return self._runner.under_way if self._runner else 0

    @property
    def fates(self) -> dict[Fate, int]:
        """How many jobs came to which end, since the start."""
        return dict(self._runner.fates) if self._runner else dict.fromkeys(Fate, 0)

    def outcomes(self, store: Store) -> Outcomes:
        """Carries out `outcome`."""
        return Outcomes(store, self._results)

    def redriving(self) -> Redriving:
        """Carries out `redrive`."""
        return Redriving(self._connection, self._asking, clock=unix_ms)

    def open(
        self,
        pipeline: Pipeline,
        replies: Replies,
        bus: GatewayConnection,
        *,
        away: Callable[[], bool],
    ) -> None:
        """Jobs pass the same pipeline as commands; their replies are kept besides being sent.

        Args:
            away: Whether the worker is at fault itself, and leaves jobs to others.
        """
        own = replace(pipeline, replies=JobReplies(replies, bus, self._results))
        self._runner = runner = JobRunner(
            self._connection,
            self._asking,
            self._results,
            self._shares,
            own.handle,
            max_tries=self._settings.job_tries,
            clock=unix_ms,
        )
        self._lines = [
            Line(self._connection, consumer, self._places(consumer), runner.run, away=away)
            for consumer in CONSUMERS
        ]

    def _places(self, consumer: Consumer) -> int:
        if consumer.ordered:
            return 1
        return FEW if consumer.stream == REDRIVEN else self._settings.max_jobs

    async def keep(self) -> None:
        """Take jobs until cancelled or drained."""
        await asyncio.gather(*(line.keep() for line in self._lines))

    async def drain(self, timeout_s: float) -> None:
        """Take no more jobs, finish those under way; what is cut off others get at once."""
        end_s = asyncio.get_running_loop().time() + timeout_s
        await asyncio.gather(*(line.stop(timeout_s) for line in self._lines))
        left_s = max(end_s - asyncio.get_running_loop().time(), 0.0)
        if running := set(self._running()):
            await asyncio.wait(running, timeout=left_s)
        cut_off = [task for task in self._running() if not task.done()]
        for task in cut_off:
            task.cancel()
        if cut_off:
            _log.warning("jobs_cut_off", jobs=len(cut_off))
            await asyncio.wait(cut_off, timeout=CUT_OFF_S)

    def _running(self) -> Iterator[asyncio.Task[None]]:
        for line in self._lines:
            yield from line.running
