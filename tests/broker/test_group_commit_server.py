"""Group commit on a real server: in order, exactly once, and nothing lost that was acknowledged."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from mallku_broker.acknowledgements import (
    Ack,
    AcknowledgementMultiplexer,
    NotAcknowledged,
    NotPublished,
    PublishFailed,
    PublishRefused,
)
from mallku_broker.group_commit import GroupCommit
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT
from mallku_contracts.limits import MIB
from tests.broker.grouping import PAIRS, SUBJECT, ack_at, publish, turns
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse, nats_house, until


@asynccontextmanager
async def _groups(house: NatsHouse) -> AsyncGenerator[GroupCommit]:
    async with (
        house.connection(WORKER_RECORDS) as connection,
        AcknowledgementMultiplexer(connection, expected_stream=AUDIT) as publisher,
        GroupCommit(publisher, PAIRS) as group,
    ):
        yield group


async def test_a_thousand_and_more_stand_in_the_order_of_the_calls(house: NatsHouse) -> None:
    """On a real server: batches of the largest size, each record with the place it really has."""
    async with _groups(house) as group, house.connection(ADMINISTRATOR) as administrator:
        ids = [str(uuid4()) for _ in range(2_500)]
        acks = await asyncio.gather(*publish(group, *ids, timeout=20))
        first = acks[0].sequence
        assert acks == [ack_at(first + number) for number in range(2_500)]
        for number in (0, 999, 1_000, 2_499):
            assert await _id_at(administrator, first + number) == ids[number]


async def _id_at(connection: Any, sequence: int) -> str:
    """The message id of the record at a sequence."""
    found = await ask(connection, f"STREAM.MSG.GET.{AUDIT}", {"seq": sequence})
    header = base64.b64decode(found["message"]["hdrs"]).decode()
    return next(
        line.partition(": ")[2] for line in header.split("\r\n") if line.startswith("Nats-Msg-Id")
    )


async def test_replays_are_told_to_those_who_replayed(house: NatsHouse) -> None:
    """Seen before, or twice in the same moment: flagged, with the first one's place.

    All others in the same groups are stored once, and know where.
    """
    async with _groups(house) as group:
        seen = str(uuid4())
        (first,) = await asyncio.gather(*publish(group, seen))
        new = [str(uuid4()) for _ in range(6)]
        ids = [new[0], seen, new[1], new[2], new[1], new[3], seen, new[4], new[0], new[5]]
        acks = await asyncio.gather(*publish(group, *ids))
        flagged = [number for number, ack in enumerate(acks) if ack.duplicate]
        assert flagged == [1, 4, 6, 8]
        assert acks[1].sequence == acks[6].sequence == first.sequence
        assert (acks[4].sequence, acks[8].sequence) == (acks[2].sequence, acks[0].sequence)
        fresh = [ack.sequence for ack in acks if not ack.duplicate]
        assert fresh == list(range(first.sequence + 1, first.sequence + 7))


async def test_who_replays_intents_disturbs_nobody(house: NatsHouse) -> None:
    """Group after group holds one that was seen; the others are stored, and know where."""
    async with _groups(house) as group:
        await asyncio.gather(*publish(group, "i.eve.seen"))
        for moment in range(5):
            own = [f"o.w.{moment}-{number}" for number in range(20)]
            new = [f"i.ana.{moment}-{number}" for number in range(20)]
            ids = [*own[:10], *new[:10], "i.eve.seen", *own[10:], *new[10:], f"i.eve.{moment}"]
            acks = await asyncio.gather(*publish(group, *ids))
            assert [one for one, ack in zip(ids, acks, strict=True) if ack.duplicate] == [ids[20]]
            again = await asyncio.gather(*publish(group, *ids))
            assert [ack.sequence for ack in again] == [ack.sequence for ack in acks]
            assert all(ack.duplicate for ack in again)


async def test_one_that_is_too_large_fails_alone(house: NatsHouse) -> None:
    """For the stream, or for the broker: the others of the moment are stored."""
    async with _groups(house) as group:
        bodies = [b"a", b"x" * (7 * MIB), b"b", b"x" * (9 * MIB), b"c"]
        futures = [
            group.publish(SUBJECT, body, message_id=str(uuid4()), timeout=10) for body in bodies
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [
            Ack,
            PublishRefused,
            Ack,
            NotPublished,
            Ack,
        ]


async def test_a_full_stream_refuses_those_that_do_not_fit(tmp_path: Path) -> None:
    """Each of a group that no longer fits as a whole gets its own answer; nobody hears twice.

    When the stream has been given more room, the same records are stored, once.
    """
    async with nats_house(tmp_path) as house, _groups(house) as group:
        ids = [str(number) for number in range(40)]
        body = b"x" * (MIB // 2)
        futures = publish(group, *ids, body=body, timeout=20)
        results = await asyncio.gather(*futures, return_exceptions=True)
        stored = [number for number, result in enumerate(results) if isinstance(result, Ack)]
        assert stored == list(range(len(stored)))
        assert 20 < len(stored) < 32
        for refusal in results[len(stored) :]:
            assert isinstance(refusal, PublishRefused)
            assert refusal.err_code == 10077
        await _grow(house, 64 * MIB)
        again = await asyncio.gather(*publish(group, *ids, body=body, timeout=20))
        assert [ack.sequence for ack in again] == list(range(1, 41))
        assert [ack.duplicate for ack in again] == [number in stored for number in range(40)]


async def _grow(house: NatsHouse, size: int) -> None:
    async with house.connection(ADMINISTRATOR) as connection:
        info = await ask(connection, f"STREAM.INFO.{AUDIT}", {})
        configuration = info["config"] | {"max_bytes": size}
        await ask(connection, f"STREAM.UPDATE.{AUDIT}", configuration)


async def test_a_frozen_server_and_what_its_groups_became(tmp_path: Path) -> None:
    """What had left ends unknown and turns out stored, what had not is not: the same ids tell."""
    async with nats_house(tmp_path) as house, _groups(house) as group:
        await house.freeze()
        try:
            left = publish(group, "a", "b", timeout=0.2)
            await turns()
            waiting = publish(group, "c", timeout=0.1)
            results = await asyncio.gather(*left, *waiting, return_exceptions=True)
        finally:
            house.thaw()
        assert [type(result) for result in results] == [
            NotAcknowledged,
            NotAcknowledged,
            NotPublished,
        ]
        acks = await asyncio.gather(*publish(group, "a", "b", "c", timeout=10))
        assert [ack.duplicate for ack in acks] == [True, True, False]


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    """Kill -9 with groups under way, again and again, and start anew with `fsync`.

    Every record that was acknowledged is there, at its sequence; the others can be published again.
    """
    acknowledged: dict[str, int] = {}
    async with nats_house(tmp_path, sync_every_write=True) as house, _groups(house) as group:
        for life in "abc":
            await _live_and_die(house, group, life, acknowledged)
            await _answering(group)
        async with house.connection(ADMINISTRATOR) as administrator:
            for name in sorted(acknowledged)[::97]:
                assert await _id_at(administrator, acknowledged[name]) == name
        again = await asyncio.gather(*publish(group, *acknowledged, timeout=20))
        assert [ack.sequence for ack in again] == list(acknowledged.values())
        assert all(ack.duplicate for ack in again)


async def _live_and_die(
    house: NatsHouse, group: GroupCommit, life: str, acknowledged: dict[str, int]
) -> None:
    """Publish from 64 tasks, and kill the server among it; what was acknowledged is noted."""

    async def lane(lane: int) -> None:
        for number in count():
            name = f"{life}-{lane}-{number}"
            try:
                ack = await publish(group, name, timeout=2)[0]
            except PublishFailed:
                return
            acknowledged[name] = ack.sequence

    lanes = [asyncio.create_task(lane(one)) for one in range(64)]
    wanted = len(acknowledged) + 500
    await until(lambda: len(acknowledged) >= wanted)
    house.kill()
    await asyncio.gather(*lanes)
    await house.server.wait()
    await house.server.start()


async def _answering(group: GroupCommit) -> None:
    """Wait until the connection is there again."""
    async with asyncio.timeout(20):
        while True:
            try:
                await publish(group, str(uuid4()), timeout=1)[0]
            except PublishFailed:
                await asyncio.sleep(0.01)
            else:
                return
