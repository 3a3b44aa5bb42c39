from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mallku_deploy.backoff import FIRST_DELAY_S, MAX_DELAY_S, delay_s


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_no_delay_is_longer_than_the_limit(failures: int, chance: float) -> None:
    """Nor shorter than half of the first, however often something failed."""
    assert FIRST_DELAY_S / 2 <= delay_s(failures, chance) <= MAX_DELAY_S


def test_delays_double() -> None:
    """Until they reach the limit."""
    delays = [delay_s(failures, 1.0) for failures in range(1, 9)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_delays_are_spread() -> None:
    """Many that failed together do not come back together."""
    assert len({delay_s(5) for _ in range(50)}) > 40
