from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pytest

from mallku_broker.durability import Fill, StreamDurability, StreamState
from mallku_contracts.durability import Durability
from mallku_contracts.policy import CompiledPolicy
from mallku_workers.governance import Governor
from mallku_workers.observing.duty import look_once
from mallku_workers.observing.loop_lag import MIN_LOOKS, WINDOW_S, LoopLag
from mallku_workers.observing.parts import Clocks, Parts
from tests.workers.world import COMPILED


class Groups:
    """Stands for a dispatcher: notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def leave(self) -> None:
        """Note it."""
        self.told.append("leave")

    async def join(self) -> None:
        """Note it."""
        self.told.append("join")


@dataclass
class Governed:
    """Stands for a governor, whose policy is in force."""

    policy: CompiledPolicy = COMPILED


def fit() -> Parts:
    """A worker that serves."""
    return Parts("w1", 30_000.0, stage="", governor=cast("Governor", Governed()))


async def test_a_late_loop_leaves_once_and_comes_back_once() -> None:
    """However often it is looked at, the groups are left once, and joined when the loop is fit."""
    parts, groups = fit(), Groups()
    await look_once(parts, groups)
    for second in range(4):
        parts.lag.add(second, 2.0)
        await look_once(parts, groups)
    assert (groups.told, parts.away) == (["leave"], True)
    assert not parts.health().ready
    for tick in range(100):
        parts.lag.add(10 + tick / 10, 0.001)
    await look_once(parts, groups)
    await look_once(parts, groups)
    assert (groups.told, parts.away) == (["leave", "join"], False)
    assert parts.health().ready


@pytest.mark.parametrize("state", [{"draining": True}, {"stage": "opening the store"}])
async def test_who_starts_or_drains_is_left_alone(state: dict[str, object]) -> None:
    """Then nobody joins or leaves anything but the worker's own beginning and end."""
    parts, groups = fit(), Groups()
    for name, value in state.items():
        setattr(parts, name, value)
    for second in range(4):
        parts.lag.add(second, 9.0)
    await look_once(parts, groups)
    assert groups.told == []


def test_one_stall_is_not_usual() -> None:
    """A single long delay shows as the worst, and not in the median; after a while in neither."""
    lag = LoopLag()
    for tick in range(20):
        lag.add(tick / 10, 0.001)
    lag.add(2.1, 3.0)
    assert (lag.recent_worst_s, lag.usual_s) == (3.0, 0.001)
    for tick in range(3):
        lag.add(2.2 + WINDOW_S + tick, 0.002)
    assert (lag.recent_worst_s, lag.worst_s) == (0.002, 3.0)


def test_a_look_that_comes_while_somebody_reads_fails_nobody() -> None:
    """Metrics are put together in a thread of their own, while the loop goes on looking."""

    class Look(tuple[float, float]):
        """Whoever reads it is interrupted by the loop's next look."""

        __slots__ = ()

        def __iter__(self) -> Iterator[float]:
            lag.add(1.0, 0.5)
            return super().__iter__()

    lag = LoopLag()
    for _ in range(MIN_LOOKS):
        lag._recent.append(Look((1.0, 0.25)))
    assert lag.usual_s == 0.25
    assert lag.recent_worst_s == 0.5


def state(apart_ms: float | None) -> StreamState:
    """What the broker said, our clock being so far ahead."""
    return StreamState(StreamDurability(Durability.FLUSH, ""), Fill(0, 0), (), apart_ms)


def test_a_jump_shows_before_the_broker_is_asked_again() -> None:
    """What the broker said last and what the clock did since make the difference of now."""
    offset = [1_000.0]
    clocks = Clocks(lambda: offset[0])
    assert (clocks.apart_ms, clocks.jumped_ms) == (None, 0.0)
    said = state(20.0)
    clocks.see(said)
    offset[0] += 60_000
    clocks.see(said)
    assert (clocks.apart_ms, clocks.jumped_ms) == (60_020.0, 60_000.0)
    clocks.see(state(None))
    assert clocks.apart_ms == 60_020.0
    clocks.see(state(5.0))
    assert clocks.apart_ms == 5.0
