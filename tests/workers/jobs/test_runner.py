"""What the stream is told of a job, and what is noted, when the outside fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from mallku_broker.jobs import DeadJob, JobMessage
from mallku_broker.requests import Response
from mallku_contracts.errors import Busy, GatewayUnreachable, Unavailable, UniqueViolation
from mallku_contracts.limits import MAX_JOB_LIFE_MS, MAX_TIME_MS
from mallku_contracts.subjects import CommandSubject
from mallku_workers.jobs.delivery import Delivery, Fate, Verdict
from mallku_workers.jobs.runner import JobRunner
from mallku_workers.message import Message
from tests.vectors.commands import (
    DOCUMENT,
    JOB_IN_ORDER,
    JOB_LATER,
    JOB_NOW,
    LATER_MS,
    job_header,
    sealed,
)
from tests.vectors.world import NOW_MS, packed

REPLY = "$JS.ACK.MALLKU_JOBS.jobs.1.7.1.1.0"


@dataclass
class Outside:
    """Connection, streams, results and pipeline of a runner.

    Attributes:
        said: What the stream was told.
        noted: Deliveries that were excused.
        dead: Jobs that were put among the dead.
        keeps: Whether streams keep what is sent to them.
        verdict: What the pipeline makes of a job, or raises.
        silent: How many questions about notes nobody answers.
        full: Streams of which the principal has its share.
    """

    said: list[bytes] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)
    dead: list[DeadJob] = field(default_factory=list)
    keeps: bool = True
    before: int = 0
    silent: int = 0
    full: frozenset[str] = frozenset()
    verdict: Verdict | Exception = field(default_factory=lambda: Verdict(Fate.DONE))
    handled: list[Message] = field(default_factory=list)

    def post(self, subject: str, body: bytes) -> None:
        """Told to the stream."""
        assert subject == REPLY
        self.said.append(body)

    async def request(self, _subject: str, body: bytes, **_more: Any) -> Response:
        """Kept among the dead, or not."""
        if not self.keeps:
            return Response(b'{"error": {"description": "full"}}')
        self.dead.append(DeadJob.read(body))
        return Response(b'{"seq": 1}')

    async def excused(self, _job: JobMessage) -> int:
        """Noted before."""
        if self.silent > 0:
            self.silent -= 1
            raise GatewayUnreachable("nobody")
        return self.before

    async def excuse(self, _job: JobMessage, count: int) -> None:
        """Noted now."""
        if self.silent > 0:
            self.silent -= 1
            raise Unavailable("nobody")
        self.noted.append(count)

    async def beyond(self, stream: str, _subjects: str, _size: int, *, adds: bool = True) -> bool:
        """Shares."""
        assert adds is (stream != "MALLKU_JOBS")
        return stream in self.full

    async def handle(self, message: Message) -> None:
        """The pipeline."""
        self.handled.append(message)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        delivery = cast("Delivery", message.job)
        delivery.verdict, delivery.proven = self.verdict, True

    def runner(self, clock: Callable[[], int] = lambda: NOW_MS) -> JobRunner:
        """One that has nothing else."""
        here: Any = self
        return JobRunner(here, here, here, here, self.handle, max_tries=3, clock=clock)


def message(number: int = 1, *, later: bool = False) -> JobMessage:
    """A delivery of a job."""
    subject = JOB_LATER if later else JOB_NOW
    data = sealed(subject, job_header(subject, 7, LATER_MS if later else 0), packed(DOCUMENT))
    return JobMessage(str(subject), data, REPLY, "MALLKU_JOBS", 7, number, NOW_MS * 1_000_000)


def delay_s(said: bytes) -> float:
    """Of a job that is given back."""
    assert said.startswith(b"-NAK ")
    return float(json.loads(said[5:])["delay"]) / 1e9


async def test_a_job_that_is_done_is_forgotten() -> None:
    """The stream is told once, and nothing is noted."""
    outside = Outside()
    await outside.runner().run(message())
    assert (outside.said, outside.noted, outside.dead) == ([b"+ACK"], [], [])


async def test_a_dead_job_is_kept_before_it_is_forgotten() -> None:
    """With its reason and its bytes; where nobody keeps it, it stays in the stream, not counted."""
    outside = Outside(verdict=Verdict(Fate.DEAD, UniqueViolation("taken")), before=1)
    await outside.runner().run(message(3))
    (dead,) = outside.dead
    assert (dead.error["code"], dead.tries, dead.data) == ("unique_violation", 2, message().data)
    assert outside.said == [b"+ACK"]
    full = Outside(verdict=outside.verdict, keeps=False)
    await full.runner().run(message())
    assert delay_s(full.said[0]) > 0
    assert full.noted == [1]


async def test_what_was_no_try_is_noted() -> None:
    """No room: given back with the delay, and one delivery more is excused."""
    outside = Outside(verdict=Verdict(Fate.AGAIN, Busy("b"), 4.0, counts=False), before=2)
    await outside.runner().run(message(4))
    assert delay_s(outside.said[0]) == 4.0
    assert outside.noted == [3]
    assert outside.handled[0].job is not None
    assert outside.handled[0].job.tries == 2


async def test_a_reply_that_nobody_keeps_is_no_try() -> None:
    """The bucket of results is full: the job comes again, and is not given up for that."""
    outside = Outside(verdict=Unavailable("full"))
    await outside.runner().run(message())
    assert delay_s(outside.said[0]) > 0
    assert outside.noted == [1]


async def test_silence_about_notes_is_no_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the bucket is away the job stays with its worker: nothing is given back or counted."""
    monkeypatch.setattr("mallku_workers.jobs.runner.NOTES_AGAIN_S", 0.0)
    outside = Outside(verdict=Verdict(Fate.AGAIN, Busy("b"), 4.0, counts=False), silent=20)
    await outside.runner().run(message(2))
    assert (len(outside.said), outside.noted) == (1, [1])
    outside.silent = 20
    await outside.runner().run(message(1))
    assert (len(outside.said), outside.noted) == (2, [1, 1])


async def test_a_job_that_crowds_goes_to_the_pipeline_at_once() -> None:
    """It does not wait for its time; whoever was let in before, or begun, stays."""
    outside = Outside(full=frozenset({"MALLKU_JOBS"}))
    runner = outside.runner()
    await runner.run(message(later=True))
    assert [job.job and job.job.crowding for job in outside.handled] == [True]
    await runner.run(message(2, later=True))
    assert len(outside.handled) == 1
    await runner.run(message(2))
    assert [job.job and job.job.crowding for job in outside.handled] == [True, False]


async def test_beyond_its_share_a_dead_job_is_not_kept() -> None:
    """Nothing is put among the dead, and the stream forgets the job all the same."""
    dead = Verdict(Fate.DEAD, UniqueViolation("taken"))
    outside = Outside(verdict=dead, full=frozenset({"MALLKU_DEAD"}))
    await outside.runner().run(message())
    assert (outside.said, outside.dead) == ([b"+ACK"], [])


async def test_whatever_breaks_the_job_stays() -> None:
    """A surprise in the pipeline: nothing is said to be done, and it counts."""
    outside = Outside(verdict=RuntimeError("surprise"))
    await outside.runner().run(message())
    assert delay_s(outside.said[0]) > 0
    assert outside.noted == []


async def test_a_job_before_its_time_is_given_back_unbegun() -> None:
    """For exactly as long as it has to wait; when it comes a little early, for the rest."""
    outside = Outside()
    await outside.runner().run(message(later=True))
    await outside.runner(lambda: LATER_MS - 10).run(message(2, later=True))
    assert [delay_s(said) for said in outside.said] == [3_600.0, 0.05]
    assert outside.handled == []
    await outside.runner(lambda: LATER_MS).run(message(3, later=True))
    assert outside.said[-1] == b"+ACK"


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (JOB_NOW, {"run_at": LATER_MS}),
        (JOB_IN_ORDER, {"run_at": LATER_MS}),
        (JOB_LATER, {"run_at": LATER_MS, "exp": NOW_MS + MAX_JOB_LIFE_MS + 1}),
        (JOB_LATER, {"run_at": MAX_TIME_MS, "exp": MAX_TIME_MS}),
    ],
)
async def test_a_time_that_is_a_lie_is_not_waited_for(
    subject: CommandSubject, said: dict[str, int]
) -> None:
    """Not among those to be done at once, nor in order, nor for ever: the pipeline refuses it.

    Otherwise one message holds a line that everybody shares, for as long as its header says.
    """
    outside = Outside()
    lie = replace(job_header(subject, 7), **cast("Any", said))
    data = sealed(subject, lie, packed(DOCUMENT))
    job = JobMessage(str(subject), data, REPLY, "MALLKU_JOBS", 7, 1, NOW_MS * 1_000_000)
    await outside.runner().run(job)
    assert len(outside.handled) == 1
    assert outside.said == [b"+ACK"]


async def test_a_runner_that_is_cut_off_gives_the_job_back_at_once() -> None:
    """A worker that ends does not make others wait for its silence."""
    outside = Outside()
    begun = asyncio.Event()

    async def hang(_message: Message) -> None:
        begun.set()
        await asyncio.Event().wait()

    here: Any = outside
    runner = JobRunner(here, here, here, here, hang, max_tries=3, clock=lambda: NOW_MS)
    task = asyncio.ensure_future(runner.run(message()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert delay_s(outside.said[0]) < 0.01
