from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from mallku_broker.acknowledgements import (
    Ack,
    AcknowledgementMultiplexer,
    Message,
    NotAcknowledged,
    NotPublished,
    PublishRefused,
)
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_contracts.limits import MIB
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse, nats_house

SUBJECT = "mallku.v1.audit.mallku.db.anchors.insert.intent"


@asynccontextmanager
async def _multiplexer(
    house: NatsHouse, *, stream: str = AUDIT, max_in_flight: int = 1024
) -> AsyncGenerator[AcknowledgementMultiplexer]:
    async with (
        house.connection(WORKER_RECORDS) as connection,
        AcknowledgementMultiplexer(
            connection, expected_stream=stream, max_in_flight=max_in_flight
        ) as publisher,
    ):
        yield publisher


async def test_each_publish_gets_its_own_acknowledgement(house: NatsHouse) -> None:
    """Five hundred at once are stored in the order of the calls, each acknowledged once."""
    async with _multiplexer(house) as publisher:
        acks = await asyncio.gather(
            *(
                publisher.publish(SUBJECT, b"x", message_id=str(uuid4()), timeout=10)
                for _ in range(500)
            )
        )
        first = acks[0].sequence
        assert acks == [Ack(AUDIT, first + number, duplicate=False) for number in range(500)]
        assert publisher.in_flight == 0


async def test_a_seen_id_is_flagged_with_its_first_sequence(house: NatsHouse) -> None:
    """The same id again is acknowledged as a duplicate and not stored again."""
    async with _multiplexer(house) as publisher:
        one = str(uuid4())
        first = await publisher.publish(SUBJECT, b"a", message_id=one, timeout=5)
        again = await publisher.publish(SUBJECT, b"b", message_id=one, timeout=5)
        other = await publisher.publish(SUBJECT, b"c", message_id=str(uuid4()), timeout=5)
        assert again == Ack(AUDIT, first.sequence, duplicate=True)
        assert other.sequence == first.sequence + 1


async def test_an_error_reaches_the_one_who_published(house: NatsHouse) -> None:
    """Of three messages the middle one is too large for the stream; only its future fails."""
    async with _multiplexer(house) as publisher:
        bodies = [b"a", b"x" * (7 * MIB), b"c"]
        results = await asyncio.gather(
            *(
                publisher.publish(SUBJECT, body, message_id=str(uuid4()), timeout=10)
                for body in bodies
            ),
            return_exceptions=True,
        )
        assert isinstance(results[0], Ack)
        assert isinstance(results[2], Ack)
        assert isinstance(results[1], PublishRefused)
        assert results[1].err_code == 10054


async def test_another_stream_than_expected_is_an_error(house: NatsHouse) -> None:
    """A subject that leads to another stream is refused by the server's own check."""
    async with _multiplexer(house, stream=CHECKPOINTS) as publisher:
        with pytest.raises(PublishRefused) as caught:
            await publisher.publish(SUBJECT, b"a", message_id=str(uuid4()), timeout=5)
        assert caught.value.err_code == 10060


async def test_a_full_stream_refuses(tmp_path: Path) -> None:
    """The audit stream discards nothing old: when it is full, publishing fails and says why."""
    async with nats_house(tmp_path) as house, _multiplexer(house) as publisher:
        results: list[Ack | BaseException] = []
        for number in range(20):
            ack = publisher.publish(SUBJECT, b"x" * MIB, message_id=str(number), timeout=10)
            results += await asyncio.gather(ack, return_exceptions=True)
        first = next(n for n, result in enumerate(results) if not isinstance(result, Ack))
        assert 10 < first < 16
        for refusal in results[first:]:
            assert isinstance(refusal, PublishRefused)
            assert refusal.err_code == 10077
        again = await publisher.publish(SUBJECT, b"", message_id="0", timeout=5)
        assert again.duplicate


async def test_a_refused_subject_fails_at_once(house: NatsHouse) -> None:
    """What the broker's permissions do not allow ends as `NotPublished`, before any timeout."""
    async with _multiplexer(house) as publisher, asyncio.timeout(5):
        with pytest.raises(NotPublished, match="permissions violation"):
            await publisher.publish("$KV.mallku_policy.current", b"", message_id="x", timeout=60)


async def test_no_stream_is_said_at_once(tmp_path: Path) -> None:
    """Without a stream behind the subject the server says that nobody listens."""
    async with nats_house(tmp_path, streams=False) as house, _multiplexer(house) as publisher:
        async with asyncio.timeout(5):
            with pytest.raises(NotPublished, match="no stream"):
                await publisher.publish(SUBJECT, b"", message_id="x", timeout=60)


async def test_one_too_many_is_refused_and_not_sent(house: NatsHouse) -> None:
    """Beyond `max_in_flight` a publish fails at once; those under way are not touched."""
    async with _multiplexer(house, max_in_flight=2) as publisher:
        futures = [
            publisher.publish(SUBJECT, b"", message_id=str(uuid4()), timeout=5) for _ in range(3)
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [Ack, Ack, NotPublished]


async def test_a_frozen_server_ends_in_a_timeout_and_the_id_finds_out(tmp_path: Path) -> None:
    """After a timeout the same id tells, as a duplicate, that the message had been stored."""
    async with nats_house(tmp_path) as house, _multiplexer(house) as publisher:
        one = str(uuid4())
        await house.freeze()
        try:
            with pytest.raises(NotAcknowledged, match="in time"):
                await publisher.publish(SUBJECT, b"", message_id=one, timeout=0.1)
        finally:
            house.thaw()
        again = await publisher.publish(SUBJECT, b"", message_id=one, timeout=10)
        assert again.duplicate
        assert publisher.late == 1


async def test_a_killed_server_ends_what_waits(tmp_path: Path) -> None:
    """A broken connection ends pending publishes at once; while down nothing is sent."""
    async with nats_house(tmp_path) as house, _multiplexer(house) as publisher:
        await house.freeze()
        waiting = publisher.publish(SUBJECT, b"", message_id="a", timeout=60)
        await asyncio.sleep(0)
        house.kill()
        async with asyncio.timeout(5):
            with pytest.raises(NotAcknowledged, match="broke"):
                await waiting
        with pytest.raises(NotPublished, match="not connected"):
            await publisher.publish(SUBJECT, b"", message_id="b", timeout=60)


async def test_a_batch_is_stored_whole_and_acknowledged_once(house: NatsHouse) -> None:
    """A hundred messages of one atomic batch stand side by side; the last one's place is told."""
    async with _multiplexer(house) as publisher:
        before = await publisher.publish(SUBJECT, b"", message_id=str(uuid4()), timeout=5)
        batch = [Message(SUBJECT, b"x", str(uuid4())) for _ in range(100)]
        ack = await publisher.publish_batch(batch, timeout=10)
        assert ack == Ack(AUDIT, before.sequence + 100, duplicate=False)


async def test_a_batch_with_a_seen_id_is_not_stored_at_all(house: NatsHouse) -> None:
    """One duplicate refuses the whole batch, so that a new id from it can be published after."""
    async with _multiplexer(house) as publisher:
        seen, new = str(uuid4()), str(uuid4())
        await publisher.publish(SUBJECT, b"", message_id=seen, timeout=5)
        with pytest.raises(PublishRefused) as caught:
            await publisher.publish_batch(
                [Message(SUBJECT, b"", new), Message(SUBJECT, b"", seen)], timeout=5
            )
        assert caught.value.err_code == 10201
        alone = await publisher.publish(SUBJECT, b"", message_id=new, timeout=5)
        assert not alone.duplicate


@pytest.mark.parametrize("message_id", ["a\r\nNats-Rollup: all", "é", "a\0"])
async def test_an_id_cannot_smuggle_headers(house: NatsHouse, message_id: str) -> None:
    """An id that would end its header line is a bug of the caller and raises."""
    async with _multiplexer(house) as publisher:
        with pytest.raises(ValueError, match="printable"):
            publisher.publish(SUBJECT, b"", message_id=message_id, timeout=5)
        assert publisher.in_flight == 0


async def test_an_administrator_writes_no_record(house: NatsHouse) -> None:
    """The trail is the workers' to write; the administrator's publish is refused."""
    async with (
        house.connection(ADMINISTRATOR) as connection,
        AcknowledgementMultiplexer(connection, expected_stream=AUDIT) as publisher,
    ):
        with pytest.raises(NotPublished, match="permissions violation"):
            await publisher.publish(SUBJECT, b"", message_id="x", timeout=60)
