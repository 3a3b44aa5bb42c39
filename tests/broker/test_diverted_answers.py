"""Answers that an attacker asks for elsewhere: none of them ends in a stream or at another's."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.headers import decode_headers, encode_headers
from mallku_broker.streams import AUDIT, JOBS
from tests.broker.stored_state import (
    FORBIDDEN_REPLIES,
    GET,
    JOB,
    PATTERN,
    QUEUE,
    RECORD,
    last,
    publish_record,
    state,
)
from tests.support.nats import WORKER_BUS, WORKER_RECORDS, NatsHouse, Witness, prefix_of

FORMS_A_CYCLE = 10081
PULL = f"{AUDITOR_PREFIX}.CONSUMER.MSG.NEXT.{AUDIT}"


@pytest.mark.parametrize("reply", FORBIDDEN_REPLIES)
async def test_a_reply_subject_does_not_make_a_worker_write_elsewhere(
    house: NatsHouse, reply: str
) -> None:
    """Even a worker that answered to whatever it was asked to cannot reach streams or commands."""
    before = await last(house)
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
    assert await last(house) == before


@pytest.mark.parametrize("reply", FORBIDDEN_REPLIES)
async def test_a_reply_subject_does_not_make_the_server_write_elsewhere(
    house: NatsHouse, reply: str
) -> None:
    """A job is stored, and no stream gets an acknowledgement, whatever reply was asked for."""
    before, jobs = await last(house), (await state(house, JOBS))["last_seq"]
    async with house.connection("mallku") as caller:
        caller.post(JOB, b"job", reply=reply)
        await caller.flush()
        await _eventually_stored(house, jobs + 1)
    assert await last(house) == before


async def _eventually_stored(house: NatsHouse, sequence: int) -> None:
    async with asyncio.timeout(5):
        while (await state(house, JOBS))["last_seq"] < sequence:
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
    before, jobs = await last(house), (await state(house, JOBS))["last_seq"]
    async with house.connection("mallku") as caller:
        header = encode_headers({"Nats-Trace-Dest": JOB})
        caller.post(JOB, b"job", header=header)
        await caller.flush()
        await _eventually_stored(house, jobs + 1)
    assert await last(house) == before


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
    sequence = await publish_record(house, b"the record")
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
    await publish_record(house)
    before = await last(house)
    async with house.connection("auditor") as auditor:
        created = await _consumer(auditor, f"c{uuid4().hex}")
        other = await _consumer(auditor, f"c{uuid4().hex}")
        auditor.post(f"{PULL}.{created['name']}", b'{"batch": 1}', reply=reply)
        # When the same pull by an honest consumer was served, the other has had its chance.
        await _pull(auditor, other["name"])
    assert await last(house) == before


@pytest.mark.parametrize("target", [*FORBIDDEN_REPLIES, "the acknowledgement inbox"])
async def test_an_auditors_push_consumer_reaches_nobody(house: NatsHouse, target: str) -> None:
    """A consumer that pushes into the records' account finds no listener there.

    The server lets an auditor name any delivery subject, but delivers only where somebody listens
    to exactly that subject; streams, the API and our inboxes listen by wildcard.
    """
    await publish_record(house)
    async with (
        house.connection(WORKER_RECORDS) as records,
        AcknowledgementMultiplexer(records, expected_stream=AUDIT) as publisher,
        house.connection("auditor") as auditor,
    ):
        before = await last(house)
        subject = f"{publisher._inbox}1" if target not in FORBIDDEN_REPLIES else target
        name = f"c{uuid4().hex}"
        created = await _consumer(auditor, name, deliver_subject=subject)
        assert created.get("error", {}).get("err_code") in {None, FORMS_A_CYCLE}
        ack = await publisher.publish(RECORD, b"", message_id=str(uuid4()), timeout=5)
        assert ack.sequence == before[AUDIT] + 1
        if "error" not in created:
            assert await _delivered(auditor, name) == 0
        assert await last(house) == before | {AUDIT: before[AUDIT] + 1}
        assert publisher.late == 0
