"""Durable jobs in the pipeline of commands: what is judged when, and what is not a replay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.errors import (
    Busy,
    JobGivenUp,
    MallkuError,
    Revoked,
    StaleCommand,
    TokenExpired,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.subjects import CommandSubject
from mallku_workers.jobs.delivery import Delivery
from mallku_workers.jobs.delivery import Fate as JobFate
from mallku_workers.message import unix_ms
from tests.support.simulated_caller import Sent, SimulatedCaller, make_token
from tests.support.simulated_trail import Fate
from tests.workers.world import Cluster, Worker, mallku, message_of, pause, until

HOUR_MS = 3_600_000
INSERT = {"document": {"_key": "k1"}}


def seal(caller: SimulatedCaller, operation: str = "insert", **header: Any) -> Sent:
    """A job that was signed three hours ago, when its token was young."""
    then = unix_ms() - 3 * HOUR_MS
    token = make_token(
        caller.key,
        principal=caller.principal,
        roles=frozenset({"service"}),
        issued_s=then / 1_000,
        life_s=600,
    )
    subject = CommandSubject(caller.principal, "mallku", "memory_anchors", operation, "job")
    fields: dict[str, Any] = {
        "iat": then,
        "exp": then + 24 * HOUR_MS,
        "id": uuid7(then),
        "run_at": 0,
        "order": "",
    }
    arguments = INSERT if operation == "insert" else {"document": "k1"}
    return caller.seal(operation, arguments, subject=subject, token=token, **(fields | header))


def delivered(number: int = 1, tries: int = 1, late_ms: int = 0) -> Delivery:
    """The stream took it when it was signed, or a while later."""
    return Delivery(unix_ms() - 3 * HOUR_MS + late_ms, number, tries)


async def refused(worker: Worker, sent: Sent, job: Delivery) -> MallkuError:
    """Why the worker does not do it."""
    return (await worker.take(sent, job=job)).error


@pytest.fixture
def worker() -> Worker:
    """A worker of a cluster of its own."""
    return Worker(Cluster())


async def test_token_and_freshness_are_judged_when_the_stream_took_it(worker: Worker) -> None:
    """A token that expired while the job waited is good; one that was over before is not."""
    sent = seal(mallku())
    assert (await worker.take(sent, job=delivered())).result["_key"] == "k1"
    late = delivered(late_ms=HOUR_MS)
    assert isinstance(await refused(worker, sent, late), (StaleCommand, TokenExpired))


async def test_a_job_that_reaches_the_stream_late_is_stale(worker: Worker) -> None:
    """Bytes of a job that somebody kept are worth nothing after a minute."""
    late = delivered(late_ms=120_000)
    assert isinstance(await refused(worker, seal(mallku()), late), StaleCommand)


async def test_its_own_end_is_judged_when_it_is_its_turn(worker: Worker) -> None:
    """A job that waited for longer than it was good for is not begun."""
    then = unix_ms() - 3 * HOUR_MS
    sent = seal(mallku(), exp=then + HOUR_MS)
    assert isinstance(await refused(worker, sent, delivered()), StaleCommand)
    assert worker.store.works == []


async def test_policy_and_revocation_are_judged_now(worker: Worker) -> None:
    """Who was revoked while the job waited gets nothing of it, and nobody without a rule does."""
    banned = SimulatedCaller.of("banned", "service")
    assert isinstance(await refused(worker, seal(banned), delivered()), Revoked)
    assert worker.store.works == []


async def test_a_delivery_again_is_no_replay(worker: Worker) -> None:
    """The same bytes twice: each has its intent, and the ledger answers the second."""
    sent = seal(mallku())
    first = await worker.take(sent, job=delivered())
    again = await worker.take(sent, job=delivered(number=2, tries=2))
    assert again.result == first.result
    assert again.body["replayed"]
    kinds = [record.kind for record in worker.trail.records()]
    assert kinds == ["intent", "done", "intent", "done"]


@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_jobs_under_one_id_wait_for_each_other(worker: Worker, operation: str) -> None:
    """Ids are callers' to choose. At once, one's outcome would stand for that of the other.

    The second comes again, and that is no try of it: neither it nor its refusal is on the trail.
    """
    caller = mallku()
    first = seal(caller)
    second = seal(caller, operation, id=first.header.id, idem="another")
    worker.store.gate.clear()
    working = asyncio.ensure_future(worker.take(first, job=delivered()))
    await until(lambda: worker.store.inside == 1)
    waiting = delivered()
    error = await refused(worker, second, waiting)
    assert isinstance(error, Busy)
    verdict = waiting.decide(error)
    assert (verdict.fate, verdict.counts) == (JobFate.AGAIN, False)
    assert worker.trail.kinds() == ["intent"]
    worker.store.gate.set()
    await working
    await worker.take_raw(second, job=delivered(number=2))
    assert worker.trail.kinds()[:3] == ["intent", "done", "intent"]
    assert len(worker.pipeline.under_way) == 0


async def test_a_job_does_not_wait_for_a_command_of_its_id(worker: Worker) -> None:
    """They are told apart, and neither is in the other's way."""
    now, caller = unix_ms(), mallku()
    command = caller.seal("insert", {"document": {}}, id=uuid7(now))
    terms: dict[str, Any] = {"run_at": 0, "order": "", "idem": "another"}
    subject = replace(command.subject, channel="job")
    job = caller.seal("insert", INSERT, subject=subject, id=command.header.id, **terms)
    worker.store.gate.clear()
    takes = [
        asyncio.ensure_future(worker.take(command)),
        asyncio.ensure_future(worker.take(job, job=Delivery(now, 1, 1))),
    ]
    await until(lambda: worker.store.inside == 2)
    worker.store.gate.set()
    assert [(await take).result["_key"] for take in takes]


async def test_a_spent_job_is_not_begun(worker: Worker) -> None:
    """Past its last try it is refused before its body is even read."""
    assert isinstance(await refused(worker, seal(mallku()), delivered(9, 9)), JobGivenUp)
    assert worker.store.works == []


async def test_a_read_waits_for_its_record_too(worker: Worker) -> None:
    """Of a job nothing is answered before its outcome stands, be it a read."""
    held = {"done": Fate.HELD}
    worker.trail.fate = lambda record: held.get(record.kind, Fate.STORED)
    sent = seal(mallku(), "get")
    task = asyncio.ensure_future(worker.pipeline.handle(message_of(sent, job=delivered())))
    await until(lambda: worker.trail.kinds() == ["intent", "done"])
    await pause()
    assert worker.bus.posts == []
    worker.trail.release()
    await task
    assert len(worker.bus.posts) == 1
