from __future__ import annotations

from contextlib import ExitStack

import pytest

from mallku_client.guards import (
    AWAY_ATTEMPTS,
    LOST_WEIGHT,
    PROBE_EVERY_S,
    RESERVE_RETRIES,
    RETRIES_PER_S,
    GatewayBreaker,
    RetryBudget,
)
from mallku_contracts.errors import GatewayUnreachable


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def _taken(budget: RetryBudget) -> int:
    taken = 0
    while budget.take():
        taken += 1
    return taken


def test_retries_are_a_part_of_the_calls() -> None:
    """A hundred calls allow twenty retries at a fifth, and a pause some, however few calls."""
    clock = Clock()
    budget = RetryBudget(0.2, clock)
    assert _taken(budget) == RESERVE_RETRIES
    for _ in range(100):
        budget.deposit()
    assert _taken(budget) in (19, 20)  # a fifth is no binary number
    clock.now += 3.0
    assert _taken(budget) in (3 * RETRIES_PER_S, 3 * RETRIES_PER_S + 1)
    clock.now += 1e6
    assert _taken(budget) == RESERVE_RETRIES


def _silence(breaker: GatewayBreaker, times: int = AWAY_ATTEMPTS) -> None:
    for _ in range(times):
        breaker.silent(lost=False)


def test_silence_opens_it_and_a_word_closes_it() -> None:
    """One word in between begins the count anew; a refusal is a word as well."""
    clock = Clock()
    breaker = GatewayBreaker(clock)
    _silence(breaker, AWAY_ATTEMPTS - 1)
    breaker.heard()
    _silence(breaker, AWAY_ATTEMPTS - 1)
    with breaker.guard(connected=True):
        breaker.silent(lost=False)
    assert breaker.is_open
    with pytest.raises(GatewayUnreachable) as caught, breaker.guard(connected=True):
        pytest.fail("it passed")
    assert caught.value.retry_after == pytest.approx(PROBE_EVERY_S)


def test_one_probe_at_a_time() -> None:
    """After the pause one call tries; the others are refused until it was heard."""
    clock = Clock()
    breaker = GatewayBreaker(clock)
    _silence(breaker)
    clock.now += PROBE_EVERY_S
    with breaker.guard(connected=True):
        with ExitStack() as other, pytest.raises(GatewayUnreachable):
            other.enter_context(breaker.guard(connected=True))
        breaker.heard()
    with breaker.guard(connected=True):
        pass


def test_a_probe_that_hears_nothing_waits_for_the_next() -> None:
    """Another whole pause; a probe that was cancelled leaves its place free."""
    clock = Clock()
    breaker = GatewayBreaker(clock)
    _silence(breaker)
    clock.now += PROBE_EVERY_S
    with breaker.guard(connected=True):
        breaker.silent(lost=False)
    with ExitStack() as other, pytest.raises(GatewayUnreachable):
        other.enter_context(breaker.guard(connected=True))
    clock.now += PROBE_EVERY_S
    with pytest.raises(KeyboardInterrupt), breaker.guard(connected=True):
        raise KeyboardInterrupt
    with breaker.guard(connected=True):
        pass


def test_a_connection_that_came_back_is_tried_at_once() -> None:
    """Two calls without any connection are enough to open it; its return is the news."""
    breaker = GatewayBreaker(Clock())
    for _ in range(AWAY_ATTEMPTS // LOST_WEIGHT):
        breaker.silent(lost=True)
    with ExitStack() as other, pytest.raises(GatewayUnreachable):
        other.enter_context(breaker.guard(connected=False))
    with breaker.guard(connected=True):
        breaker.heard()
    assert not breaker.is_open
