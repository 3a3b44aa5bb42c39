from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import MessageTooLarge, RateLimited
from mallku_contracts.limits import KIB
from mallku_contracts.operations import OPERATIONS, Access
from mallku_contracts.policy import Limits
from mallku_workers.message import Case, Message
from mallku_workers.throttle import Throttle
from mallku_workers.throttle.exchange import IDLE_S, SETTLE_S
from tests.support.simulated_caller import now_ms
from tests.support.virtual_time import run_virtually
from tests.workers.rates import several_workers
from tests.workers.world import mallku

NS = 1_000_000_000
READ, WRITE, ADMIN = Access.READ, Access.WRITE, Access.ADMIN


class Clock:
    """A clock that stands still until it is told otherwise; nanoseconds."""

    def __init__(self) -> None:
        self.now = now_ms() * 1_000_000

    def __call__(self) -> int:
        """What time it is."""
        return self.now

    def goes(self, seconds: float) -> None:
        """Let it go on, rounding up: a sleep is never shorter than it was asked to be."""
        self.now += -int(-seconds * NS // 1)


def _refusal(
    throttle: Throttle,
    limits: Limits,
    principal: str = "p",
    access: Access = READ,
    size: int = 100,
) -> RateLimited | None:
    """What a worker that is alone says to one more command; it never has to wait for anybody."""
    step = throttle.take(principal, access, limits, size)
    try:
        step.send(None)
    except StopIteration:
        return None
    except RateLimited as refusal:
        return refusal
    raise AssertionError("it waited")


def _passes(*args: Any) -> bool:
    return _refusal(*args) is None


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 20),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 2)), min_size=1, max_size=80),
)
def test_never_more_than_burst_and_rate(rate: int, burst: int, pauses: list[float]) -> None:
    """In every window of `t` seconds at most `burst + rate * t` commands pass."""
    clock, limits = Clock(), Limits(rate_per_s=rate, burst=burst)
    throttle = Throttle(clock)
    passed: list[int] = []
    for pause in pauses:
        clock.goes(pause)
        if _passes(throttle, limits):
            passed.append(clock.now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            window = (passed[last] - begin) / NS
            assert last - first + 1 <= burst + rate * window + 1e-4


@given(rate=st.integers(1, 1_000), burst=st.integers(1, 50))
def test_the_whole_burst_passes_at_once(rate: int, burst: int) -> None:
    """After a rest exactly `burst` commands pass in the same moment."""
    throttle, limits = Throttle(Clock()), Limits(rate_per_s=rate, burst=burst)
    assert sum(_passes(throttle, limits) for _ in range(burst + 5)) == burst


@given(rate=st.integers(1, 1_000), burst=st.integers(1, 50))
def test_the_advice_is_right(rate: int, burst: int) -> None:
    """After `retry_after` seconds the command passes, and a little before it does not."""
    clock, limits = Clock(), Limits(rate_per_s=rate, burst=burst)
    throttle = Throttle(clock)
    while (refusal := _refusal(throttle, limits)) is None:
        pass
    wait = refusal.retry_after
    assert wait is not None
    clock.goes(wait * 0.9)
    assert not _passes(throttle, limits)
    clock.goes(wait * 0.1)
    assert _passes(throttle, limits)


def test_refusals_cost_nothing() -> None:
    """Who asks too often is not punished for asking: the rate goes on."""
    clock, limits = Clock(), Limits(rate_per_s=10, burst=1)
    throttle = Throttle(clock)
    passed = 0
    for _ in range(1_000):
        passed += _passes(throttle, limits)
        clock.goes(0.01)
    assert 99 <= passed <= 101


def test_principals_do_not_share_a_rate() -> None:
    """One who is at the limit does not slow another."""
    throttle, limits = Throttle(Clock()), Limits(rate_per_s=1, burst=1)
    assert _passes(throttle, limits, "a")
    assert not _passes(throttle, limits, "a")
    assert _passes(throttle, limits, "b")


def test_a_class_with_a_rate_of_its_own_has_an_account_of_its_own() -> None:
    """Writes are held to theirs; reads and administration share what all classes share."""
    throttle = Throttle(Clock())
    limits = Limits.model_validate({"rate_per_s": 1, "burst": 3, "write": {"burst": 2}})
    assert [_passes(throttle, limits, "p", WRITE) for _ in range(3)] == [True, True, False]
    assert [_passes(throttle, limits, "p", access) for access in (READ, ADMIN, READ)] == [True] * 3
    assert not _passes(throttle, limits, "p", ADMIN)
    assert not _passes(throttle, limits, "p", READ)


@given(sizes=st.lists(st.integers(1, 8 * KIB), min_size=1, max_size=60))
def test_bytes_are_held_to_a_rate(sizes: list[int]) -> None:
    """What passes at once is a second's worth of bytes and one command; then debts are waited for.

    The advice is right here too.
    """
    clock, limits = Clock(), Limits(bytes_per_s=16 * KIB)
    throttle, begun, total = Throttle(clock), clock.now, 0
    for size in sizes:
        while (refusal := _refusal(throttle, limits, "p", READ, size)) is not None:
            assert refusal.retry_after
            assert "bytes" in refusal.message
            clock.goes(refusal.retry_after)
        total += size
    assert total <= 16 * KIB * (1 + (clock.now - begun) / NS) + max(sizes)


def _insert(*, passed: bool) -> Case:
    """An insert of `mallku` that came past step 6, or did not."""
    sent = mallku().seal("insert", {})
    case = Case(Message(str(sent.subject), sent.reply, sent.data, 0, 0.0))
    case.subject, case.operation = sent.subject, OPERATIONS["insert"]
    if passed:
        case.passed("throttle")
    return case


def test_what_a_command_writes_is_charged_behind_it() -> None:
    """A small command with a large effect or a large reply makes the next one wait."""
    clock, limits = Clock(), Limits(bytes_per_s=16 * KIB)
    throttle = Throttle(clock)
    assert _passes(throttle, limits, "mallku", WRITE)
    case = _insert(passed=True)
    case.outcome_bytes = 64 * KIB
    throttle.charge(case, 16 * KIB)
    refusal = _refusal(throttle, limits, "mallku", WRITE)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(4.0, abs=0.1)


def test_what_a_long_command_writes_is_charged_to_an_account_that_was_forgotten() -> None:
    """The counter is told of it all the same, and the next command waits."""

    async def main() -> tuple[RateLimited | None, int]:
        limits = Limits(bytes_per_s=16 * KIB)
        async with several_workers(1, limits) as gateway:
            (throttle,) = gateway.throttles
            await throttle.take("mallku", WRITE, limits, 100)
            await asyncio.sleep(IDLE_S + 5)
            assert not throttle._exchange._tabs
            case = _insert(passed=True)
            case.outcome_bytes = 64 * KIB
            throttle.charge(case, 16 * KIB)
            counter = "mallku.v1.rate.mallku.bytes"
            before = gateway.counters.values[counter]
            await asyncio.sleep(SETTLE_S)
            told = gateway.counters.values[counter] - before
            try:
                await throttle.take("mallku", WRITE, limits, 100)
            except RateLimited as refusal:
                return refusal, told
            return None, told

    refusal, told = run_virtually(main())
    assert told >= 5 * NS
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(3.0, abs=0.5)


def test_what_was_refused_is_charged_nothing() -> None:
    """The bytes of a refusal are not the principal's: an outsider cannot use up its rate."""
    throttle, limits = Throttle(Clock()), Limits(bytes_per_s=16 * KIB)
    assert _passes(throttle, limits, "mallku", WRITE)
    throttle.charge(_insert(passed=False), 1_000 * KIB)
    assert _passes(throttle, limits, "mallku", WRITE)


def test_one_command_may_be_too_large() -> None:
    """A command with more bytes than its class may have is refused, and costs nothing."""
    throttle = Throttle(Clock())
    limits = Limits.model_validate(
        {"rate_per_s": 1, "burst": 1, "write": {"payload_bytes": 2 * KIB}}
    )
    for _ in range(3):
        with pytest.raises(MessageTooLarge):
            asyncio.run(throttle.take("p", WRITE, limits, 2 * KIB + 1))
    assert _passes(throttle, limits, "p", WRITE, 2 * KIB)


def test_what_is_refused_anyway_is_refused_early() -> None:
    """Step 1 says what step 6 would say; with other limits, or before a first command, nothing."""
    clock, limits, others = Clock(), Limits(rate_per_s=2, burst=1), Limits(rate_per_s=3, burst=1)
    throttle = Throttle(clock)
    throttle.refuse_early("p", READ, limits)
    assert _passes(throttle, limits)
    with pytest.raises(RateLimited) as refusal:
        throttle.refuse_early("p", READ, limits)
    assert refusal.value.retry_after == 0.5
    throttle.refuse_early("p", READ, others)
    throttle.refuse_early("p", READ, None)
    throttle.refuse_early("q", READ, limits)
    clock.goes(0.5)
    throttle.refuse_early("p", READ, limits)
    assert _passes(throttle, limits)


def test_a_wider_limit_holds_at_once() -> None:
    """Another policy, or a token with more roles, is measured by its own limits from then on."""
    clock = Clock()
    throttle = Throttle(clock)
    narrow, wide = Limits(rate_per_s=10, burst=1), Limits(rate_per_s=10, burst=3)
    assert _passes(throttle, narrow)
    assert not _passes(throttle, narrow)
    assert [_passes(throttle, wide) for _ in range(3)] == [True, True, False]
    assert not _passes(throttle, narrow)
