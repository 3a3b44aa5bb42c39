"""One rate over several workers: the real throttle, simulated counters, simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_contracts.errors import RateLimited
from mallku_contracts.policy import Limits
from mallku_workers.throttle.account import (
    FRESH_NS,
    NS,
    SLACK_NS,
    SLOW_CREDIT_NS,
    command_terms,
)
from tests.support.virtual_time import run_virtually
from tests.workers.rates import EPOCH_NS, Gateway, several_workers

HOUR_S = 3_600
FLOAT_S = 1e-6
"""The simulated clock is a float; a real sleep is always longer than this."""

COUNTER = "mallku.v1.rate.p.commands"


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class Phase(NamedTuple):
    """How commands arrive for a while: `load` times the rate, `clump` of them at a time.

    `favourite` is the worker that most of them reach; None where each is as likely.
    """

    seconds: float
    load: float
    clump: int
    favourite: int | None


PHASES = st.lists(
    st.builds(
        Phase,
        seconds=st.floats(0.05, 5),
        load=st.sampled_from([0.0, 0.02, 0.5, 0.95, 1.05, 2.0, 4.0]),
        clump=st.sampled_from([1, 1, 7, 60]),
        favourite=st.one_of(st.none(), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=6,
)


async def _play(gateway: Gateway, phases: list[Phase], chance: random.Random) -> None:
    loop, running = _loop(), set[asyncio.Task[RateLimited | None]]()
    for phase in phases:
        ends = loop.time() + phase.seconds
        while loop.time() < ends:
            if not phase.load:
                await asyncio.sleep(phase.seconds)
                continue
            for _ in range(phase.clump):
                worker = _choose(len(gateway.throttles), phase.favourite, chance)
                task = asyncio.ensure_future(gateway.send(worker))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(phase.clump / (phase.load * gateway.limits.rate_per_s))
    await asyncio.gather(*running)


def _choose(workers: int, favourite: int | None, chance: random.Random) -> int:
    if favourite is not None and chance.random() < 0.9:
        return favourite % workers
    return chance.randrange(workers)


def _unknown(limits: Limits) -> float:
    """What a worker lets pass that the others have not heard of, commands."""
    return max(command_terms(limits).credit / NS * limits.rate_per_s, 1)


@settings(deadline=None, max_examples=40)
@given(
    workers=st.sampled_from([1, 2, 4]),
    rate=st.sampled_from([1, 3, 9, 10, 15, 20, 50, 99, 200]),
    burst=st.sampled_from([1, 2, 10, 100]),
    latency_s=st.sampled_from([0.0002, 0.001, 0.01]),
    phases=PHASES,
    seed=st.integers(0, 2**32),
)
def test_the_gateway_holds_a_principal_to_its_rate(  # noqa: PLR0917 - what hypothesis makes up
    workers: int, rate: int, burst: int, latency_s: float, phases: list[Phase], seed: int
) -> None:
    """In any 10 s at most the burst and 10 % above the rate pass, however commands arrive.

    In any window at all it is the burst, the rate, and what workers do not know of each other: the
    credit of each, and how far the counter may lag: 50 ms, and 50 ms more until somebody looks.
    """

    async def main() -> None:
        async with several_workers(
            workers, Limits(rate_per_s=rate, burst=burst), latency_s=latency_s
        ) as g:
            await _play(g, phases, random.Random(seed))
            assert g.most_in(10.0) <= burst + 1.1 * 10 * rate
            unknown = workers * _unknown(g.limits) + rate * (
                (SLACK_NS + FRESH_NS) / NS + 2 * latency_s
            )
            assert g.most_above_rate() <= burst + unknown + 1

    run_virtually(main())


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("rate", "burst"), [(2, 3), (10, 5), (50, 1), (200, 20)])
def test_in_the_long_run_it_is_the_rate(workers: int, rate: int, burst: int) -> None:
    """Of a flood of four times the rate, over 40 s, the rate passes: no less, and 10 % no more."""

    async def main() -> None:
        async with several_workers(workers, Limits(rate_per_s=rate, burst=burst)) as gateway:
            await _play(gateway, [Phase(40.0, 4.0, 1, None)], random.Random(1))
            assert 0.95 * rate * 40 - 1 <= len(gateway.passed) <= burst + 1.03 * rate * 40
            assert gateway.most_in(10.0) <= burst + 1.1 * rate * 10

    run_virtually(main())


@settings(deadline=None, max_examples=40)
@given(
    workers=st.sampled_from([1, 2, 4]),
    rate=st.sampled_from([1, 5, 10, 30, 100, 1_000]),
    burst=st.integers(1, 30),
    seed=st.integers(0, 2**32),
)
def test_the_advice_is_right_wherever_the_next_try_goes(
    workers: int, rate: int, burst: int, seed: int
) -> None:
    """Who waits exactly `retry_after` passes at any worker, or waits again for a moment.

    The moments together are no longer than what the other workers had not told anybody (the credit
    or one command for each of them) and how far the counter may lag.
    """
    chance = random.Random(seed)

    async def main() -> None:
        async with several_workers(workers, Limits(rate_per_s=rate, burst=burst)) as gateway:
            unknown_s = _unknown(gateway.limits) / rate
            others_s = (workers - 1) * unknown_s + SLACK_NS / NS
            for _ in range(5):
                refusal = None
                while refusal is None:
                    refusal = await gateway.send(chance.randrange(workers))
                assert refusal.retry_after
                await asyncio.sleep(refusal.retry_after + FLOAT_S)
                longer_s = 0.0
                while (again := await gateway.send(chance.randrange(workers))) is not None:
                    assert again.retry_after
                    assert workers > 1
                    longer_s += again.retry_after
                    assert longer_s <= others_s
                    await asyncio.sleep(again.retry_after + FLOAT_S)

    run_virtually(main())


@settings(deadline=None, max_examples=60)
@given(
    idle_s=st.floats(0.06, 3 * HOUR_S),
    starts_s=st.lists(st.floats(0, 0.004), min_size=4, max_size=4),
    latency_s=st.sampled_from([0.0002, 0.002]),
    burst=st.sampled_from([8, 100]),
)
def test_workers_that_wake_at_once_move_the_counter_once(
    idle_s: float, starts_s: list[float], latency_s: float, burst: int
) -> None:
    """After a rest the whole burst is there, although all workers find that the counter lags.

    In the end it stands at the present, with what was used; not hours ahead of it.
    """

    async def main() -> None:
        limits = Limits(rate_per_s=100, burst=burst)
        async with several_workers(4, limits, latency_s=latency_s) as gateway:
            await gateway.send(0)
            await asyncio.sleep(idle_s)

            async def wake(worker: int) -> None:
                await asyncio.sleep(starts_s[worker])
                for _ in range(2):
                    await gateway.send(worker)

            await asyncio.gather(*(wake(worker) for worker in range(4)))
            assert gateway.refusals == []
            await asyncio.sleep(2)  # simulated: whatever is owed is settled
            stands = (gateway.counters.values[COUNTER] - EPOCH_NS) / NS
            assert stands <= _loop().time() + 8 / 100

    run_virtually(main())


@pytest.mark.parametrize("skew_s", [(0.0, 0.02), (0.0, -0.02), (0.0, 0.02, -0.02, 0.01)])
def test_clocks_that_differ_a_little(skew_s: tuple[float, ...]) -> None:
    """Clocks 20 ms apart neither let 10 % above the rate pass nor keep the rate from anybody."""
    workers = len(skew_s)

    async def main() -> None:
        limits = Limits(rate_per_s=100, burst=10)
        async with several_workers(workers, limits, skew_s=skew_s) as gateway:
            await _play(gateway, [Phase(20.0, 0.6, 1, None)], random.Random(1))
            assert gateway.refusals == []
            await _play(gateway, [Phase(20.0, 3.0, 1, None)], random.Random(1))
            assert gateway.most_in(10.0) <= 10 + 1.1 * 1_000
            assert gateway.most_in(10.0) >= 950

    run_virtually(main())


@pytest.mark.parametrize("rate", [20, 100, 500])
@pytest.mark.parametrize("chance", [1, 2, 3])
def test_lumps_refuse_nobody_who_keeps_to_the_rate(rate: int, chance: int) -> None:
    """The larger credit is given where the burst has room for what four workers tell at once.

    With it a message to the counter is shared by six commands at the least, if there are so many.
    """
    burst = next(
        number
        for number in range(1, 10 * rate)
        if command_terms(Limits(rate_per_s=rate, burst=number)).credit == SLOW_CREDIT_NS
    )

    async def main() -> None:
        limits = Limits(rate_per_s=rate, burst=burst)
        async with several_workers(4, limits) as gateway:
            await _play(gateway, [Phase(30.0, 0.9, 1, None)], random.Random(chance))
            assert gateway.refusals == []
            commands = [tell for tell in gateway.counters.told if tell.endswith(".commands")]
            assert len(commands) * min(6, SLOW_CREDIT_NS * rate // NS - 1) <= len(gateway.passed)

    run_virtually(main())


def test_a_counter_far_ahead_is_not_believed_for_ever() -> None:
    """Whatever put it there, a principal is held up for seconds, and the counter is moved back."""

    async def main() -> None:
        async with several_workers(2, Limits(rate_per_s=100, burst=10)) as gateway:
            gateway.counters.values[COUNTER] = EPOCH_NS + 5 * HOUR_S * NS
            await _play(gateway, [Phase(5.0, 2.0, 1, None)], random.Random(1))
            assert 350 <= len(gateway.passed) <= 620
            assert gateway.counters.values[COUNTER] < EPOCH_NS + 60 * NS

    run_virtually(main())


def test_a_counter_that_begins_anew_gives_one_more_burst() -> None:
    """A broker that forgot its counters (they are in memory) costs a burst, and no more."""

    async def main() -> None:
        async with several_workers(4, Limits(rate_per_s=100, burst=20)) as gateway:
            await _play(gateway, [Phase(5.0, 3.0, 1, None)], random.Random(1))
            gateway.counters.values.clear()
            await _play(gateway, [Phase(5.0, 3.0, 1, None)], random.Random(2))
            assert len(gateway.passed) <= 1_000 + 2 * 20 + 4 * _unknown(gateway.limits) + 5

    run_virtually(main())


async def _silence(gateway: Gateway, seconds: float) -> int:
    """How many pass in so many seconds in which the counters do not answer."""
    gateway.counters.silent, before = True, len(gateway.passed)
    await _play(gateway, [Phase(seconds, 4.0, 1, None)], random.Random(3))
    gateway.counters.silent = False
    return len(gateway.passed) - before


@pytest.mark.parametrize("deaf", [True, False])
def test_silent_counters_open_no_gate_and_close_none(deaf: bool) -> None:
    """While counters are silent each of four workers lets a quarter pass; then all is as before.

    Nobody pays afterwards for what passed meanwhile.
    """

    async def main() -> None:
        async with several_workers(4, Limits(rate_per_s=100, burst=20)) as gateway:
            gateway.counters.deaf = deaf
            await _play(gateway, [Phase(3.0, 2.0, 1, None)], random.Random(1))
            assert 900 <= await _silence(gateway, 10.0) <= 1_100 + 20
            await asyncio.sleep(1.5)  # simulated: one sweep, and the counters were heard again
            before = len(gateway.passed)
            await _play(gateway, [Phase(10.0, 4.0, 1, None)], random.Random(4))
            assert 950 <= len(gateway.passed) - before <= 1_100 + 20

    run_virtually(main())


def test_who_waits_for_silent_counters_waits_a_moment() -> None:
    """Below 10 commands a second each is asked for; a quarter of a second later it passes alone."""

    async def main() -> None:
        async with several_workers(4, Limits(rate_per_s=5, burst=20)) as gateway:
            gateway.counters.silent = True
            began = _loop().time()
            assert await gateway.send(0) is None
            assert _loop().time() - began < 0.3
            for _ in range(3):
                assert await gateway.send(0) is None
            assert _loop().time() - began < 0.3

    run_virtually(main())


def test_who_sends_little_waits_for_nobody_and_troubles_nobody() -> None:
    """A few commands a second of a high rate cost the broker nothing, and wait for nothing."""

    async def main() -> None:
        async with several_workers(1, Limits(rate_per_s=5_000, burst=100)) as gateway:
            for _ in range(100):
                began = _loop().time()
                assert await gateway.send(0) is None
                assert _loop().time() == began
                await asyncio.sleep(0.2)
            assert gateway.counters.calls == 0

    run_virtually(main())


def test_a_burst_that_waits_is_agreed_on_in_few_rounds() -> None:
    """Sixty commands at once, far beyond the credit, wait for the counter three or four times."""

    async def main() -> None:
        async with several_workers(1, Limits(rate_per_s=10, burst=100), latency_s=0.01) as gateway:
            began = _loop().time()
            waiting: list[Awaitable[RateLimited | None]] = [gateway.send(0) for _ in range(60)]
            assert await asyncio.gather(*waiting) == [None] * 60
            assert _loop().time() - began < 0.055

    run_virtually(main())


@pytest.mark.parametrize("burst", [2, 3, 5])
@pytest.mark.parametrize("idle_s", [0.0, 60.0])
def test_those_who_pay_at_once_do_not_keep_each_other_out(burst: int, idle_s: float) -> None:
    """Three commands at each of four workers at once, each paid for first: the burst passes."""

    async def main() -> None:
        async with several_workers(4, Limits(rate_per_s=1, burst=burst)) as gateway:
            await gateway.send(0)
            await asyncio.sleep(burst + idle_s)
            gateway.passed.clear()
            await asyncio.gather(*(gateway.send(number % 4) for number in range(12)))
            assert burst <= len(gateway.passed) <= burst + 4

    run_virtually(main())


def test_what_was_paid_for_and_not_used_is_given_back() -> None:
    """A caller that went away while its command waited for the counter has used nothing."""

    async def main() -> None:
        async with several_workers(2, Limits(rate_per_s=1, burst=3), latency_s=0.01) as gateway:
            gone = [asyncio.ensure_future(gateway.send(0)) for _ in range(3)]
            await asyncio.sleep(0.005)
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert [await gateway.send(1) for _ in range(3)] == [None] * 3

    run_virtually(main())
