"""Carries out one delivered job, and tells the stream what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, TypeVar

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost
from mallku_broker.jobs import (
    ACK_WAIT_S,
    DeadJob,
    JobMessage,
    dead_of,
    jobs_of,
    keep,
    say_again,
    say_done,
    say_under_way,
)
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import DEAD, REDRIVEN
from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.errors import InternalError, MallkuError, Unavailable
from mallku_contracts.subjects import INBOX_ROOT, CommandSubject
from mallku_contracts.tracing import forwarded, trace_id
from mallku_workers.jobs.delivery import Delivery, Fate, Verdict, backoff_s
from mallku_workers.jobs.replies import INBOX
from mallku_workers.jobs.results import Results
from mallku_workers.jobs.shares import Shares
from mallku_workers.message import Message
from mallku_workers.tracing import traceparent_in

SAY_EVERY_S: Final = ACK_WAIT_S / 3
"""How often a worker says that it is still at a job, seconds."""

MIN_WAIT_S: Final = 0.05
"""The server gives a delayed job out a little early now and then: the least wait then, seconds."""

NOTES_AGAIN_S: Final = 0.5
"""Between two tries to read or write the notes about a job, seconds."""

HOLD_S: Final = 3_600.0
"""How long a worker holds a job while nobody answers about its notes, seconds."""

_MS_PER_S: Final = 1_000

_T = TypeVar("_T")
_log = structlog.get_logger("mallku.jobs")


class JobRunner:
    """Takes jobs one by one to what becomes of them; `clock` is Unix milliseconds.

    Args:
        handle: The pipeline, whose replies decide about the job.

    Attributes:
        fates: How many jobs came to which end, since the start.
        under_way: Jobs in this worker's hands.
    """

    def __init__(  # noqa: PLR0913 - the outside worlds that it brings together
        self,
        connection: GatewayConnection,
        asking: RequestMultiplexer,
        results: Results,
        shares: Shares,
        handle: Callable[[Message], Awaitable[None]],
        *,
        max_tries: int,
        clock: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._asking = asking
        self._results = results
        self._shares = shares
        self._handle = handle
        self._max_tries = max_tries
        self._clock = clock
        self.fates: dict[Fate, int] = dict.fromkeys(Fate, 0)
        self.under_way = 0

    async def run(self, job: JobMessage) -> None:
        """Carry out one delivery; nothing is raised: whatever goes wrong, it is delivered again."""
        self.under_way += 1
        try:
            async with self._saying_so(job):
                await self._run(job)
        except asyncio.CancelledError:
            self._again(job, 0.0)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream keeps the job
            _log.error("job_not_settled", sequence=job.sequence, exc_info=error)
            self._again(job, backoff_s(job.number))
        finally:
            self.under_way -= 1

    async def _run(self, job: JobMessage) -> None:
        excused = await self._answered(lambda: self._results.excused(job))
        asked = _asked(job)
        crowding = await self._is_crowding(job, job.number - excused)
        wait_s = _early_s(asked, self._clock())
        if wait_s > 0 and not crowding:
            await self._excuse(job, excused + 1)
            self._again(job, max(wait_s, MIN_WAIT_S))
            return
        delivery = Delivery(
            asked.stored_ms,
            job.number,
            job.number - excused,
            self._max_tries,
            redriven=job.stream == REDRIVEN,
            crowding=crowding,
        )
        try:
            await self._handle(self._message(asked, delivery, traceparent_in(job.header)))
        except Unavailable as error:  # its reply is kept nowhere, which is not the job's fault
            delivery.verdict = Verdict(Fate.AGAIN, error, backoff_s(job.number), counts=False)
        verdict = delivery.verdict or Verdict(
            Fate.AGAIN, InternalError("nobody said what became of it"), backoff_s(job.number)
        )
        if not delivery.proven:  # nobody's, and of no use to anybody: only that it came is kept
            asked = replace(asked, data=b"")
        await self._settle(job, asked, verdict, excused)

    async def _is_crowding(self, job: JobMessage, tries: int) -> bool:
        """Whether it may not wait here: never begun, not let in to wait for its time already."""
        if job.stream == REDRIVEN or tries > 1 or (job.scheduled and job.number > 1):
            return False
        size = len(job.data) + len(job.header or b"")
        return await self._shares.beyond(job.stream, jobs_of(job.principal), size, adds=False)

    async def _excuse(self, job: JobMessage, count: int) -> None:
        await self._answered(lambda: self._results.excuse(job, count))

    async def _answered(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer; the job stays ours meanwhile, so that no try is counted.

        Raises:
            TimeoutError: for `HOLD_S` there was none.
        """
        async with asyncio.timeout(HOLD_S):
            while True:
                try:
                    return await question()
                except MallkuError as error:
                    _log.warning("notes_not_answered", reason=repr(error))
                    await asyncio.sleep(NOTES_AGAIN_S)

    def _message(self, asked: DeadJob, delivery: Delivery, parent: str) -> Message:
        """What the pipeline takes; `parent` is the submitter's `traceparent`."""
        return Message(
            asked.subject,
            _inbox(asked.subject),
            asked.data,
            self._clock(),
            time.monotonic(),
            trace_id(parent),
            job=delivery,
            traceparent=parent,
        )

    async def _settle(
        self, job: JobMessage, asked: DeadJob, verdict: Verdict, excused: int
    ) -> None:
        if verdict.fate is Fate.AGAIN:
            if not verdict.counts:
                await self._excuse(job, excused + 1)
            self._again(job, verdict.delay_s)
        else:
            if verdict.fate is Fate.DEAD and verdict.error is not None:
                try:
                    await self._bury(job, asked, verdict.error, job.number - excused)
                except Unavailable:
                    await self._excuse(job, excused + 1)
                    raise
            say_done(self._connection, job)
        self.fates[verdict.fate] += 1

    async def _bury(self, job: JobMessage, asked: DeadJob, error: MallkuError, tries: int) -> None:
        """Put it among the dead, before the stream forgets it, while its principal's share lasts.

        Beyond the share the trail and the result say why it is dead; it cannot be redriven.
        """
        dead = DeadJob(
            asked.subject, asked.stored_ms, job.sequence, tries, error.to_wire(), asked.data
        )
        body = dead.pack()
        if await self._shares.beyond(DEAD, dead_of(job.principal), len(body)):
            _log.warning("job_dead_not_kept", subject=asked.subject, code=error.code)
            return
        name = f"{job.stream}.{job.sequence}.{job.time_ns}"
        trace = forwarded(traceparent_in(job.header))
        await keep(self._asking, dead.dead_subject, body, message_id=name, trace=trace)
        _log.info("job_dead", subject=asked.subject, sequence=job.sequence, code=error.code)

    def _again(self, job: JobMessage, delay_s: float) -> None:
        try:
            say_again(self._connection, job, delay_s)
        except ConnectionLost:
            return  # it is delivered again when nobody says anything

    @asynccontextmanager
    async def _saying_so(self, job: JobMessage) -> AsyncGenerator[None]:
        """Keep the job to ourselves for as long as we are at it."""

        async def say() -> None:
            while True:
                await asyncio.sleep(SAY_EVERY_S)
                try:
                    say_under_way(self._connection, job)
                except ConnectionLost:
                    continue

        saying = asyncio.ensure_future(say())
        try:
            yield
        finally:
            saying.cancel()


def _asked(job: JobMessage) -> DeadJob:
    """What is asked for, and when it first was: of a redriven job that stands in its body."""
    if job.stream != REDRIVEN:
        return DeadJob(job.subject, job.stored_ms, job.sequence, 0, {}, job.data)
    return DeadJob.read(job.data)


def _early_s(asked: DeadJob, now_ms: int) -> float:
    """How long before its time a job comes, seconds.

    Nothing waits but what could have come to the line of those that wait, and no longer than a job
    may live: whatever lies about its time has no time, and is refused in the pipeline at once.
    """
    try:
        header = CommandHeader.read(Envelope.split(asked.data).protected)
        header.check_subject(CommandSubject.parse(asked.subject))
        header.check_times(asked.stored_ms)
    except MallkuError:
        return 0.0
    return ((header.run_at or 0) - now_ms) / _MS_PER_S


def _inbox(subject: str) -> str:
    """Below the inbox of whom the subject names; nowhere when it names nobody."""
    try:
        return f"{INBOX_ROOT}.{CommandSubject.parse(subject).principal}.{INBOX}"
    except MallkuError:
        return ""
