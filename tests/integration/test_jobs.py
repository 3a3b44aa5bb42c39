"""Durable jobs on a real gateway: kept, done once, dead with a reason, and given another try."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mallku_broker.connection import ConnectionSettings, connect
from mallku_broker.jobs import DeadJob
from mallku_client import SecuredDatabaseInterface, sync
from mallku_contracts.errors import (
    InvalidArguments,
    JobGivenUp,
    JobNotFound,
    JobPending,
    PermissionDenied,
    UniqueViolation,
)
from mallku_deploy.demo.trail import Trail
from mallku_deploy.jobs import looking
from tests.integration.jobs import RESULT_S, dead_jobs, job_stage, refusal, seal_job, settings_of
from tests.integration.stage import CLOSED, Stage, eventually
from tests.integration.test_rebuild import rebuilt
from tests.integration.world import World, running_world, until
from tests.support.failpoints import AFTER_COMMIT, AFTER_INTENT, OF_JOBS
from tests.support.simulated_caller import now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

STRUCK_AT = ("identify", *AFTER_INTENT, *AFTER_COMMIT, "recorded", *OF_JOBS)
QUICK = timedelta(seconds=1.5)
"""How long an attempt may take, so that it is known soon what became of one."""


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A gateway whose workers can be struck, and that gives a job up after two tries."""
    async with job_stage(tmp_path, monkeypatch, JOB_TRIES=2) as stage:
        yield stage


async def test_a_job_is_kept_done_and_told(client: SecuredDatabaseInterface) -> None:
    """The receipt says where it is kept, the answer has the trail's, and outcome knows both."""
    answers: list[Any] = []
    anchors = client.collection("memory_anchors")
    job = await anchors.submit.insert({"_key": "job-1"}, on_answer=answers.append)
    assert job.receipt is not None
    assert (job.receipt.stream, job.receipt.sequence > 0) == ("MALLKU_JOBS", True)
    meta = await job.result(RESULT_S)
    assert isinstance(meta, dict)
    assert meta["_key"] == "job-1"
    assert answers[0].receipt["stream"] == "MALLKU_AUDIT"
    outcome = await client.outcome(job.idempotency_key)
    assert (outcome["state"], outcome["result"]) == ("done", meta)
    assert outcome.get("reply")
    assert await client.job(job.idempotency_key).result(RESULT_S) == meta


async def test_the_same_key_is_the_same_job(client: SecuredDatabaseInterface) -> None:
    """Submitted twice under one key it has its effect once, and both are told the same."""
    anchors = client.collection("memory_anchors")
    first = await anchors.submit.insert({"a": 1}, idempotency_key="twice")
    second = await anchors.submit.insert({"a": 1}, idempotency_key="twice")
    assert await first.result(RESULT_S) == await second.result(RESULT_S)


async def test_any_operation_can_be_a_job(client: SecuredDatabaseInterface) -> None:
    """A read, a batch and a transaction come back as the calls themselves would say it."""
    anchors = client.collection("memory_anchors")
    batch = await anchors.submit.insert_many([{"_key": "b1"}, {"_key": "b1"}])
    entries = await batch.result(RESULT_S)
    assert isinstance(entries[1], UniqueViolation)
    steps = [
        {"operation": "delete", "collection": "memory_anchors", "arguments": {"document": "b1"}}
    ]
    assert len(await (await client.submit.execute_transaction(steps)).result(RESULT_S)) == 1
    read = await client.submit.command("get", "memory_anchors", {"document": "b1"})
    assert await read.result(RESULT_S) is None


async def test_blocking_jobs_are_the_same(world: World) -> None:
    """Without `await` a job has the same names, and its result blocks."""
    import asyncio

    def play() -> None:
        settings = world.client_settings("mallku")
        with sync.SecuredDatabaseInterface.connect(settings=settings) as db:
            submit = db.collection("memory_anchors").submit
            job = submit(ordering_key="k").insert({"_key": "blocking"})
            assert job.result(RESULT_S) == db.job(job.idempotency_key).result(RESULT_S)
            assert db.submit.command("count", "memory_anchors").result(RESULT_S) > 0

    await asyncio.to_thread(play)


async def test_nobody_else_finds_a_result(world: World, client: SecuredDatabaseInterface) -> None:
    """Another principal that knows the key is told nothing, and hears nothing on the way."""
    heard: list[str] = []
    async with world.client("operator") as operator, world.connection("mallory") as mallory:
        for subject in ("_INBOX_mallku.mallku.job.*", "mallku.v1.stored.mallku.>"):
            await mallory.listen(subject, lambda subject, *_: heard.append(subject))
        job = await client.collection("memory_anchors").submit.insert({"secret": 1})
        await job.result(RESULT_S)
        outcome = await operator.outcome(job.idempotency_key)
        assert (outcome["state"], outcome["result"]) == ("unknown", None)
    assert heard == []


async def test_a_job_waits_until_its_time(client: SecuredDatabaseInterface) -> None:
    """It is not there before, `result` says that it is pending, and then it is done."""
    anchors = client.collection("memory_anchors")
    due = time.time() + 2
    later = anchors.submit(run_at=datetime.fromtimestamp(due, UTC))
    job = await later.insert({"_key": "later"})
    with pytest.raises(JobPending):
        await job.result(0.5)
    await job.result(RESULT_S)
    assert time.time() >= due - 0.05
    assert await anchors.has("later")


async def test_terms_that_cannot_be_are_refused_before_anything_is_sent(
    client: SecuredDatabaseInterface,
) -> None:
    """A time without a zone, a time and an order, a life above a week: the caller is told."""
    submit = client.collection("memory_anchors").submit
    now = datetime.now(UTC)
    with pytest.raises(InvalidArguments, match="time zone"):
        submit(run_at=now.replace(tzinfo=None))
    with pytest.raises(InvalidArguments, match="not both"):
        submit(run_at=now, ordering_key="k")
    with pytest.raises(InvalidArguments, match="expires_in"):
        await submit(expires_in=timedelta(days=8)).insert({})
    with pytest.raises(InvalidArguments, match="run_at"):
        await submit(run_at=now + timedelta(days=2)).insert({})


async def test_the_broker_keeps_no_job_of_what_nobody_allowed(world: World) -> None:
    """Who may not do it may not have it kept: the broker's own lock says so at once."""
    async with world.client("mallory") as mallory:
        with pytest.raises(PermissionDenied):
            await mallory.collection("memory_anchors").submit.insert({})


async def test_a_key_that_is_used_again_is_not_told_the_old_failure(world: World) -> None:
    """Whoever submits again after a failure waits for what becomes of the new job."""
    async with world.client() as client:
        anchors = client.collection("memory_anchors")
        await anchors.insert({"_key": "in-the-way"})
        document, key = {"_key": "in-the-way", "by": "job"}, "used-again"
        job = await anchors.submit.insert(document, idempotency_key=key)
        assert isinstance(await refusal(job), UniqueViolation)
        await anchors.delete("in-the-way")
        later = anchors.submit(run_at=datetime.now(UTC) + timedelta(seconds=1))
        again = await later.insert(document, idempotency_key=key)
        assert await again.result(RESULT_S)
        assert await anchors.has("in-the-way")


async def test_what_can_never_work_is_dead_and_redriven(world: World) -> None:
    """A refused job is dead with its reason; once that is gone an administrator redrives it."""
    async with world.client() as client, world.client("operator") as operator:
        anchors = client.collection("memory_anchors")
        await anchors.insert({"_key": "taken"})
        job = await anchors.submit.insert({"_key": "taken", "by": "job"})
        assert isinstance(await refusal(job), UniqueViolation)
        (dead,) = await eventually(lambda: dead_jobs(world, job.idempotency_key), bool)
        assert (dead.code, dead.operation, dead.tries) == ("unique_violation", "insert", 1)
        await anchors.delete("taken")
        with pytest.raises(PermissionDenied):
            await client.command("redrive", None, {"sequence": dead.sequence})
        answer = await operator.command("redrive", None, {"sequence": dead.sequence})
        assert answer.receipt
        await eventually(
            lambda: client.outcome(job.idempotency_key), lambda told: told["state"] == "done"
        )
        assert (await anchors.get("taken") or {})["by"] == "job"
        await operator.command("redrive", None, {"sequence": dead.sequence})  # once all the same
        with pytest.raises(JobNotFound):
            await operator.command("redrive", None, {"sequence": 10_000})
        shown = await looking.show(settings_of(world), "MALLKU_DEAD", dead.sequence)
        assert shown["arguments"]["document"]["by"] == "job"
    assert (await world.verify()).findings.accusations == []


async def test_a_forged_delivery_has_no_effect(world: World) -> None:
    """Among the redriven, bytes whose signature does not hold are dead: nothing lifts that."""
    subject, data = seal_job(world.caller(), {"document": {"_key": "forged"}})
    forged = data.replace(b"forged", b"FORGED")
    files = world.furnished.workers[0]
    settings = ConnectionSettings(url=world.gateway.url, credentials=files.records)
    worker = await connect(settings, name="thief", inbox_prefix="_INBOX_mallku_worker.thief")
    try:
        job = DeadJob(subject, now_ms(), 1, 1, {}, forged)
        await worker.publish(job.redrive_subject(1), job.pack())
        await worker.flush()
        await eventually(
            lambda: dead_jobs(world),
            lambda jobs: any(each.code == "invalid_signature" for each in jobs),
        )
    finally:
        await worker.close()
    async with world.client() as client:
        assert not await client.collection("memory_anchors").has("FORGED")


async def test_a_job_under_another_subject_or_too_late_is_dead(world: World) -> None:
    """A job aimed elsewhere, one with an unsigned time, and one signed long ago are refused."""
    caller = world.caller()
    subject, data = seal_job(caller, {"document": {"_key": "moved"}})
    long_ago = now_ms() - 120_000
    _, old = seal_job(caller, {"document": {"_key": "old"}}, iat=long_ago, id=_id(long_ago))
    async with world.connection() as raw:
        await raw.publish(subject.replace("memory_anchors", "khipu_blocks"), data)
        await raw.publish(subject + ".at", data)
        await raw.publish(subject, old)
        await raw.publish(subject, b"junk")
        await raw.flush()
        wanted = {"subject_mismatch", "stale_command", "malformed_envelope"}
        await eventually(
            lambda: dead_jobs(world), lambda jobs: wanted <= {each.code for each in jobs}
        )
    async with world.client() as client:
        for name in ("memory_anchors", "khipu_blocks"):
            assert await client.collection(name).get_many(["moved", "old"]) == []


def _has_lost(world: World, before: int) -> bool:
    return len(world.losses) > before


def all_closed(trail: Trail) -> bool:
    """Whether every intent, and each delivery of a job has one, has an outcome or a resolution."""
    intents = Counter(record.id for record in trail.records if record.kind == "intent")
    ends = Counter(
        record.id
        for record in trail.records
        if record.kind in {"done", "failed"} or record.resolution in CLOSED
    )
    return intents <= ends


def _id(time_ms: int) -> str:
    from mallku_contracts.identifiers import uuid7

    return uuid7(time_ms)


async def test_jobs_with_one_key_are_done_in_their_order(
    world: World, client: SecuredDatabaseInterface
) -> None:
    """Two workers, two keys, jobs of both at once: the trail has each key's in their order."""
    anchors = client.collection("memory_anchors")
    lines = {key: anchors.submit(ordering_key=key) for key in ("a", "b")}
    jobs = [
        (key, await lines[key].insert({"_key": f"{key}-{number:02}"}))
        for number in range(20)
        for key in lines
    ]
    for _, job in jobs:
        await job.result(RESULT_S)
    done = (await world.trail()).ids("done")
    for key in lines:
        wanted = [job.id for of, job in jobs if of == key]
        assert [each for each in done if each in wanted] == wanted


@pytest.mark.timeout(240)
async def test_a_worker_killed_over_a_job_loses_nothing_and_does_nothing_twice(
    stage: Stage, tmp_path: Path
) -> None:
    """Kill -9 at every step of a job: another worker finishes it, and its effect is there once."""
    world = stage.world
    async with world.client(timeout_s=RESULT_S) as client:
        anchors = client.collection("memory_anchors")
        for name in STRUCK_AT:
            lost = len(world.losses)
            stage.failpoints.arm(name)
            job = await anchors.submit(attempt_timeout=QUICK).insert({"_key": name})
            meta = await job.result(RESULT_S)
            assert isinstance(meta, dict), name
            await until(f"{name} struck", partial(stage.failpoints.struck, name))
            await until(f"the end at {name}", partial(_has_lost, world, lost))
            await world.replaced(world.losses[lost].pid)
            assert (await anchors.get(name) or {})["_rev"] == meta["_rev"], name
        assert await anchors.count() == len(STRUCK_AT)
    await stage.settled(all_closed)
    assert (await world.verify()).findings.accusations == []
    report = await rebuilt(world, tmp_path)
    assert report.good, (report.rebuilt, report.compared)


@pytest.mark.timeout(120)
async def test_order_outlives_a_worker(stage: Stage) -> None:
    """A worker dies over one of a row: the next waits until another has finished that one."""
    world = stage.world
    async with world.client(timeout_s=RESULT_S) as client:
        anchors = client.collection("memory_anchors")
        line = anchors.submit(ordering_key="row", attempt_timeout=QUICK)
        await (await line.insert({"_key": "x", "n": -1})).result(RESULT_S)
        stage.failpoints.arm("executing")
        jobs = [await line.update({"_key": "x", "n": number}) for number in range(8)]
        for job in jobs:
            await job.result(RESULT_S)
        assert stage.failpoints.struck("executing")
        assert (await anchors.get("x") or {})["n"] == 7
    done = (await world.trail(settle_s=0)).ids("done")
    wanted = [job.id for job in jobs]
    assert [each for each in done if each in wanted] == wanted


@pytest.mark.timeout(120)
async def test_a_job_that_kills_its_workers_is_given_up(stage: Stage) -> None:
    """After two workers that did not live to tell it is dead, its caller knows, others work on."""
    world = stage.world
    async with world.client(timeout_s=RESULT_S) as client:
        anchors = client.collection("memory_anchors")
        stage.failpoints.arm("executing")
        job = await anchors.submit(attempt_timeout=QUICK).insert({"_key": "poison"})
        await until("struck once", lambda: stage.failpoints.struck("executing"))
        stage.failpoints.arm("executing")
        assert isinstance(await refusal(job), JobGivenUp)
        (dead,) = await eventually(lambda: dead_jobs(world), bool)
        assert (dead.code, dead.job) == ("job_given_up", job.idempotency_key)
        assert not await anchors.has("poison")
        await (await anchors.submit.insert({"_key": "next"})).result(RESULT_S)
    await stage.settled(all_closed)
    assert (await world.verify()).findings.accusations == []


@pytest.mark.timeout(120)
async def test_a_job_that_was_done_is_not_said_to_have_failed(stage: Stage) -> None:
    """Workers died after the commit, each time: it is given up, and outcome tells the truth."""
    world = stage.world
    async with world.client(timeout_s=RESULT_S) as client:
        anchors = client.collection("memory_anchors")
        stage.failpoints.arm("execute")
        job = await anchors.submit(attempt_timeout=QUICK).insert({"_key": "done"})
        await until("struck once", lambda: stage.failpoints.struck("execute"))
        stage.failpoints.arm("execute")
        await until("struck twice", lambda: stage.failpoints.struck("execute"))
        await eventually(
            lambda: dead_jobs(world), lambda jobs: [each.code for each in jobs] == ["job_given_up"]
        )
        outcome = await client.outcome(job.idempotency_key)
        assert (outcome["state"], outcome["result"]["_key"]) == ("done", "done")
        assert await client.job(job.idempotency_key).result(RESULT_S) == outcome["result"]


@pytest.mark.timeout(120)
async def test_a_scheduled_job_survives_restarts(own_world: World) -> None:
    """Server and workers are killed while it waits; it is done after its time, and not before."""
    async with own_world.client(timeout_s=RESULT_S) as client:
        anchors = client.collection("memory_anchors")
        due = time.time() + 6
        job = await anchors.submit(run_at=datetime.fromtimestamp(due, UTC)).insert({"_key": "late"})
        with pytest.raises(JobPending):
            await job.result(0.5)  # a worker has had it in its hands
        for place in own_world.workers:
            await own_world.kill(place, signal.SIGKILL)
        server = own_world.gateway.pids["nats-server"]
        os.kill(server, signal.SIGKILL)
        await job.result(RESULT_S)
        assert time.time() >= due - 0.05


@pytest.mark.timeout(120)
async def test_a_restart_of_every_worker_loses_no_job(tmp_path: Path) -> None:
    """SIGTERM for one worker after the other under a load of jobs: each is done, and once."""
    async with running_world(tmp_path / "house") as world, world.client() as client:
        anchors = await client.create_collection("memory_anchors")
        jobs = []
        for number in range(120):
            jobs.append(await anchors.submit.insert({"_key": str(number)}))
            if number in (40, 80):
                place = sorted(world.workers)[0 if number == 40 else 1]
                pid = await world.kill(place, signal.SIGTERM)
                await world.replaced(pid)
        for job in jobs:
            await job.result(RESULT_S)
        assert await anchors.count() == len(jobs)
