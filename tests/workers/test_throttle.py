from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import RateLimited
from mallku_contracts.policy import Limits
from mallku_workers.throttle import Throttle


class Clock:
    """A clock that stands still until it is told otherwise; seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def _passes(throttle: Throttle, limits: Limits, principal: str = "p") -> bool:
    try:
        throttle.take(principal, limits)
    except RateLimited:
        return False
    return True


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 20),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 2)), min_size=1, max_size=80),
)
def test_never_more_than_burst_and_rate(rate: int, burst: int, pauses: list[float]) -> None:
    """In every window of `t` seconds at most `burst + rate * t` commands pass."""
    clock, limits = Clock(), Limits(rate_per_s=rate, burst=burst)
    throttle = Throttle(clock)
    passed: list[float] = []
    for pause in pauses:
        clock.now += pause
        if _passes(throttle, limits):
            passed.append(clock.now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            window = passed[last] - begin
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
    while _passes(throttle, limits):
        pass
    with pytest.raises(RateLimited) as refusal:
        throttle.take("p", limits)
    wait = refusal.value.retry_after
    assert wait is not None
    clock.now += wait * 0.9
    assert not _passes(throttle, limits)
    clock.now += wait * 0.1
    assert _passes(throttle, limits)


def test_refusals_cost_nothing() -> None:
    """Who asks too often is not punished for asking: the rate goes on."""
    clock, limits = Clock(), Limits(rate_per_s=10, burst=1)
    throttle = Throttle(clock)
    passed = 0
    for _ in range(1_000):
        passed += _passes(throttle, limits)
        clock.now += 0.01
    assert 99 <= passed <= 101


def test_principals_do_not_share_a_rate() -> None:
    """One who is at the limit does not slow another."""
    throttle, limits = Throttle(Clock()), Limits(rate_per_s=1, burst=1)
    assert _passes(throttle, limits, "a")
    assert not _passes(throttle, limits, "a")
    assert _passes(throttle, limits, "b")
