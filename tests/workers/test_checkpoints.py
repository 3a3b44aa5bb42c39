"""A worker's checkpoints: a chain without gaps, whatever the stream does with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mallku_contracts.errors import AuditUnavailable
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_contracts.trail.checkpoint import (
    MAX_HEADS,
    MAX_VOID,
    MAX_VOUCHES,
    NO_CHECKPOINT,
    Checkpoint,
    Head,
    Vouch,
    record_leaf,
)
from mallku_contracts.trail.merkle import EMPTY_ROOT, root_of
from mallku_workers.audit.checkpoints import (
    MAX_WAITING_VOUCHES,
    CheckpointLimits,
    Checkpoints,
)
from mallku_workers.audit.heads import Heads
from mallku_workers.audit.numbers import Numbers
from mallku_workers.message import unix_ms
from mallku_workers.replies import WorkerIdentity
from tests.support.simulated_caller import make_token
from tests.support.simulated_checkpoints import SimulatedCheckpoints
from tests.support.simulated_trail import Fate
from tests.workers.world import REPLY_TOKEN, TRUST, WORKER_KEY, Trusted, until

HASH = bytes(range(32))
LIMITS = CheckpointLimits(every_s=0.01, wait_s=0.02)
VOUCH = Vouch("w9", 3, 5, 2, HASH, 88)


class World:
    """Checkpoints of one worker, and what they are made of."""

    def __init__(self, instance: str = "w1") -> None:
        self.stream = SimulatedCheckpoints(TRUST)
        self.numbers = Numbers()
        self.heads: dict[str, Head] = {}
        self.published: list[Checkpoint] = []
        self.token = REPLY_TOKEN
        self.checkpoints = Checkpoints(
            self.stream,
            self.numbers,
            WorkerIdentity(instance, WORKER_KEY, lambda: self.token),
            Trusted(),
            LIMITS,
            clock=unix_ms,
            heads=lambda: self.heads,
            published=self.published.append,
        )

    def write(self, count: int = 1) -> None:
        """Have records acknowledged; the sequence is ten times the number."""
        for _ in range(count):
            number = self.numbers.give()
            self.numbers.acknowledged(number, number * 10, HASH)

    async def keep_until(self, stored: int) -> None:
        """Let checkpoints be made until so many are heard of."""
        task = asyncio.create_task(self.checkpoints.keep())
        try:
            await until(lambda: len(self.published) >= stored)
        finally:
            task.cancel()


@pytest.fixture
async def world() -> World:
    """A worker's checkpoints on a stream of their own."""
    return World()


async def test_a_chain_without_gaps(world: World) -> None:
    """Each holds the hash of the one before, and begins behind its last number."""
    for count in range(1, 4):
        world.write(count)
        await world.keep_until(count)
    first, second, third = world.stream.checkpoints
    assert [c.header.number for c in (first, second, third)] == [1, 2, 3]
    assert first.header.previous == NO_CHECKPOINT
    assert (second.header.previous, third.header.previous) == (first.hash, second.hash)
    ranges = [(c.statement.first, c.statement.last) for c in (first, second, third)]
    assert ranges == [(1, 1), (2, 3), (4, 6)]
    assert third.statement.root == root_of(record_leaf(n, n * 10, HASH) for n in (4, 5, 6))
    assert third.statement.sequence == 60
    assert world.stream.stream[2][:2] == ("mallku.v1.checkpoint.w1", "c.w1.3")
    assert world.numbers.uncovered == 0


async def test_who_has_nothing_to_say_is_silent(world: World) -> None:
    """Another worker's checkpoint is no reason for one of one's own, or they would never end."""
    world.write()
    await world.keep_until(1)
    world.heads["w2"] = Head(7, HASH)
    assert await world.checkpoints._say()
    assert len(world.stream.stream) == 1
    world.write()
    await world.keep_until(2)
    assert world.stream.checkpoints[1].statement.heads == {"w2": Head(7, HASH)}


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.UNSENT])
async def test_one_is_repeated_until_it_is_acknowledged(world: World, fate: Fate) -> None:
    """The same bytes again and again; what came meanwhile is in the next one."""
    world.stream.fate = lambda number: fate if number < 4 else Fate.STORED
    world.write()
    task = asyncio.create_task(world.checkpoints.keep())
    await until(lambda: len(world.stream.tries) >= 1)
    world.write()
    await until(lambda: len(world.published) >= 2)
    task.cancel()
    assert len(set(world.stream.tries[:4])) == 1
    ranges = [(c.statement.first, c.statement.last) for c in world.stream.checkpoints]
    assert ranges == [(1, 1), (2, 2)]


async def test_trouble_is_logged_once(world: World) -> None:
    """When checkpoints stop and when they go on, not with each try."""
    world.stream.fate = lambda number: Fate.UNSENT if number < 5 else Fate.STORED
    world.write()
    with capture_logs() as logs:
        await world.keep_until(1)
    assert [entry["event"] for entry in logs] == ["checkpoints_stopped", "checkpoints_go_on"]


async def test_a_checkpoint_that_nobody_would_believe_is_not_made(world: World) -> None:
    """When the worker's token is over its numbers wait for the next token, and room runs out."""
    now_s = unix_ms() // 1_000
    world.token = make_token(
        WORKER_KEY,
        principal="worker-1",
        audience=REPLY_AUDIENCE,
        issued_s=now_s - 7_200,
    )
    world.write()
    with capture_logs() as logs:
        assert await world.checkpoints._say()
    assert not world.stream.tries
    assert [entry["event"] for entry in logs] == ["checkpoints_stopped"]
    assert "exp" in logs[0]["reason"]
    world.token = REPLY_TOKEN
    await world.keep_until(1)
    assert world.stream.checkpoints[0].statement.last == 1


async def test_many_void_numbers_are_several_checkpoints(world: World) -> None:
    """What one cannot hold is said in the next, in the same moment."""
    for _ in range(MAX_VOID + 1):
        world.numbers.void(world.numbers.give())
    assert await world.checkpoints._say()
    sizes = [len(c.statement.void) for c in world.stream.checkpoints]
    assert sizes == [MAX_VOID, 1]
    assert {c.statement.root for c in world.stream.checkpoints} == {EMPTY_ROOT}


async def test_vouches_are_carried(world: World) -> None:
    """A vouch is in the next checkpoint, covers or not, and whoever gave it hears which."""
    vouches = [replace(VOUCH, first=3 + n, last=5 + n) for n in range(MAX_VOUCHES + 1)]
    carried = [world.checkpoints.vouch(vouch) for vouch in vouches]
    assert await world.checkpoints._say()
    first, second = world.stream.checkpoints
    assert first.statement.vouches + second.statement.vouches == tuple(vouches)
    assert (first.statement.first, first.statement.last) == (1, 0)
    assert await carried[0] == first.head
    assert await carried[-1] == second.head


async def test_vouches_are_bounded(world: World) -> None:
    """No more wait than the limit; one that is not waited for any more is carried all the same."""
    carried = [world.checkpoints.vouch(VOUCH) for _ in range(MAX_WAITING_VOUCHES)]
    with pytest.raises(AuditUnavailable):
        world.checkpoints.vouch(VOUCH)
    carried[0].cancel()
    assert await world.checkpoints._say()
    assert len(world.stream.stream) == MAX_WAITING_VOUCHES // MAX_VOUCHES
    assert await carried[1] == world.stream.checkpoints[0].head


async def test_the_last_one_is_final(world: World) -> None:
    """The checkpoint over the last record says that nothing follows."""
    world.write(2)
    assert await world.checkpoints.finish(1.0)
    (last,) = world.stream.checkpoints
    assert (last.statement.last, last.statement.final) == (2, True)
    assert await world.checkpoints.finish(1.0)
    assert len(world.stream.stream) == 1


async def test_the_last_one_may_have_nothing_else_to_say(world: World) -> None:
    """Where the last record was covered already, a final one covers nothing, and names heads."""
    world.write()
    await world.keep_until(1)
    world.heads["w2"] = Head(7, HASH)
    assert await world.checkpoints.finish(1.0)
    last = world.stream.checkpoints[1].statement
    assert (last.first, last.last, last.size, last.final) == (2, 1, 0, True)
    assert last.heads == {"w2": Head(7, HASH)}


async def test_nothing_is_final_while_a_record_is_not_acknowledged(world: World) -> None:
    """What may still stand in the trail is not denied: the tail stays open."""
    world.write()
    world.numbers.give()
    world.write()
    assert not await world.checkpoints.finish(0.1)
    (only,) = world.stream.checkpoints
    assert (only.statement.last, only.statement.final) == (1, False)


async def test_the_end_is_bounded(world: World) -> None:
    """A silent stream does not keep a worker from ending; nobody waits for a vouch for ever."""
    world.stream.fate = lambda _number: Fate.LOST
    world.write()
    carried = world.checkpoints.vouch(VOUCH)
    assert not await world.checkpoints.finish(0.1)
    assert carried.cancelled()


async def test_what_was_cut_off_is_said_at_the_end(world: World) -> None:
    """A checkpoint under way when the loop is cancelled is the first that is said again."""
    world.stream.fate = lambda number: Fate.UNHEARD if number == 1 else Fate.STORED
    world.write()
    task = asyncio.create_task(world.checkpoints.keep())
    await until(lambda: len(world.stream.tries) == 1)
    task.cancel()
    world.write()
    assert await world.checkpoints.finish(1.0)
    assert [c.header.number for c in world.stream.checkpoints] == [1, 2]
    assert world.stream.tries[0] == world.stream.tries[1]


async def _made(instance: str, count: int) -> list[bytes]:
    world = World(instance)
    for _ in range(count):
        world.write()
        assert await world.checkpoints._say()
    return [body for _, _, body in world.stream.stream]


async def test_heads_are_the_newest_of_others() -> None:
    """Each other worker's highest checkpoint is known, in whatever order they come."""
    heads = Heads("w1", Trusted())
    first, second, third = await _made("w2", 3)
    for data in (first, third, second, *(await _made("w1", 2))):
        heads.hear(data)
    assert {name: head.number for name, head in heads.all().items()} == {"w2": 3}


async def test_heads_believe_nobody_unknown() -> None:
    """Junk, and what no trusted worker signed, changes nothing and is logged."""
    heads = Heads("w1", Trusted())
    (good,) = await _made("w2", 1)
    with capture_logs() as logs:
        heads.hear(b"junk")
        heads.hear(good[:-1] + bytes([good[-1] ^ 1]))
    assert not heads.all()
    assert [entry["event"] for entry in logs] == ["checkpoint_not_believed"] * 2


async def test_two_faces_are_noticed() -> None:
    """A worker that signed two checkpoints under one number is called out; the first counts."""
    heads = Heads("w1", Trusted())
    one = (await _made("w2", 1))[0]
    other = World("w2")
    other.write(2)
    assert await other.checkpoints._say()
    heads.hear(one)
    known = dict(heads.all())
    with capture_logs() as logs:
        heads.hear(other.stream.stream[0][2])
    assert heads.all() == known
    assert [entry["event"] for entry in logs] == ["checkpoints_contradict"]


async def test_heads_are_bounded() -> None:
    """Of more workers than a checkpoint may name, those heard last are kept."""
    heads = Heads("w1", Trusted())
    for number in range(MAX_HEADS + 3):
        heads.hear((await _made(f"x{number}", 1))[0])
    assert list(heads.all()) == [f"x{number}" for number in range(3, MAX_HEADS + 3)]
