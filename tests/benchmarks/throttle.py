"""What holding a principal to its rate costs a command, with a real broker and its counters.

`python -m tests.benchmarks.throttle` prints two tables: the step itself when nobody has to be asked
(median), and all of its work at full rate, exchanges with the counters included (CPU of this
process and of the broker, less what the same loop costs without the step). Exits non-zero when the
CPU of a command is above the limit at the rate that a policy gives by default.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from mallku_broker.counters import Counters
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.operations import Access
from mallku_contracts.policy import Limits
from mallku_workers.throttle import Throttle
from tests.support.nats import WORKER_RECORDS, NatsHouse, nats_house, prefix_of

RATES: Final = (100, 500, Limits().rate_per_s)
WORKERS: Final = (1, 2, 4)
MAX_US: Final = 50.0
"""What a command may cost at the default rate, microseconds of CPU."""

SECONDS: Final = 2.0
TICK_S: Final = 0.01
COMMANDS: Final = 20_000
_SIZE: Final = 700
_US: Final = 1e6
_NS_PER_US: Final = 1_000

Take = Callable[[int], Awaitable[None]]


class Cost(NamedTuple):
    """CPU of one command, microseconds: in the workers, and in the broker."""

    workers_us: float
    broker_us: float


@asynccontextmanager
async def throttles(house: NatsHouse, workers: int) -> AsyncGenerator[list[Throttle]]:
    """So many throttles, each with a connection of its own, as in as many workers."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(workers):
            records = await stack.enter_async_context(house.connection(WORKER_RECORDS))
            requests = RequestMultiplexer(records, prefix_of(WORKER_RECORDS))
            await stack.enter_async_context(requests)
            throttle = Throttle(time.time_ns, Counters(requests), workers=workers)
            stack.push_async_callback(throttle.close)
            made.append(throttle)
        yield made


async def median_us(throttle: Throttle) -> float:
    """The step when what is known is enough, median, microseconds."""
    limits, took = Limits(rate_per_s=1_000_000, burst=1_000_000), list[int]()
    for number in range(COMMANDS):
        began = time.perf_counter_ns()
        await throttle.take("median", Access.READ, limits, _SIZE)
        took.append(time.perf_counter_ns() - began)
        if number % 100 == 0:
            await asyncio.sleep(0)
    return statistics.median(took) / _NS_PER_US


async def at_full_rate(house: NatsHouse, workers: int, rate: int) -> Cost:
    """What a command costs that comes at 99 % of the rate, in turn at each worker."""
    limits = Limits(rate_per_s=rate, burst=rate)
    principal = f"full-{workers}-{rate}"
    async with throttles(house, workers) as all_:

        async def take(number: int) -> None:
            await all_[number % workers].take(principal, Access.READ, limits, _SIZE)

        with_it = await _paced(house, rate, take)
        without = await _paced(house, rate, _nothing)
    return Cost(with_it.workers_us - without.workers_us, with_it.broker_us - without.broker_us)


async def _nothing(_number: int) -> None:
    pass


async def _paced(house: NatsHouse, rate: int, take: Take) -> Cost:
    broker, commands = psutil.Process(house.server.pid), int(0.99 * rate * SECONDS)
    clump, sent = max(1, int(rate * TICK_S)), 0
    began, ours, theirs = time.monotonic(), time.process_time(), _cpu(broker)
    while sent < commands:
        for _ in range(clump):
            await take(sent)
            sent += 1
        await asyncio.sleep(max(0.0, began + sent / (0.99 * rate) - time.monotonic()))
    return Cost((time.process_time() - ours) * _US / sent, (_cpu(broker) - theirs) * _US / sent)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def main() -> int:
    """Print the tables; 1 when a command at the default rate is above the limit."""
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        async with nats_house(Path(folder) / "nats") as house:
            async with throttles(house, 1) as (throttle,):
                print(f"nobody has to be asked, median {await median_us(throttle):6.1f} us")
            print("commands/s  workers  us in workers  us in the broker")
            worst = 0.0
            for rate in RATES:
                for workers in WORKERS:
                    cost = await at_full_rate(house, workers, rate)
                    print(
                        f"{rate:10}  {workers:7}  {cost.workers_us:13.1f}  {cost.broker_us:16.1f}"
                    )
                    if rate == RATES[-1]:
                        worst = max(worst, cost.workers_us)
    print(f"limit at {RATES[-1]} commands/s: {MAX_US:.0f} us in workers")
    return int(worst > MAX_US)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
