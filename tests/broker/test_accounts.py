"""Attacks on the broker by those who may connect to it, on the real server with the real lists."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mallku_broker import configuration
from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.configuration import AUDITOR_PREFIX
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.headers import decode_headers, encode_headers
from mallku_broker.streams import AUDIT, JOBS, KEYS, POLICY
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.support.nats import (
    ADMINISTRATOR,
    WORKER_BUS,
    WORKER_RECORDS,
    NatsHouse,
    Witness,
    nats_house,
    prefix_of,
)

GET = "mallku.v1.cmd.mallku.db.anchors.get"
PATTERN = "mallku.v1.cmd.*.*.*.get"
QUEUE = "mallku.read"
JOB = "mallku.v1.job.mallku.db.anchors.insert"
RECORD = "mallku.v1.audit.mallku.db.anchors.insert.intent"

FORMS_A_CYCLE = 10081
PULL = f"{AUDITOR_PREFIX}.CONSUMER.MSG.NEXT.{AUDIT}"

FORBIDDEN_REPLIES = [
    f"$JS.API.STREAM.DELETE.{AUDIT}",
    f"$JS.API.STREAM.PURGE.{JOBS}",
    f"$KV.{POLICY}.current",
    "mallku.v1.audit.bob.db.anchors.insert.done",
    "mallku.v1.checkpoint.w",
    "mallku.v1.cmd.operator.db.anchors.drop-collection",
]


async def _state(house: NatsHouse, stream: str) -> dict[str, Any]:
    async with house.connection(ADMINISTRATOR) as connection:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=5)
    state: dict[str, Any] = json.loads(answer.data)["state"]
    return state


async def _last(house: NatsHouse) -> dict[str, int]:
    """The last sequence of every stream that an attack may want to write to."""
    streams = (AUDIT, "MALLKU_CHECKPOINTS", f"KV_{POLICY}", f"KV_{KEYS}")
    return {stream: (await _state(house, stream))["last_seq"] for stream in streams}


async def _publish_record(house: NatsHouse, body: bytes = b"record") -> int:
    async with (
        house.connection(WORKER_RECORDS) as records,
        AcknowledgementMultiplexer(records, expected_stream=AUDIT) as publisher,
    ):
        ack = await publisher.publish(RECORD, body, message_id=str(uuid4()), timeout=5)
    return ack.sequence


@pytest.mark.parametrize("reply", FORBIDDEN_REPLIES)
async def test_a_reply_subject_does_not_make_a_worker_write_elsewhere(
    house: NatsHouse, reply: str
) -> None:
    """Even a worker that answered to whatever it was asked to cannot reach streams or commands."""
    before = await _last(house)
    witness = Witness()
    async with (
        house.connection(WORKER_BUS, on_event=witness) as worker,
        house.connection("mallku") as caller,
    ):
        await worker.listen(PATTERN, lambda _s, r, _b, _h: worker.post(r, b""), queue=QUEUE)
        await worker.flush()
        caller.post(GET, b"", reply=reply)
        refused = await witness.sees(EventKind.REFUSED)
        assert reply.lower() in refused.detail
    assert await _last(house) == before


@pytest.mark.parametrize("reply", FORBIDDEN_REPLIES)
async def test_a_reply_subject_does_not_make_the_server_write_elsewhere(
    house: NatsHouse, reply: str
) -> None:
    """A job is stored, and no stream gets an acknowledgement, whatever reply was asked for."""
    before, jobs = await _last(house), (await _state(house, JOBS))["last_seq"]
    async with house.connection("mallku") as caller:
        caller.post(JOB, b"job", reply=reply)
        await caller.flush()
        await _eventually_stored(house, jobs + 1)
    assert await _last(house) == before


async def _eventually_stored(house: NatsHouse, sequence: int) -> None:
    async with asyncio.timeout(5):
        while (await _state(house, JOBS))["last_seq"] < sequence:
            pass


async def test_that_a_job_is_kept_is_said_to_its_caller_alone(house: NatsHouse) -> None:
    """Callers have no JetStream, and yet submit durable jobs, and are told which are kept.

    It is said where the job's own subject leads, with its headers and its place in the stream; to
    the reply subject, the caller's own or another's, nothing is said.
    """
    kept: asyncio.Queue[tuple[str, str, dict[str, str], bytes]] = asyncio.Queue()
    heard: list[str] = []
    async with (
        house.connection("mallku") as caller,
        house.connection("mallory") as mallory,
        house.connection("inspector") as inspector,
    ):
        await caller.listen(
            "mallku.v1.stored.mallku.>",
            lambda s, r, b, h: kept.put_nowait((s, r, decode_headers(h), b)),
        )
        for connection, subject in (
            (caller, "_INBOX_mallku.mallku.>"),
            (mallory, "_INBOX_mallku.mallory.>"),
            (mallory, "mallku.v1.stored.mallory.>"),
            (inspector, "_INBOX_mallku.>"),
        ):
            await connection.listen(subject, lambda s, _r, _b, _h: heard.append(s))
            await connection.flush()
        replies = ("_INBOX_mallku.mallku.x", "_INBOX_mallku.mallory.x", GET, "")
        for number, reply in enumerate(replies):
            header = encode_headers({"Nats-Msg-Id": f"{number}"})
            caller.post(JOB, b"job", reply=reply, header=header)
        for number in range(len(replies)):
            subject, reply, headers, body = await asyncio.wait_for(kept.get(), 5)
            assert (subject, reply, body) == (JOB.replace(".job.", ".stored."), "", b"")
            assert headers["Nats-Msg-Id"] == f"{number}"
            assert (headers["Nats-Stream"], headers["Nats-Subject"]) == (JOBS, JOB)
            assert int(headers["Nats-Sequence"]) > 0
        for connection in (caller, mallory, inspector):
            await connection.flush()
    assert heard == []


async def test_a_trace_of_a_job_ends_before_its_stream(house: NatsHouse) -> None:
    """A trace to where one may publish is let through, and writes nothing into RECORDS."""
    before, jobs = await _last(house), (await _state(house, JOBS))["last_seq"]
    async with house.connection("mallku") as caller:
        header = encode_headers({"Nats-Trace-Dest": JOB})
        caller.post(JOB, b"job", header=header)
        await caller.flush()
        await _eventually_stored(house, jobs + 1)
    assert await _last(house) == before


async def _is_refused(connection: GatewayConnection, subject: str, queue: str = "") -> bool:
    witness = Witness()
    connection.watch(witness)
    subscription = await connection.subscribe(subject, queue=queue)
    await connection.flush()
    await subscription.unsubscribe()
    connection.unwatch(witness)
    return EventKind.REFUSED in witness.kinds


@pytest.mark.parametrize(
    ("who", "subject", "queue"),
    [
        ("mallku", "_INBOX.>", ""),
        ("mallku", "_INBOX_mallku.>", ""),
        ("mallku", "_INBOX_mallku.*.>", ""),
        ("mallku", "_INBOX_mallku.mallory.>", ""),
        ("mallku", ">", ""),
        ("mallku", "*.*", ""),
        ("mallku", "mallku.v1.cmd.>", ""),
        ("mallku", PATTERN, QUEUE),
        ("mallku", "mallku.v1.job.>", ""),
        ("mallku", "mallku.v1.stored.>", ""),
        ("mallku", "mallku.v1.stored.mallory.>", ""),
        (WORKER_BUS, "mallku.v1.stored.>", ""),
        ("mallku", "$SRV.PING", ""),
        ("mallku", "$KV.mallku_policy.>", ""),
        (WORKER_BUS, PATTERN, ""),
        (WORKER_BUS, PATTERN, "another"),
        (WORKER_BUS, "mallku.v1.cmd.>", QUEUE),
        (WORKER_BUS, "_INBOX_mallku.>", ""),
        (WORKER_RECORDS, "mallku.v1.audit.>", ""),
        (WORKER_RECORDS, "$JS.API.>", ""),
        ("inspector", PATTERN, QUEUE),
        ("inspector", "mallku.v1.cmd.>", QUEUE),
        ("inspector", "mallku.v1.cmd.>", "a.b.c"),
        ("inspector", "_INBOX_mallku.>", "q"),
        ("inspector", ">", ""),
        ("auditor", "_INBOX_mallku.>", ""),
        ("auditor", "$JS.API.>", ""),
        ("auditor", "mallku.v1.>", ""),
        (ADMINISTRATOR, "_INBOX_mallku.>", ""),
        (ADMINISTRATOR, "_INBOX_mallku_worker.>", ""),
    ],
)
async def test_what_nobody_may_listen_to(
    house: NatsHouse, who: str, subject: str, queue: str
) -> None:
    """Other people's inboxes, commands outside the queue groups, and the trail are closed."""
    async with house.connection(who) as connection:
        assert await _is_refused(connection, subject, queue)


@pytest.mark.parametrize(
    ("who", "subject", "queue"),
    [
        ("mallku", "_INBOX_mallku.mallku.>", ""),
        ("mallku", "mallku.v1.stored.mallku.>", ""),
        (WORKER_BUS, PATTERN, QUEUE),
        (WORKER_BUS, "mallku.v1.cmd.*.*.*.insert", "mallku.write"),
        (WORKER_BUS, "mallku.v1.cur.*.*.*.next", ""),
        (WORKER_BUS, "$SRV.PING", ""),
        (WORKER_BUS, "$SRV.INFO.mallku-gateway.abc", ""),
        (WORKER_RECORDS, "_INBOX_mallku_worker.abc.>", ""),
        ("inspector", "mallku.v1.cmd.>", ""),
        ("inspector", "_INBOX_mallku.>", ""),
        ("auditor", "_INBOX_mallku.auditor.>", ""),
    ],
)
async def test_what_everybody_needs_to_listen_to(
    house: NatsHouse, who: str, subject: str, queue: str
) -> None:
    """The lists are not so narrow that anybody cannot do their work."""
    async with house.connection(who) as connection:
        assert not await _is_refused(connection, subject, queue)


@pytest.mark.parametrize(
    ("who", "subject"),
    [
        ("mallku", "mallku.v1.cmd.mallory.db.anchors.get"),
        ("mallku", "mallku.v1.cmd.mallku.db.anchors.drop-collection"),
        ("mallku", "mallku.v1.job.mallory.db.anchors.insert"),
        ("mallku", "mallku.v1.stored.mallku.db.anchors.insert"),
        ("mallku", "mallku.v1.stored.mallory.db.anchors.insert"),
        (WORKER_BUS, "mallku.v1.stored.mallku.db.anchors.insert"),
        (WORKER_RECORDS, "mallku.v1.stored.mallku.db.anchors.insert"),
        (ADMINISTRATOR, "mallku.v1.stored.mallku.db.anchors.insert"),
        ("mallku", RECORD),
        ("mallku", f"$JS.API.STREAM.INFO.{AUDIT}"),
        ("mallku", "$SRV.PING"),
        ("mallku", "_INBOX_mallku.mallory.x.1"),
        ("mallory", "mallku.v1.cmd.mallory.mallku.other.get"),
        ("mallory", "mallku.v1.cmd.mallory.db.memory_anchors.get"),
        ("mallory", "mallku.v1.cmd.mallory.mallku.memory_anchors.insert"),
        ("inspector", GET),
        ("inspector", "_INBOX_mallku.mallku.x.1"),
        (WORKER_BUS, GET),
        (WORKER_BUS, RECORD),
        (WORKER_RECORDS, f"$JS.API.STREAM.DELETE.{AUDIT}"),
        (WORKER_RECORDS, f"$JS.API.STREAM.PURGE.{AUDIT}"),
        (WORKER_RECORDS, f"$JS.API.STREAM.UPDATE.{AUDIT}"),
        (WORKER_RECORDS, f"$JS.API.STREAM.MSG.DELETE.{AUDIT}"),
        (WORKER_RECORDS, f"$KV.{POLICY}.current"),
        (ADMINISTRATOR, f"$JS.API.STREAM.DELETE.{AUDIT}"),
        (ADMINISTRATOR, f"$JS.API.STREAM.PURGE.{AUDIT}"),
        (ADMINISTRATOR, RECORD),
        ("auditor", f"$JS.API.STREAM.INFO.{AUDIT}"),
        ("auditor", f"{AUDITOR_PREFIX}.STREAM.INFO.{JOBS}"),
        ("auditor", f"{AUDITOR_PREFIX}.CONSUMER.CREATE.KV_{POLICY}.x"),
        ("auditor", f"{AUDITOR_PREFIX}.CONSUMER.DELETE.{AUDIT}.x"),
        ("auditor", GET),
    ],
)
async def test_what_nobody_may_publish(house: NatsHouse, who: str, subject: str) -> None:
    """Commands of others, records, deletions and the API beyond the lists are refused."""
    witness = Witness()
    async with house.connection(who, on_event=witness) as connection:
        connection.post(subject, b"")
        assert (await witness.sees(EventKind.REFUSED)).subject == subject.lower()


async def test_connections_of_callers_and_auditors_leave_room_for_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key may take every connection of its account; workers and administrators still get in."""
    monkeypatch.setattr(configuration, "MAX_CALLERS_CONNECTIONS", 3)
    monkeypatch.setattr(configuration, "MAX_AUDITORS_CONNECTIONS", 2)
    async with nats_house(tmp_path / "nats") as own, AsyncExitStack() as stack:
        for who, most in (("mallku", 3), ("auditor", 2)):
            for _ in range(most):
                await stack.enter_async_context(own.connection(who))
            with pytest.raises((ConfigurationError, GatewayUnreachable)):
                await own.connect(who, connect_timeout_s=1.0)
        for who in (WORKER_RECORDS, ADMINISTRATOR):
            await stack.enter_async_context(own.connection(who))


async def test_an_inspector_sees_and_takes_nothing_away(house: NatsHouse) -> None:
    """Commands and replies pass an inspector's eyes and still reach worker and caller."""
    async with (
        house.connection(WORKER_BUS) as worker,
        house.connection("mallku") as caller,
        house.connection("inspector") as inspector,
    ):
        seen: list[str] = []
        for subject in ("mallku.v1.cmd.>", "_INBOX_mallku.>"):
            await inspector.listen(subject, lambda s, _r, _b, _h: seen.append(s))
        await inspector.flush()
        await worker.listen(PATTERN, lambda _s, r, b, _h: worker.post(r, b), queue=QUEUE)
        await worker.flush()
        for _ in range(20):
            assert (await caller.request(GET, b"x", timeout=5)).data == b"x"
        await inspector.flush()
        assert seen.count(GET) == 20
        assert len(seen) == 40


async def _consumer(auditor: GatewayConnection, name: str, **configuration: Any) -> dict[str, Any]:
    body = {
        "stream_name": AUDIT,
        "config": {
            "name": name,
            "deliver_policy": "last",
            "ack_policy": "none",
            "inactive_threshold": 5_000_000_000,
            "mem_storage": True,
        }
        | configuration,
    }
    subject = f"{AUDITOR_PREFIX}.CONSUMER.CREATE.{AUDIT}.{name}"
    answer = await auditor.request(subject, json.dumps(body).encode(), timeout=5)
    created: dict[str, Any] = json.loads(answer.data)
    return created


async def _delivered(auditor: GatewayConnection, name: str) -> int:
    subject = f"{AUDITOR_PREFIX}.CONSUMER.INFO.{AUDIT}.{name}"
    answer = await auditor.request(subject, b"", timeout=5)
    delivered: int = json.loads(answer.data)["delivered"]["consumer_seq"]
    return delivered


async def test_an_auditor_reads_the_trail(house: NatsHouse) -> None:
    """From its own account an auditor creates a consumer and pulls the records."""
    sequence = await _publish_record(house, b"the record")
    async with house.connection("auditor") as auditor:
        created = await _consumer(auditor, f"c{uuid4().hex}")
        reply, body = await _pull(auditor, created["name"])
        assert body == b"the record"
        assert f".{sequence}." in reply


async def _pull(auditor: GatewayConnection, name: str) -> tuple[str, bytes]:
    """One record's acknowledgement subject and body; records keep their own subject."""
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    inbox = f"{prefix_of('auditor')}.{uuid4().hex}"
    subscription = await auditor.listen(inbox, lambda _s, r, b, _h: heard.put_nowait((r, b)))
    auditor.post(f"{PULL}.{name}", b'{"batch": 1}', reply=inbox)
    record = await asyncio.wait_for(heard.get(), 5)
    await auditor.unlisten(subscription)
    return record


@pytest.mark.parametrize("reply", FORBIDDEN_REPLIES)
async def test_an_auditors_pull_writes_nowhere(house: NatsHouse, reply: str) -> None:
    """Pulled records go to the auditor's own account, whatever reply was asked for."""
    await _publish_record(house)
    before = await _last(house)
    async with house.connection("auditor") as auditor:
        created = await _consumer(auditor, f"c{uuid4().hex}")
        other = await _consumer(auditor, f"c{uuid4().hex}")
        auditor.post(f"{PULL}.{created['name']}", b'{"batch": 1}', reply=reply)
        # When the same pull by an honest consumer was served, the other has had its chance.
        await _pull(auditor, other["name"])
    assert await _last(house) == before


@pytest.mark.parametrize("target", [*FORBIDDEN_REPLIES, "the acknowledgement inbox"])
async def test_an_auditors_push_consumer_reaches_nobody(house: NatsHouse, target: str) -> None:
    """A consumer that pushes into the records' account finds no listener there.

    The server lets an auditor name any delivery subject, but delivers only where somebody listens
    to exactly that subject; streams, the API and our inboxes listen by wildcard.
    """
    await _publish_record(house)
    async with (
        house.connection(WORKER_RECORDS) as records,
        AcknowledgementMultiplexer(records, expected_stream=AUDIT) as publisher,
        house.connection("auditor") as auditor,
    ):
        before = await _last(house)
        subject = f"{publisher._inbox}1" if target not in FORBIDDEN_REPLIES else target
        name = f"c{uuid4().hex}"
        created = await _consumer(auditor, name, deliver_subject=subject)
        assert created.get("error", {}).get("err_code") in {None, FORMS_A_CYCLE}
        ack = await publisher.publish(RECORD, b"", message_id=str(uuid4()), timeout=5)
        assert ack.sequence == before[AUDIT] + 1
        if "error" not in created:
            assert await _delivered(auditor, name) == 0
        assert await _last(house) == before | {AUDIT: before[AUDIT] + 1}
        assert publisher.late == 0


async def test_a_forged_acknowledgement_needs_the_records_account(house: NatsHouse) -> None:
    """A caller who guesses a worker's inbox cannot even send there."""
    witness = Witness()
    async with house.connection("mallku", on_event=witness) as caller:
        caller.post(f"{prefix_of(WORKER_RECORDS)}.x.1", b'{"stream":"MALLKU_AUDIT","seq":1}')
        await witness.sees(EventKind.REFUSED)


async def test_the_trail_cannot_be_shortened_by_its_own_publisher(house: NatsHouse) -> None:
    """Headers that would roll up, expire or count are refused or without effect."""
    sequence = await _publish_record(house)
    async with house.connection(WORKER_RECORDS) as records:
        inbox = f"{prefix_of(WORKER_RECORDS)}.raw"
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await records.listen(inbox, lambda _s, _r, b, _h: heard.put_nowait(b))
        for header in (b"Nats-Rollup: all", b"Nats-Rollup: sub", b"Nats-TTL: 1s"):
            records.post(RECORD, b"", reply=inbox, header=b"NATS/1.0\r\n%s\r\n\r\n" % header)
            assert b'"error"' in await asyncio.wait_for(heard.get(), 5)
    assert (await _state(house, AUDIT))["last_seq"] == sequence
