from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionEvent, EventKind
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.server import administrator, connect_as
from tests.integration.world import World, ask, exchange, until
from tests.support.simulated_caller import SimulatedCaller, make_token, now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAM = "MALLKU_AUDIT"


async def _stream(world: World) -> dict[str, int]:
    connection = await connect_as(
        world.furnished, administrator(world.furnished), world.gateway.url
    )
    try:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=5)
    finally:
        await connection.close()
    state: dict[str, int] = json.loads(answer.data)["state"]
    return state


@pytest_asyncio.fixture(loop_scope="session")
async def copier(world: World) -> AsyncIterator[GatewayConnection]:
    """A connection of somebody whose refusals are too many to be recorded one by one."""
    async with world.connection("copier") as connection:
        yield connection


async def test_a_captured_command(world: World, copier: GatewayConnection) -> None:
    """The same bytes again, until both workers have had them: always `replayed`, one effect."""
    raw, caller = copier, world.caller("copier")
    for operation, arguments in (
        ("insert", {"document": {"kind": "captured"}}),
        ("get", {"document": "captured"}),
    ):
        sent = caller.seal(operation, arguments)
        first = await exchange(raw, sent)
        workers: set[str] = set()
        for _ in range(100):
            answer = await exchange(raw, sent)
            assert answer.error.code == "replayed"
            workers.add(answer.reply.header.worker)
            if len(workers) == 2:
                break
        assert workers >= {first.reply.header.worker}
        assert len(workers) == 2
        trail = await world.trail()
        assert trail.ids("intent")[sent.header.id] == 1
        assert trail.ids("done")[sent.header.id] == 1
    found = await exchange(raw, caller.seal("count", {"filters": {"kind": "captured"}}))
    assert found.result == 1


async def test_copies_at_the_same_moment(world: World, copier: GatewayConnection) -> None:
    """Twenty copies at once, to whichever worker: one is executed."""
    raw, caller = copier, world.caller("copier")
    for number in range(10):
        sent = caller.seal("insert", {"document": {"kind": f"copied-{number}"}})
        answers = await asyncio.gather(*(exchange(raw, sent) for _ in range(20)))
        codes = [answer.error.code for answer in answers if "error" in answer.body]
        assert codes == ["replayed"] * 19
        asked = caller.seal("count", {"filters": {"kind": f"copied-{number}"}})
        assert (await exchange(raw, asked)).result == 1


@pytest.mark.parametrize(
    "reply",
    [
        f"$JS.API.STREAM.DELETE.{STREAM}",
        f"$JS.API.STREAM.PURGE.{STREAM}",
        "$KV.mallku_policy.current",
        "mallku.v1.audit.operator.mallku.memory_anchors.insert.done",
        "mallku.v1.cmd.operator.mallku.memory_anchors.truncate",
        "_INBOX_mallku.operator.box.1",
        "_INBOX_mallku_worker.w.1",
        "",
    ],
)
async def test_a_reply_that_is_asked_for_elsewhere(world: World, reply: str) -> None:
    """By the principal itself, signed or junk: refused and recorded, and the stream still stands.

    Nothing is executed, and nothing is published where the reply was asked for.
    """
    caller = world.caller("thief")
    async with world.connection("thief") as raw:
        for data in (caller.seal("insert", {"document": {"kind": "foreign"}}).data, b"junk"):
            before = await _stream(world)
            subject = str(CommandSubject("thief", "mallku", "memory_anchors", "insert"))
            raw.post(subject, data, reply=reply)
            await raw.flush()
            await world.refused("foreign_reply_inbox", subject)
            after = await _stream(world)
            assert after["messages"] >= before["messages"]
            assert after["first_seq"] == before["first_seq"]
        asked = caller.seal("count", {"filters": {"kind": "foreign"}})
        assert (await exchange(raw, asked)).result == 0


async def test_a_command_that_is_changed_or_aimed_elsewhere(
    raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Every sort of it is refused with its code, and nothing is stored."""
    sent = caller.seal("insert", {"document": {"kind": "bent"}})
    envelope, stranger = sent.envelope, SigningKey(b"s" * 32)
    flipped = bytes([envelope.body[0], *envelope.body[1:-1], envelope.body[-1] ^ 1])
    forged = caller.seal("insert", sent.body, key=stranger, kid=caller.key.kid)
    own_token = make_token(stranger, principal="mallku")
    elsewhere = "mallku.v1.cmd.mallku.mallku.khipu_blocks.insert"
    attacks: list[tuple[dict[str, Any], str]] = [
        ({"data": replace(envelope, body=flipped).join()}, "209"),
        ({"data": replace(envelope, signature=b"").join()}, "209"),
        ({"data": replace(envelope, token=own_token).join()}, "206"),
        ({"data": forged.data}, "209"),
        ({"data": caller.seal("insert", sent.body, token=own_token, key=stranger).data}, "206"),
        ({"subject": elsewhere}, "205"),
        ({"data": sent.data[:-1]}, "201"),
        ({"data": b""}, "201"),
    ]
    for changes, code in attacks:
        reply = await ask(raw, sent, **changes)
        assert (reply.headers or {}).get("Nats-Service-Error-Code") == code
    for operation in ("memory_anchors", "khipu_blocks"):
        asked = caller.seal("count", {"filters": {"kind": "bent"}}, operation)
        assert (await exchange(raw, asked)).result == 0


async def test_a_command_out_of_its_time(raw: GatewayConnection, caller: SimulatedCaller) -> None:
    """Too old and too new are told apart; a signed answer brings the worker's time."""
    for shift, code in ((-120_000, "stale_command"), (120_000, "command_from_future")):
        then = now_ms() + shift
        answer = await exchange(raw, caller.seal("count", {}, iat=then, exp=then + 10_000))
        assert answer.error.code == code
        assert abs(answer.reply.header.time - now_ms()) < 5_000


async def test_somebody_elses_subject(world: World) -> None:
    """The broker lets nobody publish commands of another principal, nor operations they lack."""
    events: list[ConnectionEvent] = []
    caller = world.caller("mallory")
    async with world.connection("mallory", on_event=events.append) as raw:
        assert (
            await exchange(raw, caller.seal("get", {"document": "k"}, "fc_decisions"))
        ).result is None
        for subject in (
            "mallku.v1.cmd.mallku.mallku.memory_anchors.insert",
            "mallku.v1.cmd.mallory.mallku.memory_anchors.insert",
            "mallku.v1.cmd.mallory.mallku.memory_anchors.explode",
            "mallku.v1.audit.mallory.mallku.memory_anchors.get.done",
            f"$JS.API.STREAM.DELETE.{STREAM}",
        ):
            events.clear()
            raw.post(subject, b"junk", reply="_INBOX_mallku.mallory.x")
            await raw.flush()
            await until("the refusal", lambda: _refused(events, subject))  # noqa: B023 - awaited here


def _refused(events: list[ConnectionEvent], subject: str) -> bool:
    return any(
        event.kind is EventKind.REFUSED and event.subject == subject.lower() for event in events
    )


async def test_where_the_broker_is_wider_the_worker_is_not(world: World) -> None:
    """A glob is `*` to the broker; the worker reads it as it is written."""
    async with world.connection("mallory") as raw:
        sent = world.caller("mallory").seal("get", {"document": "k"}, "memory_anchors")
        answer = await exchange(raw, sent)
    assert answer.error.code == "permission_denied"
    assert answer.error.details["missing"]["collection"] == "memory_anchors"


async def test_a_subject_that_is_no_text(own_world: World) -> None:
    """Bytes that are no UTF-8 are a token to a broker: refused, and both workers go on."""
    before, caller = own_world.workers, own_world.caller()
    async with own_world.connection() as raw:
        for _ in range(20):
            subject = b"mallku.v1.cmd.mallku.mallku.\xff\xfe.insert"
            await raw._send_command(b"PUB " + subject + b" _INBOX_mallku.mallku.\xff 1\r\nx\r\n")
        await raw.flush()
        asked = [caller.seal("count", {}) for _ in range(60)]
        workers = {(await exchange(raw, one)).reply.header.worker for one in asked}
    assert len(workers) == 2
    assert own_world.workers == before


async def test_a_flood_of_junk_does_not_stop_the_others(world: World) -> None:
    """Thousands of refusals a second: summed up in the trail, and commands are still answered."""
    before = (await _stream(world))["messages"]
    subject = "mallku.v1.cmd.flooder.mallku.memory_anchors.get"
    async with world.connection("flooder") as raw, world.connection("operator") as other:
        for _ in range(3_000):
            raw.post(subject, b"junk", reply="_INBOX_mallku.flooder.junk")
        await raw.flush()
        for _ in range(20):
            operator = world.caller("operator")
            assert isinstance((await exchange(other, operator.seal("count", {}))).result, int)
    assert (await _stream(world))["messages"] - before < 500
