from __future__ import annotations

import asyncio
import time

import pytest

from mallku_contracts.errors import Busy, DeadlineExceeded, OutcomeUnknown, Unavailable
from mallku_workers.breaker import BreakerLimits, Breakers
from mallku_workers.execution import PATIENCE_S, Bulkheads, Executor
from mallku_workers.message import Deadline, unix_ms
from mallku_workers.queries.cursors import Cursors
from tests.support.simulated_store import SimulatedStore
from tests.workers.requesting import make_request
from tests.workers.world import pause, until


def _deadline(seconds: float, ends_ms: int | None = None) -> Deadline:
    wall = unix_ms() + 60_000 if ends_ms is None else ends_ms
    return Deadline(wall, time.monotonic() + seconds)


@pytest.fixture
async def store() -> SimulatedStore:
    """A store of one's own."""
    return SimulatedStore()


@pytest.fixture
async def executor(store: SimulatedStore) -> Executor:
    """Two reads and three writes at a time."""
    breakers = Breakers(BreakerLimits(min_calls=100), time.monotonic)
    cursors = Cursors("w1", idle_s=30, life_s=600, clock=time.monotonic)
    return Executor(store, breakers, cursors, Bulkheads(2, 3, 8, 8), clock=unix_ms)


async def _read(executor: Executor, deadline: Deadline) -> object:
    return (await executor.execute(make_request("count"), None, deadline)).result


async def _write(executor: Executor, deadline: Deadline) -> object:
    return (await executor.execute(make_request("insert", document={}), None, deadline)).result


async def test_reads_and_writes_have_bulkheads_of_their_own(
    store: SimulatedStore, executor: Executor
) -> None:
    """Reads that hang leave room for writes, and never are more than their bound inside."""
    store.gate.clear()
    reads = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(10)]
    writes = [asyncio.ensure_future(_write(executor, _deadline(5))) for _ in range(10)]
    await until(lambda: store.inside >= 5)
    await pause()
    assert store.inside == 5
    store.gate.set()
    await asyncio.gather(*reads, *writes)
    assert store.most_inside == 5
    assert len(store.works) == 20


async def test_waiting_places_are_bounded_too(store: SimulatedStore, executor: Executor) -> None:
    """Two inside and eight waiting; the eleventh read is told `busy` at once, a write is let in.

    When places become free, those who wait are let in in the order of their coming.
    """
    store.gate.clear()
    reads = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(10)]
    await until(lambda: executor.at_work()["read"] == (2, 8))
    begun = time.monotonic()
    with pytest.raises(Busy) as refusal:
        await _read(executor, _deadline(5))
    assert time.monotonic() - begun < 4.0
    assert refusal.value.retry_after is not None
    write = asyncio.ensure_future(_write(executor, _deadline(5)))
    await until(lambda: store.inside == 3)
    assert executor.at_work() == {"read": (2, 8), "write": (1, 0)}
    store.gate.set()
    await asyncio.gather(*reads, write)
    assert executor.at_work() == {"read": (0, 0), "write": (0, 0)}
    assert store.most_inside <= 5


async def test_who_gives_up_in_the_queue_leaves_no_gap(
    store: SimulatedStore, executor: Executor
) -> None:
    """Those who are cancelled while they wait, even in the moment of their turn, keep no place."""
    store.gate.clear()
    reads = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(8)]
    await until(lambda: executor.at_work()["read"] == (2, 6))
    reads[3].cancel()
    store.gate.set()
    await asyncio.wait(reads[:1])
    for waiting in reads[4:6]:
        waiting.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    assert executor.at_work()["read"] == (0, 0)
    assert await _read(executor, _deadline(1)) == 0


async def test_who_waits_is_refused_when_the_store_is_given_up(store: SimulatedStore) -> None:
    """The breaker opens while they wait for a place: none of them asks the store any more."""
    breakers = Breakers(BreakerLimits(min_calls=2), time.monotonic)
    cursors = Cursors("w1", idle_s=30, life_s=600, clock=time.monotonic)
    executor = Executor(store, breakers, cursors, Bulkheads(2, 2, 9, 9), clock=unix_ms)
    store.gate.clear()
    store.fault = Unavailable("gone")
    reads = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(8)]
    await until(lambda: executor.at_work()["read"] == (2, 6))
    store.gate.set()
    ends = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    assert len(store.works) == 2


async def test_nobody_waits_for_a_place_longer_than_their_caller(
    store: SimulatedStore, executor: Executor
) -> None:
    """Behind commands that take long, a short one is refused in time, and takes no place along."""
    store.gate.clear()
    long = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(2)]
    await until(lambda: store.inside >= 2)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await _read(executor, _deadline(0.05))
    assert time.monotonic() - begun < 4.0
    store.gate.set()
    await asyncio.gather(*long)
    await asyncio.gather(*(_read(executor, _deadline(1)) for _ in range(5)))


async def test_places_do_not_leak(store: SimulatedStore, executor: Executor) -> None:
    """Timeouts, errors and cancellations give their place back."""
    store.gate.clear()
    ends = await asyncio.gather(
        *(_read(executor, _deadline(0.01)) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(end, Exception) for end in ends)
    cancelled = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(5)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
    store.fault = RuntimeError("surprise")
    store.gate.set()
    await asyncio.gather(*(_read(executor, _deadline(1)) for _ in range(5)), return_exceptions=True)
    store.fault = None
    store.gate.clear()
    last = [asyncio.ensure_future(_read(executor, _deadline(5))) for _ in range(2)]
    await until(lambda: store.inside >= 2)
    store.gate.set()
    await asyncio.gather(*last)


async def test_the_store_is_told_when_it_may_not_begin_any_more(
    store: SimulatedStore, executor: Executor
) -> None:
    """The earlier of budget and end, on the store's wall clock, milliseconds."""
    now = unix_ms()
    await _read(executor, _deadline(2.0))
    await _read(executor, _deadline(60.0, ends_ms=now + 1_000))
    first, second = (work.deadline_ms - now for work in store.works)
    assert 1_900 <= first <= 2_200
    assert 900 <= second <= 1_000


async def test_what_is_over_is_not_begun(store: SimulatedStore, executor: Executor) -> None:
    """By the budget or by the wall clock."""
    for deadline in (_deadline(-0.001), _deadline(5, ends_ms=unix_ms() - 1)):
        with pytest.raises(DeadlineExceeded):
            await _read(executor, deadline)
        with pytest.raises(DeadlineExceeded):
            executor.refuse_hopeless(make_request("count"), deadline)
    assert store.works == []


@pytest.mark.parametrize(("seconds", "state"), [(0.05, "closed"), (PATIENCE_S, "open")])
async def test_only_patient_callers_speak_against_the_store(
    store: SimulatedStore, seconds: float, state: str
) -> None:
    """Whoever asks with little time cannot have the store left alone for everybody."""
    breakers = Breakers(BreakerLimits(min_calls=2), time.monotonic)
    cursors = Cursors("w1", idle_s=30, life_s=600, clock=time.monotonic)
    executor = Executor(store, breakers, cursors, Bulkheads(9, 9), clock=unix_ms)
    store.gate.clear()
    asked = [_write(executor, _deadline(seconds + 0.05)) for _ in range(4)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, OutcomeUnknown) for result in results)
    assert breakers.states() == {"read": "closed", "write": state, "admin": "closed"}


@pytest.mark.parametrize(("operation", "state"), [("count", "closed"), ("get", "open")])
async def test_searches_that_last_do_not_speak_against_the_store(
    store: SimulatedStore, operation: str, state: str
) -> None:
    """They take what time their callers give them; a look-up by key does not."""
    breakers = Breakers(BreakerLimits(min_calls=2), time.monotonic)
    cursors = Cursors("w1", idle_s=30, life_s=600, clock=time.monotonic)
    executor = Executor(store, breakers, cursors, Bulkheads(9, 9), clock=unix_ms)
    store.gate.clear()
    arguments = {"document": "k"} if operation == "get" else {}
    request = make_request(operation, **arguments)
    asked = [executor.execute(request, None, _deadline(PATIENCE_S + 0.05)) for _ in range(4)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert breakers.states()["read"] == state
