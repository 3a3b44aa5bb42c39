"""Group commit decides what travels together and what each is told, whatever the broker answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_broker.acknowledgements import (
    Ack,
    Message,
    NotAcknowledged,
    NotPublished,
    PublishFailed,
    PublishRefused,
)
from mallku_broker.group_commit import GroupCommit, GroupLimits
from tests.broker.grouping import PAIRS, SUBJECT, ack_at, publish, turns

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


async def test_what_waits_at_the_same_moment_travels_together() -> None:
    """The first moment is one group; what comes meanwhile is the next, when that was answered.

    Each record is told its own sequence, counted back from the last one's.
    """
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        first = publish(group, "a", "b", "c")
        await turns()
        second = publish(group, "d")
        await turns()
        second += publish(group, "e")
        await turns()
        assert slow.sent == [["a", "b", "c"]]
        assert group.waiting == 2
        slow.answers[0].set_result(ack_at(12))
        assert await asyncio.gather(*first) == [ack_at(10), ack_at(11), ack_at(12)]
        await turns()
        assert slow.sent[1:] == [["d", "e"]]
        slow.answers[1].set_result(ack_at(20))
        assert await asyncio.gather(*second) == [ack_at(19), ack_at(20)]


async def test_nobody_waits_for_company() -> None:
    """A record alone leaves in the same turn of the loop, and as no batch: there is no timer."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        (only,) = publish(group, "a")
        await asyncio.sleep(0)
        assert (slow.sent, slow.batches) == ([["a"]], 0)
        slow.answers[0].set_result(ack_at(1, duplicate=True))
        assert (await only).duplicate


async def test_a_few_records_are_no_batch() -> None:
    """They leave one by one and all at once; what comes meanwhile still waits for them."""
    slow = Slow()
    async with GroupCommit(slow) as group:
        futures = publish(group, "a", "b", "c")
        await turns()
        futures += publish(group, *"defghijk")
        await turns()
        assert (slow.sent, slow.batches) == ([["a"], ["b"], ["c"]], 0)
        for number, answer in enumerate(slow.answers, 1):
            answer.set_result(ack_at(number))
        await turns()
        assert slow.sent[3:] == [list("defghijk")]
        slow.answers[3].set_result(ack_at(11))
        assert await asyncio.gather(*futures) == [ack_at(number) for number in range(1, 12)]


async def test_a_refused_group_is_published_one_by_one() -> None:
    """Each then gets its own answer, refusals too; the next group waits for all of them."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = publish(group, "a", "b", "c")
        await turns()
        later = publish(group, "d")
        slow.answers[0].set_exception(DUPLICATE)
        await turns()
        assert slow.sent[1:] == [["a"], ["b"], ["c"]]
        slow.answers[3].set_result(ack_at(9))
        slow.answers[1].set_result(ack_at(3, duplicate=True))
        await turns()
        assert len(slow.sent) == 4
        slow.answers[2].set_exception(PublishRefused(10077, "full"))
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert results[0] == ack_at(3, duplicate=True)
        assert isinstance(results[1], PublishRefused)
        assert results[1].err_code == 10077
        assert results[2] == ack_at(9)
        await turns()
        assert slow.sent[4:] == [["d"]]
        slow.answers[4].set_result(ack_at(10))
        await later[0]


@pytest.mark.parametrize("error", [NotAcknowledged("?"), NotPublished("!")])
async def test_a_group_that_fails_ends_for_each_in_the_same_way(error: PublishFailed) -> None:
    """Every caller gets an error of its own of that kind, and the next group goes on."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = publish(group, "a", "b")
        await turns()
        slow.answers[0].set_exception(error)
        first, second = await asyncio.gather(*futures, return_exceptions=True)
        assert type(first) is type(second) is type(error)
        assert first is not second
        (after,) = publish(group, "c")
        await turns()
        slow.answers[1].set_result(ack_at(1))
        assert (await after).sequence == 1


async def test_the_same_id_twice_at_once_travels_in_two_groups() -> None:
    """Inside one batch it would refuse everybody else's records with it."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        futures = publish(group, "a", "b", "a", "c")
        await turns()
        assert slow.sent == [["a", "b"]]
        slow.answers[0].set_result(ack_at(2))
        await turns()
        assert slow.sent[1:] == [["a", "c"]]
        slow.answers[1].set_exception(DUPLICATE)
        await turns()
        slow.answers[2].set_result(ack_at(1, duplicate=True))
        slow.answers[3].set_result(ack_at(3))
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
        brief, patient = (*publish(group, "a", timeout=0.05), *publish(group, "b", timeout=5))
        await turns()
        (stuck,) = publish(group, "c", timeout=0.05)
        results = await asyncio.gather(brief, stuck, return_exceptions=True)
        assert [type(result) for result in results] == [NotAcknowledged, NotPublished]
        assert not patient.done()
        assert slow.timeouts[0] > 4
        slow.answers[0].set_result(ack_at(2))
        assert (await patient).sequence == 2
        await turns()
        assert slow.sent == [["a", "b"]]


async def test_who_gave_up_disturbs_nobody() -> None:
    """Cancelled before it left, a record does not leave; after it, the others are told theirs."""
    slow = Slow()
    async with GroupCommit(slow, PAIRS) as group:
        first = publish(group, "a", "b")
        await turns()
        second = publish(group, "c", "d")
        first[0].cancel()
        second[0].cancel()
        slow.answers[0].set_result(ack_at(8))
        assert (await first[1]).sequence == 8
        await turns()
        assert slow.sent[1:] == [["d"]]
        slow.answers[1].set_result(ack_at(9))
        assert (await second[1]).sequence == 9


async def test_what_waits_is_bounded() -> None:
    """One record too many, or too many bytes, is refused at once, and the others are not touched.

    A record larger than the bound may wait where nothing else does.
    """
    slow = Slow()
    limits = replace(PAIRS, max_waiting=2, max_waiting_bytes=10)
    async with GroupCommit(slow, limits) as group:
        assert len(publish(group, "a", body=b"x" * 11)) == 1
        await turns()
        waiting = publish(group, "b", "c", body=b"x" * 5)
        for more in (b"", b"x"):
            with pytest.raises(NotPublished, match="2 records wait"):
                await publish(group, "d", body=more)[0]
        waiting[1].cancel()
        slow.answers[0].set_result(ack_at(1))
        await turns()
        assert group.waiting == 0
        kept = publish(group, "e", body=b"x" * 9)
        with pytest.raises(NotPublished, match="9 bytes of records wait"):
            await publish(group, "f", body=b"xx")[0]
        assert not kept[0].done()


async def test_closing_ends_what_waits() -> None:
    """What had left may be stored, what had not is not; afterwards nothing is taken any more."""
    slow = Slow()
    group = GroupCommit(slow)
    (left,) = publish(group, "a")
    await turns()
    (waiting,) = publish(group, "b")
    await group.close()
    results = await asyncio.gather(left, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [NotAcknowledged, NotPublished]
    with pytest.raises(NotPublished, match="closed"):
        await publish(group, "c")[0]


async def test_an_id_cannot_smuggle_headers() -> None:
    """It raises for its own publisher, and never ends somebody else's group."""
    async with GroupCommit(Slow()) as group:
        with pytest.raises(ValueError, match="printable"):
            publish(group, "a\r\nNats-Rollup: all")
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
                    answer.set_result(ack_at(1_000))
    assert [one for sent in slow.sent for one in sent] == [one for one, _ in wanted]
    sizes_left = [size for _, size in wanted]
    for sent in slow.sent:
        weight, sizes_left = sizes_left[: len(sent)], sizes_left[len(sent) :]
        assert len(set(sent)) == len(sent) <= 5
        assert sum(weight) <= 20
