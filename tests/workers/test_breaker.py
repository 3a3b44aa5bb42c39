from __future__ import annotations

import asyncio
import contextlib

import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    DocumentNotFound,
    OutcomeUnknown,
    StoreFailure,
    Unavailable,
)
from mallku_workers.breaker import Breaker


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


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Opens after three failures, for two seconds."""
    return Breaker(3, 2.0, clock)


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
def test_failures_in_a_row_open_it(breaker: Breaker, error: Exception) -> None:
    """Two are not enough; a success in between begins the count anew."""
    for end in (None, DocumentNotFound("")):
        _call(breaker, error)
        _call(breaker, error)
        _call(breaker, end)
    assert breaker.state == "closed"
    for _ in range(3):
        _call(breaker, error)
    assert breaker.state == "open"


def test_what_says_nothing_of_the_store(breaker: Breaker) -> None:
    """A caller's time that was over, a cancellation, a surprise: neither failure nor success.

    They do not open it, do not begin the count anew, and do not close it.
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
