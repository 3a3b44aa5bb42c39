"""Goodput under overload is what comes out while commands go in, and no more."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import overload
from tests.benchmarks.overload import Load

MEASURED_S = 0.3
DRAIN_S = 0.6
PER_S = 1_000.0


class Answered(Load):
    """A worker that answers at once, or when nothing is sent any more; then it takes a while."""

    def __init__(self, *, late: bool) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing)
        self._late = late
        self.begun_s: list[float] = []

    def seal(self, count: int) -> list[Any]:
        """Commands that nobody reads."""
        return [SimpleNamespace(subject="s", data=b"", reply=f"r{n}") for n in range(count)]

    def send(self, sent: Any) -> None:
        """The answer comes in the loop's next turn."""
        self.begun_s.append(time.monotonic())
        self.sent_at[sent.reply] = time.monotonic()
        if not self._late:
            asyncio.get_running_loop().call_soon(self._take, sent.reply, "", b"", None)

    async def settled(self) -> None:
        """Everything that is still under way is answered, after a while."""
        await asyncio.sleep(DRAIN_S)
        for reply in [*self.sent_at]:
            self._take(reply, "", b"", None)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "MEASURED_S", MEASURED_S)


async def test_a_result_after_sending_ended_is_no_goodput() -> None:
    """A worker that answers nothing while it is asked did nothing in that time."""
    assert await overload.overload(Answered(late=True), PER_S) == 0


async def test_answers_at_once_are_goodput() -> None:
    """What was answered while others were sent counts."""
    assert await overload.overload(Answered(late=False), PER_S) > PER_S / 10


async def test_the_peak_takes_as_long_and_leaves_its_drain_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time that the last results take makes the peak no lower."""
    monkeypatch.setattr(overload, "MOST_PER_S", 1_000_000)
    load = Answered(late=False)
    found = await overload.peak(load)
    took = load.begun_s[-1] - load.begun_s[0]
    assert MEASURED_S / 2 < took < MEASURED_S + DRAIN_S / 2
    assert found > len(load.begun_s) / (took + DRAIN_S / 2)


async def test_a_peak_without_commands_enough_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and gives no figure that the load made."""
    monkeypatch.setattr(overload, "MOST_PER_S", 10)
    with pytest.raises(RuntimeError, match="more than 10"):
        await overload.peak(Answered(late=False))
