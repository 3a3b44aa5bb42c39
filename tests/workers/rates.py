"""Several workers' throttles around simulated counters, in simulated time."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mallku_contracts.errors import RateLimited
from mallku_contracts.operations import Access
from mallku_contracts.policy import Limits
from mallku_workers.throttle import Throttle
from mallku_workers.throttle.account import NS
from tests.support.simulated_counters import SimulatedCounters

EPOCH_NS = 1_800_000_000 * NS


@dataclass
class Gateway:
    """Several workers' throttles that share counters, and what passed them when.

    Attributes:
        passed: When each command passed, seconds, in order.
        refusals: What was refused.
    """

    limits: Limits
    counters: SimulatedCounters
    throttles: list[Throttle]
    passed: list[float] = field(default_factory=list)
    refusals: list[RateLimited] = field(default_factory=list)

    async def send(self, worker: int) -> RateLimited | None:
        """Have one command throttled at a worker."""
        try:
            await self.throttles[worker].take("p", Access.READ, self.limits, 100)
        except RateLimited as refusal:
            self.refusals.append(refusal)
            return refusal
        self.passed.append(_loop().time())
        return None

    def most_in(self, seconds: float) -> int:
        """The most commands that passed in any window of so many seconds."""
        ends = (bisect_right(self.passed, begin + seconds) for begin in self.passed)
        return max((end - first for first, end in enumerate(ends)), default=0)

    def most_above_rate(self) -> float:
        """By how much the commands of any window exceeded what the rate alone gives for it."""
        lowest, most = float("inf"), 0.0
        for number, at in enumerate(self.passed):
            above = number - self.limits.rate_per_s * at
            lowest = min(lowest, above)
            most = max(most, above - lowest + 1)
        return most


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@asynccontextmanager
async def several_workers(
    workers: int,
    limits: Limits,
    *,
    latency_s: float = 0.001,
    skew_s: tuple[float, ...] = (),
) -> AsyncGenerator[Gateway]:
    """So many throttles that share counters, their clocks off by `skew_s` each."""
    loop, counters = _loop(), SimulatedCounters(latency_s)

    def clock(worker: int) -> Callable[[], int]:
        skew = skew_s[worker] if worker < len(skew_s) else 0.0
        return lambda: EPOCH_NS + int((loop.time() + skew) * NS)

    throttles = [Throttle(clock(worker), counters, workers=workers) for worker in range(workers)]
    try:
        yield Gateway(limits, counters, throttles)
    finally:
        for throttle in throttles:
            await throttle.close()
