"""Who uses an id again pays for it, and nobody else in the same group does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_broker import group_commit
from mallku_broker.acknowledgements import Ack, Message, PublishRefused
from mallku_broker.group_commit import GroupCommit, GroupLimits
from tests.broker.grouping import PAIRS, ack_at, publish


class Remembering:
    """Stores what it has not seen, in order; a batch that holds what it has seen is refused.

    Attributes:
        stored: Ids by their sequences, counted from 1.
        sent: The ids of every publish, in order; a batch is one entry.
        singly: What was published alone.
        refused: Batches that were.
        hears: Called at every publish of one alone.
    """

    def __init__(self, *seen: str) -> None:
        self.stored = list(seen)
        self.sent: list[list[str]] = []
        self.singly: list[str] = []
        self.refused = 0
        self.hears: Callable[[], object] = lambda: None

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish one."""
        self.hears()
        self.sent.append([message_id])
        self.singly.append(message_id)
        duplicate = message_id in self.stored
        if not duplicate:
            self.stored.append(message_id)
        sequence = self.stored.index(message_id) + 1
        return _answered(ack_at(sequence, duplicate=duplicate))

    def publish_batch(self, messages: Sequence[Message], *, timeout: float) -> asyncio.Future[Ack]:
        """Publish several, or none."""
        ids = [message.id for message in messages]
        self.sent.append(ids)
        if set(ids) & set(self.stored):
            self.refused += 1
            return _answered(PublishRefused(10201, "a duplicate in the batch"))
        self.stored += ids
        return _answered(ack_at(len(self.stored)))


def _answered(answer: Ack | PublishRefused) -> asyncio.Future[Ack]:
    future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
    if isinstance(answer, Ack):
        future.set_result(answer)
    else:
        future.set_exception(answer)
    return future


def _mixed(number: int, *more: str) -> list[str]:
    """Intents of two callers and outcomes, of the moment `number`."""
    ids = [f"{kind}.{number}{n}" for n in range(8) for kind in ("i.ana", "o.w1", "i.bea")]
    return [*ids[:5], *more, *ids[5:]]


async def test_of_a_refused_group_intents_alone_are_published_one_by_one() -> None:
    """Outcomes and all else travel together; each is told where it stands."""
    server = Remembering("i.eve.x")
    ids = _mixed(1, "i.eve.x")
    async with GroupCommit(server) as group:
        acks = await asyncio.gather(*publish(group, *ids))
    assert server.singly == [one for one in ids if one.startswith("i.")]
    assert server.sent[-1] == [one for one in ids if one.startswith("o.")]
    assert [ack.sequence for ack in acks] == [server.stored.index(one) + 1 for one in ids]
    assert [one for one, ack in zip(ids, acks, strict=True) if ack.duplicate] == ["i.eve.x"]


async def test_who_used_an_id_again_is_alone_from_then_on() -> None:
    """However often they do: no other group is refused, and nobody else leaves theirs."""
    server = Remembering("i.eve.x", "i.eve.y")
    async with GroupCommit(server) as group:
        await asyncio.gather(*publish(group, *_mixed(1, "i.eve.x")))
        server.sent.clear()
        for number in range(2, 6):
            own = [f"i.eve.{number}", "i.eve.x", "i.eve.y"]
            acks = await asyncio.gather(*publish(group, *_mixed(number, *own)))
            assert [ack.duplicate for ack in acks[5:8]] == [False, True, True]
            assert server.sent == [_mixed(number), *([one] for one in own)]
            server.sent.clear()
    assert server.refused == 1


async def test_after_a_while_they_travel_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once is no reason for ever."""
    monkeypatch.setattr(group_commit, "APART_S", 0.0)
    server = Remembering("i.eve.x")
    async with GroupCommit(server) as group:
        await asyncio.gather(*publish(group, *_mixed(1, "i.eve.x")))
        await asyncio.gather(*publish(group, *_mixed(2, "i.eve.y")))
    assert server.sent[-1] == _mixed(2, "i.eve.y")


async def test_who_is_alone_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond them, who used an id again first is let in."""
    monkeypatch.setattr(group_commit, "MAX_APART", 2)
    again = ["i.a.x", "i.b.x", "i.c.x"]
    server = Remembering(*again)
    async with GroupCommit(server, PAIRS) as group:
        await asyncio.gather(*publish(group, *again, "o.w1.1"))
        server.sent.clear()
        new = ["i.a.y", "i.b.y", "i.c.y", "o.w1.2"]
        await asyncio.gather(*publish(group, *new))
        assert server.sent == [["i.a.y", "o.w1.2"], ["i.b.y"], ["i.c.y"]]


async def test_what_is_no_intent_may_be_a_duplicate_too() -> None:
    """A resolution that another worker wrote, an outcome that stands although nobody heard so."""
    server = Remembering("r.w9.1.committed")
    ids = _mixed(1, "r.w9.1.committed")
    async with GroupCommit(server) as group:
        acks = await asyncio.gather(*publish(group, *ids))
        assert sum(ack.duplicate for ack in acks) == 1
        assert sorted(server.singly) == sorted(ids)
        server.sent.clear()
        await asyncio.gather(*publish(group, *_mixed(2)))
    assert server.sent == [_mixed(2)]


async def test_who_gave_up_meanwhile_is_not_published() -> None:
    """Between the refusal and the second try: nobody waits for it any more."""
    server = Remembering("i.eve.x")
    async with GroupCommit(server, PAIRS) as group:
        futures = publish(group, "i.eve.x", "o.w1.1", "o.w1.2", "o.w1.3")
        server.hears = futures[2].cancel
        await asyncio.gather(futures[1], futures[3])
    assert server.stored == ["i.eve.x", "o.w1.1", "o.w1.3"]


@given(
    data=st.data(),
    seen=st.sets(st.integers(0, 20)),
    limits=st.sampled_from([GroupLimits(), PAIRS, GroupLimits(min_messages=1, max_messages=9)]),
)
async def test_each_is_told_its_own(
    data: st.DataObject, seen: set[int], limits: GroupLimits
) -> None:
    """Whatever is published, and whatever was: stored once, at its place, in order of its kind.

    Where intents alone come again, nothing else is published but in groups.
    """
    server = Remembering(*(f"i.eve.{number}" for number in seen))
    names = st.sampled_from(
        [f"{kind}.{n}" for kind in ("i.eve", "i.ana", "o.w1") for n in range(21)]
    )
    ids = data.draw(st.lists(names, max_size=60, unique=True))
    before = len(server.stored)
    async with GroupCommit(server, limits) as group:
        acks = await asyncio.gather(*publish(group, *ids))
    assert [ack.sequence for ack in acks] == [server.stored.index(one) + 1 for one in ids]
    assert [ack.duplicate for ack in acks] == [one in server.stored[:before] for one in ids]
    assert len(set(server.stored)) == len(server.stored)
    for kind in ("i.eve", "i.ana", "o.w1"):
        mine = [one for one in ids if one.startswith(kind) and one not in server.stored[:before]]
        assert [one for one in server.stored[before:] if one.startswith(kind)] == mine
    if limits.min_messages == 1:
        assert all(one.startswith("i.") for one in server.singly)
