from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_workers.rolling import SLICES, Pace, RollingCount


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


@given(st.lists(st.tuples(st.floats(0, 4), st.integers(0, 5)), max_size=60))
def test_a_window_forgets_and_never_too_much(steps: list[tuple[float, int]]) -> None:
    """What is younger than the window less one slice counts, what is older than it does not."""
    clock = Clock()
    count = RollingCount(5.0, clock)
    added: list[tuple[float, int]] = []
    for pause, number in steps:
        clock.now += pause
        count.add(number)
        added.append((clock.now, number))
        slack = 5.0 / SLICES + 1e-6
        least = sum(each for at, each in added if clock.now - at < 5.0 - slack)
        most = sum(each for at, each in added if clock.now - at <= 5.0 + slack)
        assert least <= count.total <= most


def test_a_long_pause_forgets_everything() -> None:
    """However long nobody asked."""
    clock = Clock()
    count = RollingCount(5.0, clock)
    count.add(7)
    clock.now += 1e6
    assert count.total == 0


def _steady(clock: Clock, pace: Pace, per_s: int, seconds: int) -> None:
    for _ in range(per_s * seconds):
        clock.now += 1 / per_s
        pace.free()


def test_the_advice_is_the_measured_pace() -> None:
    """Ten times as fast a store, a tenth of the wait; before any measure, what was set."""
    waits = []
    for per_s in (10, 100):
        clock = Clock()
        pace = Pace(5.0, 0.05, clock)
        assert pace.retry_after_s(8) == 0.05
        _steady(clock, pace, per_s, 10)
        assert pace.per_s() == pytest.approx(per_s, rel=0.15)
        waits.append(pace.retry_after_s(8))
    assert waits[0] == pytest.approx(0.1, rel=0.2)
    assert waits[0] == pytest.approx(10 * waits[1], rel=0.2)


def test_those_who_are_turned_away_come_back_one_after_another() -> None:
    """Each is told a later moment, at the pace of the places, and none beyond what is under way."""
    clock = Clock()
    pace = Pace(5.0, 0.05, clock)
    _steady(clock, pace, 100, 10)
    waits = [pace.retry_after_s(20) for _ in range(50)]
    assert waits[:20] == sorted(waits[:20])
    assert waits[9] == pytest.approx(0.1, rel=0.2)
    assert max(waits) == pytest.approx(0.2, rel=0.2)
    clock.now += 1.0
    _steady(clock, pace, 100, 10)
    assert pace.retry_after_s(20) == pytest.approx(0.01, rel=0.2), "old promises count no more"


def test_where_nothing_ends_any_more_the_whole_window_is_told() -> None:
    """A store that stands still promises nothing soon."""
    clock = Clock()
    pace = Pace(5.0, 0.05, clock)
    _steady(clock, pace, 100, 10)
    clock.now += 6.0
    assert pace.retry_after_s(20) == 5.0
