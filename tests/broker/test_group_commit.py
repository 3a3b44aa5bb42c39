from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_broker.acknowledgements import (
    Ack,
    AcknowledgementMultiplexer,
    Message,
    NotAcknowledged,
    NotPublished,
    PublishFailed,
    PublishRefused,
)
from mallku_broker.group_commit import GroupCommit, GroupLimits
from mallku_broker.streams import AUDIT, ask
from mallku_contracts.limits import MIB
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse, nats_house, until

SUBJECT = "mallku.v1.audit.mallku.db.anchors.insert.intent"
PAIRS = GroupLimits(min_messages=2)
DUPLICATE = PublishRefused(10201, "a duplicate in the batch")


class Slow:
    """Takes what is published, and answers when it is told to.

    Attributes:
        sent: The ids of every publish, in order; a batch is one entry.
        answers: The future of each.
    """

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.answers: list[asyncio.Future[Ack]] = []
        self.timeouts: list[float] = []
        self.batches = 0

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish one."""
        return self._take([message_id], timeout)

    def publish_batch(self, messages: Sequence[Message], *, timeout: float) -> asyncio.Future[Ack]:
        """Publish several."""
        self.batches += 1
        return self._take([message.id for message in messages], timeout)

    def _take(self, ids: list[str], timeout: float) -> asyncio.Future[Ack]:
        self.sent.append(ids)
        self.timeouts.append(timeout)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


def _publish(group: GroupCommit, *ids: str, **more: Any) -> list[asyncio.Future[Ack]]:
    values: dict[str, Any] = {"body": b"x", "timeout": 5.0} | more
    body, timeout = values["body"], values["timeout"]
    return [group.publish(SUBJECT, body, message_id=one, timeout=timeout) for one in ids]


async def _turns() -> None:
    """Let everything happen that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


def _ack(sequence: int, *, duplicate: bool = False) -> Ack:
    return Ack(AUDIT, sequence, duplicate)


async def test_what_waits_at_the_same_moment_travels_together() -> None:
    """The first moment is one group; what comes meanwhile is the next, when that was answered.

    Each record is told its own sequence, counted back from the last one's.
    """
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        first = _publish(group, "a", "b", "c")
        await _turns()
        second = _publish(group, "d")
        await _turns()
        second += _publish(group, "e")
        await _turns()
        assert slow.sent == [["a", "b", "c"]]
        assert group.waiting == 2
        slow.answers[0].set_result(_ack(12))
        assert await asyncio.gather(*first) == [_ack(10), _ack(11), _ack(12)]
        await _turns()
        assert slow.sent[1:] == [["d", "e"]]
        slow.answers[1].set_result(_ack(20))
        assert await asyncio.gather(*second) == [_ack(19), _ack(20)]


async def test_nobody_waits_for_company() -> None:
    """A record alone leaves in the same turn of the loop, and as no batch: there is no timer."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        (only,) = _publish(group, "a")
        await asyncio.sleep(0)
        assert (slow.sent, slow.batches) == ([["a"]], 0)
        slow.answers[0].set_result(_ack(1, duplicate=True))
        assert (await only).duplicate


async def test_a_few_records_are_no_batch() -> None:
    """They leave one by one and all at once; what comes meanwhile still waits for them."""
    slow = Slow()
    async with GroupCommit(slow) as group:
        futures = _publish(group, "a", "b", "c")
        await _turns()
        futures += _publish(group, *"defghijk")
        await _turns()
        assert (slow.sent, slow.batches) == ([["a"], ["b"], ["c"]], 0)
        for number, answer in enumerate(slow.answers, 1):
            answer.set_result(_ack(number))
        await _turns()
        assert slow.sent[3:] == [list("defghijk")]
        slow.answers[3].set_result(_ack(11))
        assert await asyncio.gather(*futures) == [_ack(number) for number in range(1, 12)]


async def test_a_refused_group_is_published_one_by_one() -> None:
    """Each then gets its own answer, refusals too; the next group waits for all of them."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = _publish(group, "a", "b", "c")
        await _turns()
        later = _publish(group, "d")
        slow.answers[0].set_exception(DUPLICATE)
        await _turns()
        assert slow.sent[1:] == [["a"], ["b"], ["c"]]
        slow.answers[3].set_result(_ack(9))
        slow.answers[1].set_result(_ack(3, duplicate=True))
        await _turns()
        assert len(slow.sent) == 4
        slow.answers[2].set_exception(PublishRefused(10077, "full"))
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert results[0] == _ack(3, duplicate=True)
        assert isinstance(results[1], PublishRefused)
        assert results[1].err_code == 10077
        assert results[2] == _ack(9)
        await _turns()
        assert slow.sent[4:] == [["d"]]
        slow.answers[4].set_result(_ack(10))
        await later[0]


@pytest.mark.parametrize("error", [NotAcknowledged("?"), NotPublished("!")])
async def test_a_group_that_fails_ends_for_each_in_the_same_way(error: PublishFailed) -> None:
    """Every caller gets an error of its own of that kind, and the next group goes on."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = _publish(group, "a", "b")
        await _turns()
        slow.answers[0].set_exception(error)
        first, second = await asyncio.gather(*futures, return_exceptions=True)
        assert type(first) is type(second) is type(error)
        assert first is not second
        (after,) = _publish(group, "c")
        await _turns()
        slow.answers[1].set_result(_ack(1))
        assert (await after).sequence == 1


async def test_the_same_id_twice_at_once_travels_in_two_groups() -> None:
    """Inside one batch it would refuse everybody else's records with it."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = _publish(group, "a", "b", "a", "c")
        await _turns()
        assert slow.sent == [["a", "b"]]
        slow.answers[0].set_result(_ack(2))
        await _turns()
        assert slow.sent[1:] == [["a", "c"]]
        slow.answers[1].set_exception(DUPLICATE)
        await _turns()
        slow.answers[2].set_result(_ack(1, duplicate=True))
        slow.answers[3].set_result(_ack(3))
        acks = await asyncio.gather(*futures)
        assert [(ack.sequence, ack.duplicate) for ack in acks] == [
            (1, False),
            (2, False),
            (1, True),
            (3, False),
        ]


async def test_time_runs_out_for_each_by_itself() -> None:
    """One that left may be stored; one that had not left was never sent, and never is."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        brief, patient = (*_publish(group, "a", timeout=0.05), *_publish(group, "b", timeout=5))
        await _turns()
        (stuck,) = _publish(group, "c", timeout=0.05)
        results = await asyncio.gather(brief, stuck, return_exceptions=True)
        assert [type(result) for result in results] == [NotAcknowledged, NotPublished]
        assert not patient.done()
        assert slow.timeouts[0] > 4
        slow.answers[0].set_result(_ack(2))
        assert (await patient).sequence == 2
        await _turns()
        assert slow.sent == [["a", "b"]]


async def test_who_gave_up_disturbs_nobody() -> None:
    """Cancelled before it left, a record does not leave; after it, the others are told theirs."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        first = _publish(group, "a", "b")
        await _turns()
        second = _publish(group, "c", "d")
        first[0].cancel()
        second[0].cancel()
        slow.answers[0].set_result(_ack(8))
        assert (await first[1]).sequence == 8
        await _turns()
        assert slow.sent[1:] == [["d"]]
        slow.answers[1].set_result(_ack(9))
        assert (await second[1]).sequence == 9


async def test_what_waits_is_bounded() -> None:
    """One record too many, or too many bytes, is refused at once, and the others are not touched.

    A record larger than the bound may wait where nothing else does.
    """
    slow = Slow()
    limits = replace(PAIRS, max_waiting=2, max_waiting_bytes=10)
    async with GroupCommit(slow, limits) as group:
        assert len(_publish(group, "a", body=b"x" * 11)) == 1
        await _turns()
        waiting = _publish(group, "b", "c", body=b"x" * 5)
        for more in (b"", b"x"):
            with pytest.raises(NotPublished, match="2 records wait"):
                await _publish(group, "d", body=more)[0]
        waiting[1].cancel()
        slow.answers[0].set_result(_ack(1))
        await _turns()
        assert group.waiting == 0
        kept = _publish(group, "e", body=b"x" * 9)
        with pytest.raises(NotPublished, match="9 bytes of records wait"):
            await _publish(group, "f", body=b"xx")[0]
        assert not kept[0].done()


async def test_closing_ends_what_waits() -> None:
    """What had left may be stored, what had not is not; afterwards nothing is taken any more."""
    slow = Slow()
    group = GroupCommit(slow)
    (left,) = _publish(group, "a")
    await _turns()
    (waiting,) = _publish(group, "b")
    await group.close()
    results = await asyncio.gather(left, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [NotAcknowledged, NotPublished]
    with pytest.raises(NotPublished, match="closed"):
        await _publish(group, "c")[0]


async def test_an_id_cannot_smuggle_headers() -> None:
    """It raises for its own publisher, and never ends somebody else's group."""
    async with GroupCommit(Slow()) as group:
        with pytest.raises(ValueError, match="printable"):
            _publish(group, "a\r\nNats-Rollup: all")
        assert group.waiting == 0


@given(
    sizes=st.lists(st.integers(0, 12), max_size=40),
    ids=st.lists(st.integers(0, 60), min_size=40, max_size=40),
)
async def test_groups_keep_order_and_bounds(sizes: list[int], ids: list[int]) -> None:
    """Whatever is published: all of it leaves, in order; no group is too long or too large.

    None holds an id twice; one that is too large holds nothing else.
    """
    slow = Slow()
    wanted = [(str(one), size) for one, size in zip(ids, sizes, strict=False)]
    limits = GroupLimits(min_messages=1, max_messages=5, max_bytes=20)
    async with GroupCommit(slow, limits) as group:
        futures = [
            group.publish(SUBJECT, b"x" * size, message_id=one, timeout=60) for one, size in wanted
        ]
        while not all(future.done() for future in futures):
            await asyncio.sleep(0)
            for answer in slow.answers:
                if not answer.done():
                    answer.set_result(_ack(1_000))
    assert [one for sent in slow.sent for one in sent] == [one for one, _ in wanted]
    sizes_left = [size for _, size in wanted]
    for sent in slow.sent:
        weight, sizes_left = sizes_left[: len(sent)], sizes_left[len(sent) :]
        assert len(set(sent)) == len(sent) <= 5
        assert sum(weight) <= 20


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
        acks = await asyncio.gather(*_publish(group, *ids, timeout=20))
        first = acks[0].sequence
        assert acks == [_ack(first + number) for number in range(2_500)]
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
        (first,) = await asyncio.gather(*_publish(group, seen))
        new = [str(uuid4()) for _ in range(6)]
        ids = [new[0], seen, new[1], new[2], new[1], new[3], seen, new[4], new[0], new[5]]
        acks = await asyncio.gather(*_publish(group, *ids))
        flagged = [number for number, ack in enumerate(acks) if ack.duplicate]
        assert flagged == [1, 4, 6, 8]
        assert acks[1].sequence == acks[6].sequence == first.sequence
        assert (acks[4].sequence, acks[8].sequence) == (acks[2].sequence, acks[0].sequence)
        fresh = [ack.sequence for ack in acks if not ack.duplicate]
        assert fresh == list(range(first.sequence + 1, first.sequence + 7))


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
        futures = _publish(group, *ids, body=body, timeout=20)
        results = await asyncio.gather(*futures, return_exceptions=True)
        stored = [number for number, result in enumerate(results) if isinstance(result, Ack)]
        assert stored == list(range(len(stored)))
        assert 20 < len(stored) < 32
        for refusal in results[len(stored) :]:
            assert isinstance(refusal, PublishRefused)
            assert refusal.err_code == 10077
        await _grow(house, 64 * MIB)
        again = await asyncio.gather(*_publish(group, *ids, body=body, timeout=20))
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
            left = _publish(group, "a", "b", timeout=0.2)
            await _turns()
            waiting = _publish(group, "c", timeout=0.1)
            results = await asyncio.gather(*left, *waiting, return_exceptions=True)
        finally:
            house.thaw()
        assert [type(result) for result in results] == [
            NotAcknowledged,
            NotAcknowledged,
            NotPublished,
        ]
        acks = await asyncio.gather(*_publish(group, "a", "b", "c", timeout=10))
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
        again = await asyncio.gather(*_publish(group, *acknowledged, timeout=20))
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
                ack = await _publish(group, name, timeout=2)[0]
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
                await _publish(group, str(uuid4()), timeout=1)[0]
            except PublishFailed:
                await asyncio.sleep(0.01)
            else:
                return
