from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker.pending import TICK_S, Pending


def _pending() -> Pending[int]:
    return Pending(TimeoutError)


async def test_timeouts_come_in_their_order_and_not_early() -> None:
    """Three waits with different lengths end each in its time, at most some ticks late."""
    pending = _pending()
    loop = asyncio.get_running_loop()
    start = loop.time()
    ends: dict[float, float] = {}

    async def wait(seconds: float) -> None:
        _, future = pending.open("s", seconds)
        try:
            await future
        except TimeoutError:
            ends[seconds] = loop.time() - start

    await asyncio.gather(*(wait(seconds) for seconds in (0.15, 0.05, 0.1)))
    assert list(ends) == [0.05, 0.1, 0.15]
    assert all(seconds <= end for seconds, end in ends.items())
    assert len(pending) == 0


async def test_a_shorter_wait_after_a_longer_one_moves_the_timer() -> None:
    """The one timer is set to whatever ends first."""
    pending = _pending()
    token, _ = pending.open("long", 60)
    _, short = pending.open("short", TICK_S)
    async with asyncio.timeout(5):
        assert str(await _error(short)) == "short"
    assert len(pending) == 1
    pending.forget(token)


async def _error(future: asyncio.Future[int]) -> BaseException | None:
    await asyncio.wait([future])
    return future.exception()


async def test_failing_one_subject_leaves_the_others() -> None:
    """Errors reach the futures of their subject, whatever its case, and no others."""
    pending = _pending()
    _, first = pending.open("A.b", 60)
    token, second = pending.open("a.c", 60)
    pending.fail(lambda: ValueError("no"), subject="a.b")
    assert isinstance(first.exception(), ValueError)
    assert not second.done()
    pending.forget(token)


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "take", "forget", "cancel"]), st.integers(0, 20))
)


@settings(deadline=None)
@given(STEPS)
def test_nothing_is_left_behind(steps: list[tuple[str, int]]) -> None:
    """After any course of events the table holds what still waits, and no bucket is empty."""

    async def play() -> None:
        pending = _pending()
        waiting: dict[str, asyncio.Future[int]] = {}
        for what, number in steps:
            token = str(number)
            if what == "open":
                new, future = pending.open("s", 60 + number)
                waiting[new] = future
            elif what == "take":
                late, known = pending.late, waiting.pop(token, None)
                taken = pending.take(token)
                assert (taken is not None) == (known is not None and not known.done())
                assert pending.late == late + (known is None)
            elif what == "forget":
                pending.forget(token)
                waiting.pop(token, None)
            elif token in waiting:
                waiting[token].cancel()
        assert len(pending) == len(waiting)
        listed = [token for bucket in pending._buckets.values() for token in bucket]
        assert sorted(listed) == sorted(waiting)
        assert all(pending._buckets.values())
        if pending._timer is not None:
            pending._timer.cancel()

    asyncio.run(play())
