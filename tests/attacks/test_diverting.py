"""An answer is asked for where the attacker may not write: a worker's, or the server's own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from uuid import uuid4

import pytest

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.headers import encode_headers
from mallku_broker.streams import AUDIT, JOBS
from tests.attacks.arena import Arena, Attacker, eventually
from tests.attacks.cast import SCRATCH, VICTIM
from tests.integration.world import EVENT_S, exchange, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

VICTIMS_INBOX = f"_INBOX_mallku.{VICTIM}.known.1"
PLACES = [
    f"$JS.API.STREAM.DELETE.{AUDIT}",
    f"$JS.API.STREAM.PURGE.{AUDIT}",
    f"$JS.API.STREAM.DELETE.{JOBS}",
    "$KV.mallku_policy.current",
    "$KV.mallku_keys.current",
    f"mallku.v1.audit.{VICTIM}.mallku.vault.get.done",
    "mallku.v1.checkpoint.w",
    "mallku.v1.cmd.operator.mallku.vault.truncate",
    VICTIMS_INBOX,
    "_INBOX_mallku_worker.w.1",
    "$SRV.INFO.mallku-gateway",
    "",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "junk"])
async def test_a_reply_is_hijacked(
    arena: Arena, attacker: Attacker, victim: Attacker, place: str, signed: bool
) -> None:
    """A worker publishes nothing where a reply was asked for elsewhere, not even its refusal.

    The API is not called, bucket and trail get nothing, the victim hears nothing, and the command
    is not carried out.
    """
    heard: list[str] = []
    await victim.connection.listen(VICTIMS_INBOX, lambda s, _r, _b, _h: heard.append(s))
    await victim.connection.flush()
    sent = attacker.caller.seal("insert", {"document": {"kind": "diverted"}}, SCRATCH)
    data = sent.data if signed else b"junk"
    attacker.connection.post(str(sent.subject), data, reply=place)
    await attacker.connection.flush()
    await arena.told(attacker.principal, Counter({"foreign_reply_inbox": 1}))
    asked = attacker.caller.seal("count", {"filters": {"kind": "diverted"}}, SCRATCH)
    assert (await exchange(attacker.connection, asked)).result == 0
    await victim.connection.flush()
    assert heard == []


async def test_what_workers_say_of_themselves_is_asked_for_elsewhere(
    arena: Arena, victim: Attacker
) -> None:
    """An inspector who asks for the answer anywhere but in its own inbox gets none there."""
    heard: list[str] = []
    await victim.connection.listen(VICTIMS_INBOX, lambda s, _r, _b, _h: heard.append(s))
    await victim.connection.flush()
    own = "_INBOX_mallku.inspector.diverted"
    async with arena.world.connection("inspector") as inspector:
        await inspector.listen(own, lambda s, _r, _b, _h: heard.append(s))
        for verb in ("PING", "INFO", "STATS"):
            for place in (*PLACES, own):
                inspector.post(f"$SRV.{verb}.mallku-gateway", b"", reply=place)
        await until("the answers to its own inbox", lambda: heard.count(own) == 3 * 2)
        await inspector.flush()
    await victim.connection.flush()
    assert set(heard) == {own}


async def _stored(arena: Arena, at_least: int) -> int:
    """The last job, once there are so many."""
    last = 0

    async def are_stored() -> bool:
        nonlocal last
        _, last = await arena.stream(JOBS)
        return last >= at_least

    await eventually(f"{at_least} jobs", are_stored)
    return last


@pytest.mark.parametrize("place", [place for place in PLACES if place])
@pytest.mark.parametrize("refused", [False, True], ids=["kept", "refused"])
async def test_a_jobs_acknowledgement_is_diverted(
    arena: Arena, attacker: Attacker, victim: Attacker, place: str, refused: bool
) -> None:
    """The server would answer past all permissions; it answers nobody, be the job kept or not.

    It says which jobs it keeps where their own subject leads: to the attacker. Nothing is written,
    nothing deleted, no worker takes it for a command, and a victim hears nothing.
    """
    heard: list[str] = []
    for subject in (VICTIMS_INBOX, f"mallku.v1.stored.{VICTIM}.>"):
        await victim.connection.listen(subject, lambda s, _r, _b, _h: heard.append(s))
    await victim.connection.flush()
    _, before = await arena.stream(JOBS)
    impossible = encode_headers({"Nats-Expected-Stream": "MALLKU_NONE"})
    header = impossible if refused else b""
    attacker.connection.post(attacker.job("insert"), b"job", reply=place, header=header)
    # The stream takes one job after the other: once this one is kept, the first one is dealt with.
    attacker.connection.post(attacker.job("insert"), b"job", reply=attacker.inbox())
    await attacker.connection.flush()
    last = before + (1 if refused else 2)
    assert await _stored(arena, last) == last
    await victim.connection.flush()
    assert heard == []
    await arena.told(attacker.principal, Counter(malformed_envelope=last - before))
    assert await arena.told(victim.principal, Counter()) == []


async def test_a_jobs_acknowledgement_becomes_a_job_in_a_victims_name(
    arena: Arena, attacker: Attacker
) -> None:
    """The import that takes callers' jobs to their stream takes nothing else there."""
    _, before = await arena.stream(JOBS)
    place = f"mallku.v1.job.{VICTIM}.mallku.vault.truncate"
    attacker.connection.post(attacker.job("insert"), b"job", reply=place)
    attacker.connection.post(attacker.job("insert"), b"job", reply=attacker.inbox())
    await attacker.connection.flush()
    assert await _stored(arena, before + 2) == before + 2
    told = await arena.told(attacker.principal, Counter(malformed_envelope=2))
    assert {record.subject for record in told} == {attacker.job("insert")}


async def test_jobs_acknowledgements_come_as_commands_in_a_victims_name(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """Thousands of jobs that want their answer on a victim's subject put nothing in its name."""
    subject = victim.subject("count")
    _, before = await arena.stream(JOBS)
    for _ in range(3_000):
        attacker.connection.post(attacker.job("insert"), b"job", reply=subject)
    await attacker.connection.flush()
    await _stored(arena, before + 3_000)
    sent = victim.caller.seal("count", {}, SCRATCH)
    assert isinstance((await exchange(victim.connection, sent)).result, int)
    await arena.told(victim.principal, Counter(intent=1, done=1))


PULL = f"{AUDITOR_PREFIX}.CONSUMER.MSG.NEXT.{AUDIT}"


async def _consumer(auditor: GatewayConnection, **configuration: object) -> str:
    name = uuid4().hex
    config = {
        "name": name,
        "deliver_policy": "last",
        "ack_policy": "none",
        "inactive_threshold": 5_000_000_000,
        "mem_storage": True,
    }
    body = {"stream_name": AUDIT, "config": config | configuration}
    subject = f"{AUDITOR_PREFIX}.CONSUMER.CREATE.{AUDIT}.{name}"
    answer = await auditor.request(subject, json.dumps(body).encode(), timeout=5)
    assert "error" not in json.loads(answer.data)
    return name


@pytest.mark.parametrize("place", [place for place in PLACES if place])
async def test_an_auditor_pulls_records_into_another_subject(
    arena: Arena, victim: Attacker, place: str
) -> None:
    """What an auditor pulls stays in the auditors' account, whatever reply is asked for."""
    heard: list[str] = []
    await victim.connection.listen(VICTIMS_INBOX, lambda s, _r, _b, _h: heard.append(s))
    async with arena.world.connection("auditor") as auditor:
        diverted, honest = await _consumer(auditor), await _consumer(auditor)
        auditor.post(f"{PULL}.{diverted}", b'{"batch": 1}', reply=place)
        # Once the same pull by an honest consumer was served, the other has had its chance.
        pulled = asyncio.Event()
        inbox = "_INBOX_mallku.auditor.x"
        await auditor.listen(inbox, lambda *_: pulled.set())
        auditor.post(f"{PULL}.{honest}", b'{"batch": 1}', reply=inbox)
        await asyncio.wait_for(pulled.wait(), EVENT_S)
    await victim.connection.flush()
    assert heard == []


@pytest.mark.parametrize("place", ["$KV.mallku_policy.current", VICTIMS_INBOX])
async def test_an_auditor_has_records_pushed_into_another_subject(
    arena: Arena, victim: Attacker, place: str
) -> None:
    """A consumer that delivers by itself finds nobody who listens where it delivers to."""
    heard: list[str] = []
    await victim.connection.listen(VICTIMS_INBOX, lambda s, _r, _b, _h: heard.append(s))
    await victim.connection.flush()
    async with arena.world.connection("auditor") as auditor:
        name = await _consumer(auditor, deliver_subject=place)
        await arena.served()  # which writes records
        asked = f"{AUDITOR_PREFIX}.CONSUMER.INFO.{AUDIT}.{name}"
        answer = json.loads((await auditor.request(asked, b"", timeout=5)).data)
        assert answer["delivered"]["consumer_seq"] == 0
    await victim.connection.flush()
    assert heard == []
