from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pybreaker
import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    DocumentNotFound,
    OutcomeUnknown,
    StoreFailure,
    Unavailable,
)
from mallku_contracts.operations import Access
from mallku_workers.breaker import Breaker, BreakerLimits, Breakers


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of one's own."""
    return Clock()


class Listener(pybreaker.CircuitBreakerListener):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def failure(self, cb: Any, exc: BaseException) -> None:
        """A call failed."""
        self.told.append(f"failure {type(exc).__name__}")

    def success(self, cb: Any) -> None:
        """A call succeeded."""
        self.told.append("success")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """The state changed."""
        self.told.append(f"{cb.name} {new_state.name}")


LIMITS = BreakerLimits(failure_ratio=0.5, min_calls=3, window_s=10.0, reset_s=2.0)


@pytest.fixture
def listener() -> Listener:
    """A listener in pybreaker's manner."""
    return Listener()


@pytest.fixture
def breaker(clock: Clock, listener: Listener) -> Breaker:
    """Opens at half of at least three calls in ten seconds, for two seconds."""
    return Breaker(LIMITS, clock, "s.read", [listener])


def _call(breaker: Breaker, error: BaseException | None = None) -> None:
    """A guarded call that ends like this."""
    with contextlib.suppress(*([] if error is None else [type(error)])), breaker.guard():
        if error is not None:
            raise error


def _open(breaker: Breaker) -> None:
    for _ in range(3):
        _call(breaker, Unavailable("gone"))
    assert breaker.state == "open"


@pytest.mark.parametrize("error", [Unavailable(""), OutcomeUnknown(""), StoreFailure("")])
def test_it_opens_at_the_ratio_and_not_below(
    breaker: Breaker, listener: Listener, error: Exception
) -> None:
    """Four of nine are not enough, five of ten are; refusals of the store are successes."""
    for end in (None, DocumentNotFound(""), None, None, None):
        _call(breaker, end)
    for _ in range(4):
        _call(breaker, error)
    assert breaker.state == "closed"
    assert Counter(told.partition(" ")[0] for told in listener.told) == {"success": 5, "failure": 4}
    _call(breaker, error)
    assert breaker.state == "open"


def test_few_calls_conclude_nothing(breaker: Breaker) -> None:
    """Two failures of two are all there is, and too little."""
    _call(breaker, Unavailable(""))
    _call(breaker, Unavailable(""))
    assert breaker.state == "closed"
    _call(breaker, Unavailable(""))
    assert breaker.state == "open"


def test_old_failures_are_forgotten(breaker: Breaker, clock: Clock) -> None:
    """Failures far apart never open it; as many within the window do."""
    for _ in range(20):
        clock.now += 6.0
        _call(breaker, Unavailable(""))
        assert breaker.state == "closed"
    for _ in range(3):
        _call(breaker, Unavailable(""))
    assert breaker.state == "open"


def test_success_in_between_does_not_hide_a_store_that_mostly_fails(breaker: Breaker) -> None:
    """A counter of failures in a row would never see this one."""
    for failure in (Unavailable(""), None, Unavailable("")):
        assert breaker.state == "closed"
        _call(breaker, failure)
    assert breaker.state == "open"


def test_listeners_are_told_what_it_sees_and_does(
    breaker: Breaker, clock: Clock, listener: Listener
) -> None:
    """Open, half-open, closed, each once; pybreaker's storage holds the state and the counter."""
    _open(breaker)
    assert breaker._breaker._state_storage.state == "open"
    assert breaker._breaker.fail_counter == 3
    clock.now += 2.0
    _call(breaker)
    assert breaker.state == "closed"
    told = ["failure Unavailable"] * 3
    told += ["s.read open", "s.read half-open", "success", "s.read closed"]
    assert listener.told == told


def test_classes_have_breakers_of_their_own(clock: Clock, listener: Listener) -> None:
    """A store that cannot write is still read."""
    breakers = Breakers(LIMITS, clock, "arango", [listener])
    for _ in range(3):
        _call(breakers.of(Access.WRITE), Unavailable(""))
    assert breakers.states() == {"read": "closed", "write": "open", "admin": "closed"}
    with breakers.of(Access.READ).guard():
        pass
    assert listener.told[3:] == ["arango.write open", "success"]


def test_who_waited_meanwhile_asks_no_more(breaker: Breaker, listener: Listener) -> None:
    """A call that waited for a place while the breaker opened is refused before it begins."""
    with breaker.guard() as look_again:
        look_again()
        _open(breaker)
        with pytest.raises(Unavailable):
            look_again()
    assert listener.told == ["failure Unavailable"] * 3 + ["s.read open"]


def test_what_says_nothing_of_the_store(breaker: Breaker) -> None:
    """A caller's time that was over, a cancellation, a surprise: neither failure nor success.

    They do not open it, are not counted, and do not close it.
    """
    for neutral in (DeadlineExceeded(""), asyncio.CancelledError(), RuntimeError("")):
        _call(breaker, neutral)
        _call(breaker, neutral)
        _call(breaker, neutral)
        assert breaker.state == "closed"
    _call(breaker, Unavailable(""))
    _call(breaker, Unavailable(""))
    _call(breaker, DeadlineExceeded(""))
    _call(breaker, Unavailable(""))
    assert breaker.state == "open"


def test_while_open_nobody_passes(breaker: Breaker, clock: Clock) -> None:
    """The refusal says when the next probe may go."""
    _open(breaker)
    clock.now += 0.5
    with pytest.raises(Unavailable) as refusal, breaker.guard():
        pytest.fail("it passed")
    assert refusal.value.retry_after == pytest.approx(1.5)
    with pytest.raises(Unavailable):
        breaker.refuse_open()


def test_one_probe_at_a_time(breaker: Breaker, clock: Clock) -> None:
    """After the pause one passes; while it is under way nobody else does; its success closes."""
    _open(breaker)
    clock.now += 2.0
    breaker.refuse_open()
    with breaker.guard():
        assert breaker.state == "half-open"
        for _ in range(20):
            with pytest.raises(Unavailable) as refusal, breaker.guard():
                pytest.fail("a second probe passed")
            assert (refusal.value.retry_after or 0) > 0
    assert breaker.state == "closed"
    _call(breaker, Unavailable(""))
    _call(breaker, Unavailable(""))
    assert breaker.state == "closed", "the count did not begin anew"


def test_a_probe_that_fails_opens_it_again(breaker: Breaker, clock: Clock) -> None:
    """For another whole pause."""
    _open(breaker)
    clock.now += 2.0
    _call(breaker, Unavailable(""))
    assert breaker.state == "open"
    clock.now += 1.9
    with pytest.raises(Unavailable):
        breaker.refuse_open()


@pytest.mark.parametrize("end", [DeadlineExceeded(""), asyncio.CancelledError(), RuntimeError("")])
def test_a_probe_that_learned_nothing_lets_the_next_one_go(
    breaker: Breaker, clock: Clock, end: BaseException
) -> None:
    """It neither closes nor opens, and its place is free again."""
    _open(breaker)
    clock.now += 2.0
    _call(breaker, end)
    assert breaker.state == "half-open"
    _call(breaker)
    assert breaker.state == "closed"


def test_stragglers_decide_nothing(breaker: Breaker, clock: Clock) -> None:
    """Calls that began before it opened, and end while a probe is under way, say nothing of now."""
    stragglers = [breaker.guard() for _ in range(3)]
    for straggler in stragglers:
        straggler.__enter__()
    _open(breaker)
    stragglers[0].__exit__(None, None, None)
    assert breaker.state == "open"
    clock.now += 2.0
    with breaker.guard():
        stragglers[1].__exit__(None, None, None)
        assert breaker.state == "half-open"
        failure = Unavailable("")
        assert not stragglers[2].__exit__(Unavailable, failure, None)
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
