"""Durable jobs that are somebody else's, moved, kept for later, or called redriven."""

from __future__ import annotations

from collections import Counter

import pytest

from mallku_contracts.identifiers import uuid7
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import SCRATCH, VAULT, VICTIM
from tests.integration.jobs import RESULT_S, seal_job
from tests.integration.world import exchange
from tests.support.simulated_caller import now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAIRS = 30


async def test_a_job_is_moved_or_kept_for_later(arena: Arena, attacker: Attacker) -> None:
    """Own bytes under a time or a key that was not signed, among commands, two minutes later."""
    caller = attacker.caller
    subject, data = seal_job(caller, {"document": {"kind": "moved"}}, SCRATCH)
    old_ms = now_ms() - 120_000
    _, old = seal_job(
        caller, {"document": {"kind": "moved"}}, SCRATCH, iat=old_ms, id=uuid7(old_ms)
    )
    for moved in (f"{subject}.at", f"{subject}.key.{'0' * 32}"):
        attacker.connection.post(moved, data)
    attacker.connection.post(subject, old)
    command = subject.replace(".job.", ".cmd.")
    attacker.connection.post(command, data, reply=attacker.inbox())
    await attacker.connection.flush()
    await arena.told(attacker.principal, Counter(subject_mismatch=3, stale_command=1))
    asked = caller.seal("count", {"filters": {"kind": "moved"}}, SCRATCH)
    assert (await exchange(attacker.connection, asked)).result == 0


async def test_a_job_lies_about_its_time(arena: Arena, attacker: Attacker) -> None:
    """Told to wait where others stand in line behind it, or for longer than a job may live.

    The bystander's jobs in order, of which some stand in each line, are done all the same.
    """
    caller, hour_ms = attacker.caller, now_ms() + 3_600_000
    subject, data = seal_job(caller, {"document": {}}, SCRATCH, run_at=hour_ms)
    lines = [f"{subject}.key.{number:032x}" for number in range(24)]
    for place in (subject, *lines):
        attacker.connection.post(place, data)
    long_ms = now_ms() + 10 * 365 * 86_400_000
    _, data = seal_job(caller, {"document": {}}, SCRATCH, run_at=long_ms, exp=long_ms)
    attacker.connection.post(f"{subject}.at", data)
    await attacker.connection.flush()
    async with arena.world.client(VICTIM) as victim:
        submit = victim.submit
        jobs = [
            await submit(ordering_key=str(number)).command("count", VAULT) for number in range(12)
        ]
        for job in (*jobs, await submit.command("count", VAULT)):
            await job.result(RESULT_S)
    await arena.told(attacker.principal, Counter(subject_mismatch=25, malformed_envelope=1))


async def test_a_job_and_a_command_have_one_id(arena: Arena, attacker: Attacker) -> None:
    """So that honest workers stand accused: one after the other, and both at once.

    Both are carried out, the trail says so, and whoever verifies it accuses nobody.
    """
    for number in range(PAIRS):
        one = attacker.caller.seal("insert", {"document": {"kind": "paired"}}, SCRATCH)
        asked = {"document": {"kind": "paired"}}
        job = seal_job(attacker.caller, asked, SCRATCH, id=one.header.id, idem=f"job-{number}")
        if number % 2:
            assert (await exchange(attacker.connection, one)).result
            attacker.connection.post(*job)
        else:
            attacker.connection.post(*job)
            assert (await exchange(attacker.connection, one)).result
    await attacker.connection.flush()
    told = await arena.told(attacker.principal, Counter(intent=2 * PAIRS, done=2 * PAIRS))
    assert len({record.id for record in told}) == PAIRS
    report = await arena.world.verify()
    assert report.clean, report.findings.accusations


async def test_two_jobs_have_one_id(arena: Arena, attacker: Attacker) -> None:
    """In one worker at once, so that it stands accused: one of them waits, and both are done."""
    for number in range(PAIRS):
        asked, one_id = {"document": {"kind": "twin"}}, uuid7(now_ms())
        for name in ("one", "other"):
            job = seal_job(attacker.caller, asked, SCRATCH, id=one_id, idem=f"{name}-{number}")
            attacker.connection.post(*job)
    await attacker.connection.flush()
    await arena.told(attacker.principal, Counter(intent=2 * PAIRS, done=2 * PAIRS))
    report = await arena.world.verify()
    assert report.clean, report.findings.accusations


async def test_a_job_is_put_where_it_must_not_come_from(arena: Arena, attacker: Attacker) -> None:
    """A victim's jobs, dead jobs, those that are tried again, results: the broker takes none."""
    subject, data = seal_job(attacker.caller, {"document": {}}, SCRATCH)
    of_victim = f"mallku.v1.job.{VICTIM}.mallku.{VAULT}.insert"
    for place in (
        of_victim,
        f"{of_victim}.at",
        f"{of_victim}.key.{'0' * 32}",
        f"{subject}.key.{'0' * 32}.1",
        f"mallku.v1.redrive.{VICTIM}.mallku.{VAULT}.insert.1",
        f"mallku.v1.dead.{VICTIM}.mallku.{VAULT}.insert",
        f"mallku.v1.stored.{VICTIM}.mallku.{VAULT}.insert",
        "$KV.mallku_results.job.mallku.x",
        f"_INBOX_mallku.{VICTIM}.job.{uuid7(now_ms())}",
    ):
        await attacker.refused_to_publish(place, data)
    assert await arena.told(attacker.principal, Counter()) == []


async def test_a_jobs_result_is_asked_for_by_another(arena: Arena, attacker: Attacker) -> None:
    """Who knows a victim's key is told what is told of a key that nobody used."""
    for subject in (f"_INBOX_mallku.{VICTIM}.job.*", f"mallku.v1.stored.{VICTIM}.>"):
        await attacker.refused_to_listen(subject)
    async with arena.world.client(VICTIM) as victim:
        job = await victim.submit.command("count", VAULT)
        await job.result(RESULT_S)
        told = [
            (await exchange(attacker.connection, attacker.caller.seal("outcome", asked, None)))
            for asked in ({"idempotency_key": job.idempotency_key}, {"idempotency_key": "nobody's"})
        ]
    assert told[0].body == told[1].body
