"""Every record number that is given out is settled: acknowledged, tried again, or void."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from mallku_broker.acknowledgements import Ack
from mallku_contracts.audit import Record, Resolution, record_hash
from mallku_contracts.codec import CodecError
from mallku_contracts.errors import AuditUnavailable, GatewayUnreachable, InvalidSubject, Replayed
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail.checkpoint import record_leaf
from mallku_contracts.trail.merkle import root_of
from mallku_workers.audit.numbers import Covered, Numbers
from mallku_workers.audit.publishing import AuditLimits
from mallku_workers.audit.writer import AuditWriter
from mallku_workers.message import Case, Message, unix_ms
from mallku_workers.stores.base import Done
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_trail import Fate, SimulatedTrail
from tests.workers.world import Cluster, Worker, message_of, until

LIMITS = AuditLimits(wait_s=0.02, retry_s=0.005, max_pending=1_000, refusals_per_minute=1_000)
SUBJECT = CommandSubject("p", "d", "c", "insert")
INTENT: dict[str, Any] = {"worker": "dead", "number": 5, "sequence": 9}
FATES = tuple(Fate)


def case_of(number: int = 0) -> Case:
    """A command as the first steps leave it."""
    case = Case(Message(str(SUBJECT), "", f"{number}".encode(), 0, 0.0))
    case.subject = SUBJECT
    return case


class World:
    """A writer on a trail of its own, whose records can be read back."""

    def __init__(self, name: str = "w1", trail: SimulatedTrail | None = None) -> None:
        self.trail = trail or SimulatedTrail()
        self.numbers = Numbers()
        self.reads: list[int] = []
        self.read_failures = 0
        self.audit = AuditWriter(
            self.trail, name, LIMITS, unix_ms, self.numbers, find_back=self._find_back
        )

    async def _find_back(self, subject: str, first: int, data: bytes) -> int | None:
        self.reads.append(first)
        if self.read_failures:
            self.read_failures -= 1
            raise GatewayUnreachable("no answer")
        found = [each for each in self.trail.stream if (each.subject, each.data) == (subject, data)]
        return found[-1].sequence if found else None

    def covered(self) -> Covered:
        """What a checkpoint would say now, all numbers settled."""
        covered = self.numbers.next()
        assert covered is not None
        assert (covered.first, covered.last) == (1, self.numbers.given)
        return covered


@pytest.fixture
async def world() -> World:
    """A writer of one's own."""
    return World()


def check(covered: Covered, trail: SimulatedTrail, worker: str = "w1") -> None:
    """Hold what a checkpoint would say against what stands in the stream."""
    own = {s.record.number: s for s in trail.stream if s.record.worker == worker}
    good = [n for n in range(covered.first, covered.last + 1) if n not in covered.void]
    assert set(good) <= own.keys()
    leaves = [record_leaf(n, own[n].sequence, record_hash(own[n].data)) for n in good]
    assert covered.root == root_of(leaves)
    assert covered.sequence == max((own[n].sequence for n in good), default=0)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_trail_does_every_number_is_settled(seed: int) -> None:
    """Over hundreds of commands, faults and cancellations, the root is that of the stream."""
    chance = random.Random(seed)
    cluster = Cluster()
    worker = Worker(cluster, limits=LIMITS, total=64)
    worker.trail.fate = lambda _record: chance.choice((Fate.STORED, *FATES))
    caller = SimulatedCaller.of("mallku", "service")
    for _ in range(12):
        sent = [caller.seal("insert", {"document": {"n": n}}) for n in range(6)]
        tasks = [
            asyncio.create_task(worker.pipeline.handle(message_of(each)))
            for each in (*sent, chance.choice(sent))
        ]
        cut_off = chance.choice(tasks)
        asyncio.get_running_loop().call_later(chance.random() * 0.03, cut_off.cancel)
        await asyncio.wait(tasks)
    worker.trail.release()
    worker.trail.fate = lambda _record: Fate.STORED
    assert await worker.audit.flush(5.0) == 0
    covered = worker.numbers.next()
    assert covered is not None
    assert covered.last == worker.numbers.given >= 60
    assert covered.void
    check(covered, worker.trail)
    executed = {record.id for record in worker.trail.records("done")}
    void = [r for r in worker.trail.records("intent") if r.number in covered.void]
    assert not executed & {record.id for record in void}


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.REFUSED, Fate.UNSENT])
async def test_an_intent_that_is_not_acknowledged_is_void(world: World, fate: Fate) -> None:
    """Whether or not it stands in the stream: nobody relied on it."""
    world.trail.fate = lambda _record: fate
    with pytest.raises(AuditUnavailable):
        await world.audit.intent(case_of())
    assert world.covered().void == (1,)


async def test_an_intent_that_is_cancelled_is_void(world: World) -> None:
    """A command that is cut off while its intent is under way leaves no number behind."""
    world.trail.fate = lambda _record: Fate.HELD
    task = asyncio.create_task(world.audit.intent(case_of()))
    await until(lambda: bool(world.trail.stream))
    task.cancel()
    await asyncio.wait((task,))
    world.trail.release()
    assert world.covered().void == (1,)


async def test_a_replayed_intent_is_void(world: World) -> None:
    """The stream keeps the first one, which is another worker's or has another number."""
    await world.audit.intent(case_of())
    with pytest.raises(Replayed):
        await world.audit.intent(case_of())
    assert world.covered().void == (2,)
    check(world.covered(), world.trail)


async def test_a_record_that_cannot_be_packed_is_void(world: World) -> None:
    """Its number is not lost, and what follows is covered."""
    unfit = Done(result=None, position=2**70)
    with pytest.raises(CodecError):
        await world.audit.done(case_of(), unfit)
    world.audit.denied(case_of(), InvalidSubject("no"))
    assert await world.audit.flush(1.0) == 0
    assert world.covered().void == (1,)
    check(world.covered(), world.trail)


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.REFUSED, Fate.UNSENT])
async def test_an_outcome_waits_until_it_is_acknowledged(world: World, fate: Fate) -> None:
    """Its number is covered only then, with the sequence at which it was stored first."""
    world.trail.fate = lambda _record: fate
    world.audit.denied(case_of(), InvalidSubject("no"))
    await until(lambda: len(world.trail.tries) >= 2)
    assert world.numbers.next() is None
    world.trail.fate = lambda _record: Fate.STORED
    assert await world.audit.flush(1.0) == 0
    assert (world.covered().void, len(world.trail.stream)) == ((), 1)
    check(world.covered(), world.trail)


async def test_an_outcome_that_fails_at_once_is_waited_for(world: World) -> None:
    """No stream listens for a moment, where the trail begins another one: no caller need know."""
    case = case_of()
    await world.audit.intent(case)
    case.operation = OPERATIONS["insert"]
    fates = iter((Fate.UNSENT, Fate.UNSENT))
    world.trail.fate = lambda _record: next(fates, Fate.STORED)
    receipt = await world.audit.done(case, Done({}))
    assert receipt is not None
    assert receipt["sequence"] == 2


async def test_too_many_numbers_without_checkpoint_refuse(world: World) -> None:
    """At the limit nothing new is executed, refusals are counted, until a checkpoint stands."""
    audit = AuditWriter(world.trail, "w1", LIMITS, unix_ms, numbers := Numbers(2))
    await audit.intent(case_of())
    await audit.done(case_of(), Done(result=None))
    with pytest.raises(AuditUnavailable, match="too many"):
        await audit.intent(case_of())
    audit.denied(case_of(), InvalidSubject("no"))
    assert len(world.trail.stream) == 2
    assert numbers.next() is not None
    numbers.covered()
    with pytest.raises(Replayed):
        await audit.intent(case_of())


async def test_a_resolution_stands_under_the_commands_subject(world: World) -> None:
    """It names the intent that it closes and says what was found out; it is numbered too."""
    found: dict[str, Any] = {"id": "the-id", "principal": "p", "position": 7}
    stands = await world.audit.resolved(SUBJECT, Resolution.COMMITTED, INTENT, **found)
    assert stands == Ack("MALLKU_AUDIT", 1, duplicate=False)
    (stored,) = world.trail.stream
    record = stored.record
    assert stored.subject == "mallku.v1.audit.p.d.c.insert.resolved"
    assert stored.message_id == "r.dead.5.committed"
    assert (record.resolves, record.resolution) == (INTENT, "committed")
    assert (record.id, record.position, record.number) == ("the-id", 7, 1)
    check(world.covered(), world.trail)


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.REFUSED, Fate.UNSENT])
async def test_a_resolution_is_tried_again(world: World, fate: Fate) -> None:
    """Until it stands; a duplicate of one's own is known by reading it back."""
    fates = iter((fate, fate))
    world.trail.fate = lambda _record: next(fates, Fate.STORED)
    world.read_failures = 1
    stands = await world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT)
    assert stands is not None
    assert stands.sequence == 1
    assert world.covered().void == ()
    check(world.covered(), world.trail)
    assert bool(world.reads) == (fate is Fate.UNHEARD)


@pytest.mark.parametrize("heard", [Fate.STORED, Fate.UNHEARD])
async def test_of_several_reconcilers_one_writes(world: World, heard: Fate) -> None:
    """The second one's number is void, even where it cannot tell at first whose record stands."""
    other = World("w2", world.trail)
    assert await world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT)
    fates = iter((heard,))
    world.trail.fate = lambda _record: next(fates, Fate.STORED)
    assert await other.audit.resolved(SUBJECT, Resolution.PENDING, INTENT) is None
    assert other.covered().void == (1,)
    assert len(world.trail.stream) == 1


async def test_two_resolutions_that_nobody_heard_of_are_both_accounted_for(world: World) -> None:
    """Each stands, since the stream had forgotten the first: neither number may be void."""
    other = World("w2", world.trail)
    fates = iter((Fate.UNHEARD, Fate.UNHEARD))
    world.trail.fate = lambda _record: next(fates, Fate.HELD)
    first = asyncio.create_task(world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT))
    await until(lambda: len(world.trail.stream) == 1)
    world.trail.stream[0] = replace(world.trail.stream[0], message_id="forgotten")
    second = asyncio.create_task(other.audit.resolved(SUBJECT, Resolution.PENDING, INTENT))
    await until(lambda: len(world.trail.stream) == 2)
    world.trail.fate = lambda _record: Fate.STORED
    stands = await asyncio.gather(first, second)
    assert [ack.sequence for ack in stands if ack is not None] == [1, 2]
    for each, name in ((world, "w1"), (other, "w2")):
        assert each.covered().void == ()
        check(each.covered(), world.trail, name)


async def test_whoever_resolves_does_not_wait_for_a_silent_trail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is tried on; who asks for it again gets no second number."""
    monkeypatch.setattr("mallku_workers.audit.writer.RESOLVING_S", 0.03)
    world.trail.fate = lambda _record: Fate.LOST
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            await world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT)
    assert world.numbers.given == 1
    world.trail.fate = lambda _record: Fate.STORED
    assert await world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT) is not None
    assert len(world.trail.stream) == 1
    assert world.covered().void == ()


async def test_a_resolution_outlives_whoever_waits_for_it(world: World) -> None:
    """It may stand in the trail already: void is a number under which only an intent may stand."""
    world.trail.fate = lambda _record: Fate.LOST
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.audit.resolved(SUBJECT, Resolution.PENDING, INTENT)
    assert world.audit.pending == 1
    world.trail.fate = lambda _record: Fate.STORED
    assert await world.audit.flush(5.0) == 0
    covered = world.covered()
    assert (covered.size, covered.void) == (1, ())


async def test_start_and_stop_are_records(world: World) -> None:
    """The first and the last thing that a worker says is about itself."""
    stands = await world.audit.started({"store": "embedded"})
    assert stands.sequence == 1
    for _ in range(3):
        world.audit.denied(case_of(), InvalidSubject("no"))
    assert await world.audit.stop(1.0, cut_off=2) == 0
    first, *_, last = world.trail.stream
    assert first.subject == "mallku.v1.audit._gateway.mallku_audit.@.start.done"
    assert last.subject == "mallku.v1.audit._gateway.mallku_audit.@.stop.done"
    assert first.record.facts == {"store": "embedded"}
    assert last.record.facts == {"records": 4, "cut_off": 2}
    assert {stored.record.principal for stored in (first, last)} == {"_gateway"}
    check(world.covered(), world.trail)


async def test_the_trace_is_in_every_record(world: World) -> None:
    """Intent, outcome and refusal carry the trace that the caller named."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    case = Case(Message(str(SUBJECT), "", b"", 0, 0.0, trace))
    case.subject = SUBJECT
    await world.audit.intent(case)
    await world.audit.done(case, Done(result=None))
    world.audit.denied(case, InvalidSubject("no"))
    assert [record.trace for record in world.trail.records()] == [trace] * 3
    assert Record.read(world.trail.stream[0].data).trace == trace
