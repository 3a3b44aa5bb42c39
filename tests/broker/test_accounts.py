"""What each account may listen to and publish on the broker, on the real server and its lists."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mallku_broker import accounts
from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.streams import AUDIT, JOBS, POLICY
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.broker.stored_state import GET, PATTERN, QUEUE, RECORD, publish_record, state
from tests.support.nats import (
    ADMINISTRATOR,
    WORKER_BUS,
    WORKER_RECORDS,
    NatsHouse,
    Witness,
    nats_house,
    prefix_of,
)


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
    monkeypatch.setattr(accounts, "MAX_CALLERS_CONNECTIONS", 3)
    monkeypatch.setattr(accounts, "MAX_AUDITORS_CONNECTIONS", 2)
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


async def test_a_forged_acknowledgement_needs_the_records_account(house: NatsHouse) -> None:
    """A caller who guesses a worker's inbox cannot even send there."""
    witness = Witness()
    async with house.connection("mallku", on_event=witness) as caller:
        caller.post(f"{prefix_of(WORKER_RECORDS)}.x.1", b'{"stream":"MALLKU_AUDIT","seq":1}')
        await witness.sees(EventKind.REFUSED)


async def test_the_trail_cannot_be_shortened_by_its_own_publisher(house: NatsHouse) -> None:
    """Headers that would roll up, expire or count are refused or without effect."""
    sequence = await publish_record(house)
    async with house.connection(WORKER_RECORDS) as records:
        inbox = f"{prefix_of(WORKER_RECORDS)}.raw"
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await records.listen(inbox, lambda _s, _r, b, _h: heard.put_nowait(b))
        for header in (b"Nats-Rollup: all", b"Nats-Rollup: sub", b"Nats-TTL: 1s"):
            records.post(RECORD, b"", reply=inbox, header=b"NATS/1.0\r\n%s\r\n\r\n" % header)
            assert b'"error"' in await asyncio.wait_for(heard.get(), 5)
    assert (await state(house, AUDIT))["last_seq"] == sequence
