"""Somebody listens where others are spoken to, or takes what is meant for others."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from mallku_broker.permissions import READ_QUEUE, SERVICE, WRITE_QUEUE
from mallku_contracts.subjects import command_pattern
from tests.attacks.arena import Arena, Attacker, eventually
from tests.attacks.cast import SCRATCH, SECRET, VAULT, VICTIM
from tests.integration.world import exchange
from tests.support.nats import Witness

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "subject",
    [
        "_INBOX.>",
        "_INBOX_mallku.>",
        "_INBOX_mallku.*.>",
        f"_INBOX_mallku.{VICTIM}.>",
        f"_INBOX_mallku.{VICTIM}.known.1",
        "_INBOX_mallku_worker.>",
        "*.*.>",
        ">",
    ],
)
async def test_an_inbox_of_others_is_read(
    arena: Arena, attacker: Attacker, victim: Attacker, subject: str
) -> None:
    """The broker refuses the subscription; the victim's reply goes to the victim."""
    heard: list[bytes] = []
    await attacker.refused_to_listen(subject)
    await attacker.connection.listen(subject, lambda _s, _r, body, _h: heard.append(body))
    sent = victim.caller.seal("get", {"document": "v0"}, VAULT)
    assert (await exchange(victim.connection, sent)).result["secret"] == SECRET
    await attacker.connection.flush()
    assert heard == []


@pytest.mark.parametrize(
    "subject",
    [
        "mallku.v1.cmd.>",
        f"mallku.v1.cmd.{VICTIM}.>",
        "mallku.v1.job.>",
        "mallku.v1.cur.>",
        "mallku.v1.audit.>",
        "mallku.v1.checkpoint.>",
        "$KV.mallku_policy.>",
        "$JS.API.>",
        "$JS.EVENT.>",
        "$SYS.>",
    ],
)
async def test_commands_or_records_of_others_are_overheard(
    arena: Arena, attacker: Attacker, subject: str
) -> None:
    """Neither commands with their tokens nor trail, buckets and the server's events are open."""
    await attacker.refused_to_listen(subject)


@pytest.mark.parametrize(
    ("subject", "queue"),
    [
        (command_pattern("get"), READ_QUEUE),
        (command_pattern("insert"), WRITE_QUEUE),
        ("mallku.v1.cmd.>", READ_QUEUE),
        (">", READ_QUEUE),
    ],
)
@pytest.mark.parametrize("who", ["a caller", "inspector"])
async def test_a_workers_queue_group_is_joined(
    arena: Arena, victim: Attacker, who: str, subject: str, queue: str
) -> None:
    """Refused to callers and inspectors alike: not one command is lost to them."""
    async with arena.attacker() as attacker:
        if who == "inspector":
            witness = Witness()
            async with arena.world.connection(who, on_event=witness) as connection:
                await Attacker(who, attacker.caller, connection, witness).refused_to_listen(
                    subject, queue
                )
                await _all_arrive(victim)
        else:
            await attacker.refused_to_listen(subject, queue)
            await _all_arrive(victim)


async def _all_arrive(victim: Attacker) -> None:
    commands = [victim.caller.seal("get", {"document": "v0"}, VAULT) for _ in range(40)]
    answers = await asyncio.gather(*(exchange(victim.connection, one) for one in commands))
    assert all(answer.result["secret"] == SECRET for answer in answers)


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_a_fake_service_answers_discovery(
    arena: Arena, attacker: Attacker, verb: str
) -> None:
    """Who is no worker hears no discovery request, and can answer none."""
    for subject in (
        f"$SRV.{verb}",
        f"$SRV.{verb}.{SERVICE}",
        f"$SRV.{verb}.{SERVICE}.*",
        "$SRV.>",
    ):
        await attacker.refused_to_listen(subject)
    heard: list[str] = []
    async with arena.world.connection("inspector") as inspector:
        inbox = "_INBOX_mallku.inspector.x"
        await inspector.listen(inbox, lambda s, _r, _b, _h: heard.append(s))
        await inspector.flush()
        fake = b'{"name":"mallku-gateway","id":"fake","version":"1.0.0"}'
        await attacker.refused_to_publish(inbox, fake)
        await inspector.flush()
    assert heard == []


async def test_an_inspector_acts(arena: Arena) -> None:
    """Who sees everything does nothing: no reply, no record, no job, no command of others.

    In its own name it may send what no worker heeds: that is refused, and recorded as refused.
    """
    witness = Witness()
    async with (
        arena.attacker() as other,
        arena.world.connection("inspector", on_event=witness) as connection,
    ):
        inspector = Attacker("inspector", other.caller, connection, witness)
        for subject in (
            f"mallku.v1.cmd.{VICTIM}.mallku.{VAULT}.get",
            f"mallku.v1.job.{VICTIM}.mallku.{VAULT}.delete",
            f"mallku.v1.job.inspector.mallku.{VAULT}.delete",
            f"mallku.v1.cur.inspector.mallku.{VAULT}.next",
            f"_INBOX_mallku.{VICTIM}.known.1",
            f"mallku.v1.audit.{VICTIM}.mallku.{VAULT}.get.done",
        ):
            await inspector.refused_to_publish(subject, b"junk")
        own = f"mallku.v1.cmd.inspector.mallku.{VAULT}.get"
        connection.post(own, other.caller.seal("get", {"document": "k"}, VAULT).data)
        await connection.flush()

        codes: list[str | None] = []

        async def told() -> bool:
            codes[:] = [r.code for r in await arena.read_trail() if r.principal == "inspector"]
            return bool(codes)

        await eventually("its refusal", told)
    assert codes == ["foreign_reply_inbox"]


@pytest.mark.parametrize(
    "subject",
    [
        f"mallku.v1.audit.{VICTIM}.mallku.vault.get.done",
        "mallku.v1.audit._gateway.mallku_policy.9.adopt.done",
        "mallku.v1.checkpoint.w",
        "mallku.v1.rate.x.y",
        "mallku.v1.dead.x",
        "$KV.mallku_policy.current",
        "$KV.mallku_keys.current",
        "$KV.mallku_flags.x",
        "$JS.API.STREAM.DELETE.MALLKU_AUDIT",
        "$JS.API.STREAM.PURGE.MALLKU_AUDIT",
        "$JS.API.STREAM.UPDATE.MALLKU_AUDIT",
        "$JS.API.STREAM.MSG.DELETE.MALLKU_AUDIT",
        "$JS.API.STREAM.INFO.MALLKU_AUDIT",
        "$JS.API.CONSUMER.CREATE.MALLKU_AUDIT.x",
        "AUD.API.CONSUMER.MSG.NEXT.MALLKU_AUDIT.x",
        "$JS.ACK.MALLKU_JOBS.x.1.1.1.1.0",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.USER.INFO",
        "_INBOX_mallku.mallku.known.1",
    ],
)
async def test_a_caller_writes_records_buckets_or_streams(
    arena: Arena, attacker: Attacker, subject: str
) -> None:
    """The broker takes none of it, with whatever reply subject."""
    for reply in ("", attacker.inbox()):
        await attacker.refused_to_publish(subject, b"{}", reply)
    await arena.told(attacker.principal, Counter())


async def test_an_auditor_or_an_administrator_shortens_the_trail(arena: Arena) -> None:
    """Not even they can delete, purge or write a record, nor take a message out of it."""
    for who in ("auditor", "administrator"):
        witness = Witness()
        async with (
            arena.attacker() as other,
            arena.world.connection(who, on_event=witness) as connection,
        ):
            attacker = Attacker(who, other.caller, connection, witness)
            for call in ("STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE"):
                for prefix in ("$JS.API", "AUD.API"):
                    await attacker.refused_to_publish(f"{prefix}.{call}.MALLKU_AUDIT", b"{}")
            record = f"mallku.v1.audit.{VICTIM}.mallku.{SCRATCH}.insert.done"
            await attacker.refused_to_publish(record, b"record")


async def test_an_administrator_loosens_the_trail(arena: Arena) -> None:
    """They may update the stream; that it denies deleting and purging is not to be taken back."""
    subject = "$JS.API.STREAM.{0}.MALLKU_AUDIT"
    shown = await arena.administrator.request(subject.format("INFO"), b"", timeout=5)
    config = json.loads(shown.data)["config"]
    for change in ({"deny_delete": False}, {"deny_purge": False}):
        body = json.dumps(config | change).encode()
        answer = await arena.administrator.request(subject.format("UPDATE"), body, timeout=5)
        assert "error" in json.loads(answer.data)
    again = await arena.administrator.request(subject.format("INFO"), b"", timeout=5)
    assert json.loads(again.data)["config"] == config
