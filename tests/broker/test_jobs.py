"""Lines of durable jobs on a real server, and what is read of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.jetstream import ask
from mallku_broker.jobs import (
    CONSUMERS,
    DeadJob,
    JobMessage,
    ask_for_one,
    ensure_consumers,
    say_again,
    say_done,
    signed_subject,
    stored_job,
    stored_jobs,
)
from mallku_broker.streams import JOBS
from mallku_contracts.subjects import PARTITIONS, CommandSubject, job_line
from tests.support.nats import ADMINISTRATOR, nats_house

COMMAND = "mallku.v1.job.mallku.db.anchors.insert"
DEAD = DeadJob(COMMAND, 1, 2, 3, {"code": "busy"}, b"data")


def test_the_partition_is_the_servers_and_nobody_signed_it() -> None:
    """It is taken away from ordered jobs, and from nothing else."""
    token = "0" * 32
    assert signed_subject(f"{COMMAND}.key.{token}.7") == f"{COMMAND}.key.{token}"
    for subject in (COMMAND, f"{COMMAND}.at", f"{COMMAND}.key.{token}", f"{COMMAND}.x.{token}.7"):
        assert signed_subject(subject) == subject


def test_a_dead_job_comes_back_as_it_was() -> None:
    """Packed and read it is the same, and its places are made of its own subject."""
    assert DeadJob.read(DEAD.pack()) == DEAD
    assert DEAD.dead_subject == "mallku.v1.dead.mallku.db.anchors.insert"
    assert DEAD.redrive_subject(9) == "mallku.v1.redrive.mallku.db.anchors.insert.9"
    unreadable = DeadJob("mallku.v1.job.a.>", 1, 2, 3, {}, b"")
    assert unreadable.dead_subject == "mallku.v1.dead.unknown.unknown.@.unknown"


@pytest.mark.parametrize("body", [b"", b"junk", b"\x80", b"\x93\x01\x02\x03", DEAD.pack()[:-1]])
def test_what_is_no_dead_job_is_refused(body: bytes) -> None:
    """Whatever lies in the stream, reading it ends with a ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        DeadJob.read(body)


async def test_consumers_are_made_once_and_drift_is_told(tmp_path: Path) -> None:
    """The second look changes nothing; one that is set otherwise is named and left."""
    async with nats_house(tmp_path) as house, house.connection(ADMINISTRATOR) as connection:
        assert await ensure_consumers(connection) == []
        assert await ensure_consumers(connection) == []
        first = CONSUMERS[0]
        changed = first.configuration | {"max_ack_pending": 7}
        await ask(
            connection,
            f"CONSUMER.CREATE.{first.stream}.{first.name}.{first.subject}",
            {"stream_name": first.stream, "config": changed},
        )
        (drift,) = await ensure_consumers(connection)
        assert "max_ack_pending" in drift


async def test_every_job_stands_in_one_line(tmp_path: Path) -> None:
    """Now, later and in order: each has its line, and one key always has the same."""
    async with nats_house(tmp_path) as house, house.connection(ADMINISTRATOR) as connection:
        await ensure_consumers(connection)
        keys = [job_line(scheduled=False, ordering_key=f"k{number % 40}") for number in range(80)]
        subjects = [COMMAND, f"{COMMAND}.at", *(f"{COMMAND}.{line}" for line in keys)]
        async with house.connection("mallku") as caller:
            for subject in subjects:
                await caller.publish(subject, b"job")
            await caller.flush()
        found = await _stored(connection, len(subjects))
        assert [signed_subject(job.subject) for job in found] == subjects
        assert all(CommandSubject.parse(subject) for subject in subjects)
        lines = [job.subject.rpartition(".")[2] for job in found[2:]]
        assert lines[:40] == lines[40:]
        assert set(lines) == {str(number) for number in range(PARTITIONS)}
        waiting = [
            (await ask(connection, f"CONSUMER.INFO.{each.stream}.{each.name}", {}))["num_pending"]
            for each in CONSUMERS
        ]
        assert sum(waiting) == len(subjects)
        assert waiting[:2] == [1, 1]
        assert (await stored_job(connection, JOBS, 1)) == found[0]
        assert await stored_job(connection, JOBS, 1_000) is None


async def _stored(connection: Any, count: int) -> tuple[Any, ...]:
    """What is kept, once it is so much."""
    async with asyncio.timeout(10):
        while len(found := await stored_jobs(connection, JOBS, most=1_000)) < count:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0)
    return found


async def test_the_next_of_a_line_waits_for_the_former(tmp_path: Path) -> None:
    """While one is given back and waits, nobody gets the next; when it is done, it comes."""
    async with (
        nats_house(tmp_path) as house,
        house.connection(ADMINISTRATOR) as connection,
        house.connection("worker-records") as worker,
        house.connection("mallku") as caller,
    ):
        await ensure_consumers(connection)
        subject = f"{COMMAND}.{job_line(scheduled=False, ordering_key='k')}"
        for body in (b"first", b"second"):
            await caller.publish(subject, body)
        await caller.flush()
        (stored, _) = await _stored(connection, 2)
        partition = stored.subject.rpartition(".")[2]
        line = next(each for each in CONSUMERS if each.name == f"ordered-{partition}")
        heard: asyncio.Queue[JobMessage | None] = asyncio.Queue()
        inbox = f"{worker.inbox_prefix}.jobs"

        def take(subject: str, reply: str, body: bytes, _header: bytes | None) -> None:
            heard.put_nowait(JobMessage.read(subject, reply, body) if reply else None)

        await worker.listen(inbox, take)

        async def next_one() -> JobMessage | None:
            ask_for_one(worker, line, 0.5, inbox)
            return await asyncio.wait_for(heard.get(), 5)

        first = await next_one()
        assert first is not None
        assert (first.data, first.number, first.subject) == (b"first", 1, subject)
        say_again(worker, first, 1.2)
        assert await next_one() is None
        again = None
        while again is None:
            again = await next_one()
        assert (again.data, again.number, again.time_ns) == (b"first", 2, first.time_ns)
        say_done(worker, again)
        second = await next_one()
        assert second is not None
        assert second.data == b"second"
