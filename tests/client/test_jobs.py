"""Submitting durable jobs: confirmed, signed anew, never believed without a signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mallku_client import MemoryTransport, SecuredDatabaseInterface
from mallku_client.transport import NoAnswer, NotDelivered, Stored
from mallku_contracts.errors import (
    ConfigurationError,
    GatewayUnreachable,
    JobPending,
    JobUnconfirmed,
    PermissionDenied,
    TokenExpired,
    UniqueViolation,
)
from mallku_contracts.tokens import COMMAND_AUDIENCE
from tests.client.world import MemoryGateway, Opened, World, make_world


@dataclass
class Jobs:
    """Stands for the stream of jobs: keeps them as its fates say, and tells what came of them.

    Attributes:
        fates: What becomes of one submission after the other; kept where there is none left.
        sent: Every submission, kept or not.
        answer: The reply to each kept job, None for none.
        arrived: Told of each submission.
        hanging: What a submission waits for before its fate, None for nothing.
    """

    gateway: MemoryGateway
    fates: list[Exception] = field(default_factory=list)
    sent: list[Opened] = field(default_factory=list)
    answer: Callable[[MemoryGateway, Opened], bytes | None] = lambda _gateway, _job: None
    waiting: dict[str, asyncio.Future[bytes]] = field(default_factory=dict)
    arrived: Callable[[], None] = lambda: None
    hanging: asyncio.Event | None = None

    async def store(
        self,
        subject: str,
        payload: bytes,
        job_id: str,
        operation: str,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Keep a job, or not."""
        job = self.gateway.open(subject, payload)
        assert (job.header.id, job.subject.operation) == (job_id, operation)
        assert timeout_s > 0
        assert not headers
        self.sent.append(job)
        self.arrived()
        if self.hanging is not None:
            await self.hanging.wait()
        if self.fates:
            raise self.fates.pop(0)
        reply = self.answer(self.gateway, job)
        if reply is not None:
            self.waiting[job_id].set_result(reply)
        return Stored("MALLKU_JOBS", len(self.sent), "2026-01-01T00:00:00Z")

    def reply_to(self, job_id: str, reply: asyncio.Future[bytes]) -> None:
        """Remember who waits."""
        self.waiting[job_id] = reply

    def forget(self, job_id: str) -> None:
        """Forget who waited."""
        self.waiting.pop(job_id, None)


class JobTransport(MemoryTransport):
    """Commands go to the gateway in memory, jobs where its tests want them."""

    def __init__(self, world: World, jobs: Jobs) -> None:
        super().__init__(world.gateway.handle)
        self.jobs = jobs


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A gateway in memory."""
    return make_world(tmp_path)


@pytest.fixture
def jobs(world: World) -> Jobs:
    """Its stream of jobs."""
    return Jobs(world.gateway)


async def connect(world: World, jobs: Jobs) -> SecuredDatabaseInterface:
    """A client of both."""
    transport = JobTransport(world, jobs)
    return await SecuredDatabaseInterface.connect(settings=world.settings, transport=transport)


async def test_a_reply_that_comes_is_the_result(world: World, jobs: Jobs) -> None:
    """It is believed, read as the call itself would read it, and nothing else is asked."""
    jobs.answer = lambda gateway, job: gateway.execute(job)
    async with await connect(world, jobs) as db:
        batch = await db.collection("c").submit.insert_many([{"_key": "a"}, {"_key": "a"}])
        entries = await batch.result(5)
    assert isinstance(entries[1], UniqueViolation)
    assert world.gateway.seen == []


async def test_without_a_confirmation_it_is_signed_anew(world: World, jobs: Jobs) -> None:
    """Another transmission of the same job: same key, body, end and terms; another id."""
    jobs.fates = [NoAnswer("silence"), NotDelivered("no connection")]
    async with await connect(world, jobs) as db:
        job = await db.collection("c").submit(ordering_key="k").insert({})
    first, second, third = (sent.header for sent in jobs.sent)
    assert len({first.id, second.id, third.id}) == 3
    assert [first.attempt, second.attempt, third.attempt] == [1, 2, 3]
    for name in ("idem", "exp", "run_at", "order", "budget"):
        assert getattr(first, name) == getattr(third, name)
    assert job.idempotency_key == first.idem == first.id
    assert job.id == third.id


async def test_a_confirmation_that_never_comes_is_a_typed_error(world: World, jobs: Jobs) -> None:
    """It may be kept, and the error names the key to ask and to try again with."""
    jobs.fates = [NoAnswer("silence"), NotDelivered("gone")] * 10
    async with await connect(world, jobs) as db:
        with pytest.raises(JobUnconfirmed) as raised:
            await db.collection("c").submit.insert({}, idempotency_key="mine", timeout=2)
    assert raised.value.details == {"idempotency_key": "mine"}
    assert raised.value.retryable
    assert jobs.waiting == {}


async def test_what_never_left_is_told_so(world: World, jobs: Jobs) -> None:
    """Without a connection nothing is kept; a refusal of the broker's is that refusal."""
    jobs.fates = [NotDelivered("gone")] * 10
    async with await connect(world, jobs) as db:
        with pytest.raises(GatewayUnreachable):
            await db.collection("c").submit.insert({}, timeout=2)
        jobs.fates = [PermissionDenied("no")]
        with pytest.raises(PermissionDenied):
            await db.collection("c").submit.insert({})


async def test_a_refusal_after_silence_says_nothing_of_the_first(world: World, jobs: Jobs) -> None:
    """One transmission may be kept; that another was refused does not undo it."""
    jobs.fates = [NoAnswer("silence"), PermissionDenied("no")]
    async with await connect(world, jobs) as db:
        with pytest.raises(JobUnconfirmed):
            await db.collection("c").submit.insert({})


async def test_a_token_that_runs_out_says_nothing_of_the_first(world: World, jobs: Jobs) -> None:
    """What cannot be signed again may be kept; before anything left it is just that error."""
    world.write_token(world.keys.token(world.keys.client, audience=COMMAND_AUDIENCE, life_s=300))
    jobs.fates = [NoAnswer("silence")]
    async with await connect(world, jobs) as db:
        clock = db._commands._caller.signer._clock

        def pass_by() -> None:
            clock.offset_ms = 400_000

        jobs.arrived = pass_by
        with pytest.raises(JobUnconfirmed) as raised:
            await db.collection("c").submit.insert({}, idempotency_key="mine")
        assert isinstance(raised.value.__cause__, TokenExpired)
        assert raised.value.details == {"idempotency_key": "mine"}
        with pytest.raises(TokenExpired):
            await db.collection("c").submit.insert({})
    assert len(jobs.sent) == 1
    assert jobs.waiting == {}


@pytest.mark.parametrize("when", ["it is sent", "it is to be sent again"])
async def test_nobody_waits_for_a_job_that_was_given_up(
    world: World, jobs: Jobs, when: str
) -> None:
    """Who cancels the submission has its reply listened for no more."""
    arrived, hanging = asyncio.Event(), asyncio.Event()
    jobs.arrived = arrived.set
    jobs.hanging = hanging if when == "it is sent" else None
    jobs.fates = [NoAnswer("silence")] * 10
    async with await connect(world, jobs) as db:
        submitting = asyncio.create_task(db.collection("c").submit.insert({}))
        async with asyncio.timeout(5):
            await arrived.wait()
        assert jobs.waiting
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    assert jobs.waiting == {}


@pytest.mark.parametrize("lie", ["unsigned", "another", "junk"])
async def test_a_reply_that_cannot_be_believed_is_no_result(
    world: World, jobs: Jobs, lie: str
) -> None:
    """Whatever comes to the inbox unsigned or for another job, `outcome` is asked instead."""

    def tell(gateway: MemoryGateway, job: Opened) -> bytes:
        body = {"result": {"_key": "forged"}}
        if lie == "junk":
            return b"junk"
        changes = {"signed": False} if lie == "unsigned" else {"cmd": b"x" * 32}
        return gateway.reply(job, body, **changes)

    async def outcome(gateway: MemoryGateway, asked: Opened) -> bytes:
        assert asked.subject.operation == "outcome"
        result = {"state": "done", "id": "x", "result": {"_key": "true"}}
        return gateway.reply(asked, {"result": result})

    jobs.answer = tell
    world.gateway.script = [outcome]
    async with await connect(world, jobs) as db:
        job = await db.collection("c").submit.insert({})
        assert await job.result(5) == {"_key": "true"}


async def test_a_job_that_is_not_done_is_pending(world: World, jobs: Jobs) -> None:
    """Asked again and again it stays pending, and then raises why it failed."""
    error = UniqueViolation("taken").to_wire()
    told: dict[str, Any] = {"state": "unknown", "id": None, "result": None}

    async def outcome(gateway: MemoryGateway, asked: Opened) -> bytes:
        return gateway.reply(asked, {"result": told})

    world.gateway.script = [outcome] * 10
    async with await connect(world, jobs) as db:
        job = await db.collection("c").submit.insert({})
        with pytest.raises(JobPending) as raised:
            await job.result(0.6)
        assert raised.value.details == {"idempotency_key": job.idempotency_key}
        told = {"state": "failed", "id": "x", "result": None, "error": error}
        with pytest.raises(UniqueViolation):
            await job.result(5)


async def test_a_transport_without_jobs_says_so(world: World) -> None:
    """Nothing is sent as something else instead."""
    async with await world.connect() as db:
        with pytest.raises(ConfigurationError):
            await db.collection("c").submit.insert({})
    assert world.gateway.seen == []
