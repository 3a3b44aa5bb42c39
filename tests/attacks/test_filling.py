"""One principal fills what all share with durable jobs; everybody else's are still done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mallku_broker.jetstream import ask as ask_jetstream
from mallku_broker.streams import DEAD, JOBS, RESULTS, StreamSettings
from mallku_client import Job, MallkuError, SecuredDatabaseInterface
from mallku_contracts.errors import JobPending, JobShareUsed, JobUnconfirmed
from mallku_contracts.limits import KIB, MIB
from mallku_deploy.server import connect_as
from tests.integration.jobs import RESULT_S
from tests.integration.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMALL = StreamSettings(
    audit_bytes=256 * MIB,
    checkpoint_bytes=16 * MIB,
    job_bytes=8 * MIB,
    dead_bytes=4 * MIB,
    result_bytes=16 * MIB,
)
MOST_OF_ONE = 0.5 + 0.125 + 0.1
"""What one principal may hold: half, its share, and a little that no worker had seen yet."""
POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection]}
principals:
  eve: {roles: [service]}
  victim: {roles: [service]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""
TEXT = "x" * (200 * KIB)


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway of its own, whose streams hold little."""
    async with running_world(tmp_path / "house", policy=POLICY, streams=SMALL) as world:
        async with world.client("victim") as victim:
            await victim.create_collection("scratch")
        yield world


async def held(world: World, stream: str) -> int:
    """How much a stream holds, bytes."""
    connection = await connect_as(world.furnished, "administrator", world.gateway.url)
    try:
        info = await ask_jetstream(connection, f"STREAM.INFO.{stream}", {})
        return int(info["state"]["bytes"])
    finally:
        await connection.close()


async def ended(job: Job[Any], wait_s: float) -> MallkuError | None:
    """Why a job was not done; None when it was."""
    try:
        await job.result(wait_s)
    except MallkuError as error:
        return error
    return None


async def flood(
    submit: Callable[[int], Awaitable[Job[Any]]], jobs: int, *, at_once: int = 4
) -> list[Job[Any]]:
    """Submit so many, some at a time; those that the stream took."""
    taken: list[Job[Any]] = []
    for start in range(0, jobs, at_once):
        batch = (submit(number) for number in range(start, start + at_once))
        for each in await asyncio.gather(*batch, return_exceptions=True):
            if isinstance(each, Job):
                taken.append(each)
            else:
                assert isinstance(each, JobUnconfirmed), each
    return taken


async def is_served(client: SecuredDatabaseInterface) -> None:
    """Jobs of the victim are taken and done: a write, a read, and one that fails."""
    scratch = client.collection("scratch")
    meta: Any = await (await scratch.submit.insert({"by": "victim"})).result(RESULT_S)
    read = await client.submit.command("get", "scratch", {"document": meta["_key"]})
    assert await read.result(RESULT_S)
    assert (await client.outcome(read.idempotency_key))["state"] == "done"


@pytest.mark.timeout(180)
async def test_one_principal_fills_the_stream_of_jobs(world: World) -> None:
    """Twice what the stream holds, for tomorrow: from half on it keeps a share, and is told so."""
    async with world.client("eve") as eve, world.client("victim") as victim:
        later = eve.collection("scratch").submit(
            run_at=datetime.now(UTC) + timedelta(hours=1), expires_in=timedelta(days=2)
        )
        taken = await flood(lambda _: later.insert({"text": TEXT}), 80)
        await is_served(victim)
        refused = [error for job in taken[-4:] if (error := await ended(job, RESULT_S))]
        assert {type(error) for error in refused} == {JobShareUsed}
        assert all(error.retryable and error.retry_after for error in refused)
        assert isinstance(await ended(taken[0], 1.0), JobPending)
        assert await held(world, JOBS) <= SMALL.job_bytes * MOST_OF_ONE
        assert await held(world, DEAD) == 0


@pytest.mark.timeout(180)
async def test_one_principal_fills_the_dead(world: World) -> None:
    """Jobs that can never work: from half on none of theirs is kept; each is told why all the same.

    A job of the victim that fails is found among the dead.
    """
    async with world.client("eve") as eve, world.client("victim") as victim:
        await victim.collection("scratch").insert({"_key": "taken"})
        dying = eve.collection("scratch").submit
        taken = await flood(lambda _: dying.insert({"_key": "taken", "text": TEXT}), 40)
        codes = [getattr(await ended(job, RESULT_S), "code", "") for job in taken]
        assert set(codes) <= {"unique_violation", "job_share_used"}
        assert codes[-1] == "unique_violation"
        before = await held(world, DEAD)
        assert before <= SMALL.dead_bytes * MOST_OF_ONE
        job: Any = await victim.collection("scratch").submit.insert({"_key": "taken"})
        assert getattr(await ended(job, RESULT_S), "code", "") == "unique_violation"
        await is_served(victim)
        async with asyncio.timeout(RESULT_S):
            while await held(world, DEAD) <= before:  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_one_principal_fills_the_results(world: World) -> None:
    """Large reads as jobs: from half on their results are sent and not kept, and that is said."""
    async with world.client("eve") as eve, world.client("victim") as victim:
        await victim.collection("scratch").insert({"_key": "large", "text": TEXT})
        reading = {"document": "large"}
        taken = await flood(lambda _: eve.submit.command("get", "scratch", reading), 60)
        for job in taken:
            found: Any = await job.result(RESULT_S)
            assert len(found["text"]) == len(TEXT)
        assert await held(world, f"KV_{RESULTS}") <= SMALL.result_bytes * MOST_OF_ONE
        first = await eve.outcome(taken[0].idempotency_key)
        assert first["state"] == "done"
        last = await eve.outcome(taken[-1].idempotency_key)
        assert (last["state"], (last.get("error") or {}).get("code")) == (
            "failed",
            "job_share_used",
        )
        written: Any = await eve.collection("scratch").submit.insert({"by": "eve"})
        await written.result(RESULT_S)
        assert (await eve.outcome(written.idempotency_key))["state"] == "done"
        await is_served(victim)
