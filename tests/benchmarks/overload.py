"""Goodput while twice as much is asked for as one worker can do, beside its peak; and its memory.

`python -m tests.benchmarks.overload` starts a gateway with one worker, finds its peak with a closed
loop, then offers twice that much in an open loop for as long, several rounds of each in turn.
Commands are sealed before, and replies are told apart by their headers alone, so that the load
costs little. Goodput are the commands whose result came within their caller's time and before
sending ended; on neither side does it count what comes out when nothing goes in any more. Exits
non-zero when the median of the ratios is below `LEAST_RATIO`, a refusal came without `retry_after`,
or the worker's memory grew by more than `MOST_GROWTH` from the second round to the last; what it
remembers of seen transmissions for 90 s is in that.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from mallku_broker.connection import GatewayConnection
from mallku_contracts import codec
from mallku_contracts.envelope import Envelope
from mallku_contracts.subjects import inbox_prefix
from mallku_deploy.bench.policy import POLICY
from tests.integration.world import World, running_world
from tests.support.simulated_caller import Sent, now_ms

LEAST_RATIO: Final = 0.8
MOST_GROWTH: Final = 0.1
ROUNDS: Final = 4
IN_FLIGHT: Final = 128
MEASURED_S: Final = 5.0
MOST_PER_S: Final = 8_000
BUDGET_MS: Final = 2_000
TICK_S: Final = 0.005
FACTOR: Final = 2.0


@dataclass
class Load:
    """Sends sealed commands over one connection and counts what comes back."""

    world: World
    connection: GatewayConnection
    sent_at: dict[str, float] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    good: int = 0
    waits: list[float | None] = field(default_factory=list)
    free: asyncio.Semaphore | None = None

    async def listen(self) -> None:
        """Take replies."""
        await self.connection.listen(f"{inbox_prefix('mallku')}.box.*", self._take)

    def seal(self, count: int) -> list[Sent]:
        """So many inserts, good for a minute."""
        caller, begins = self.world.caller(), now_ms()
        load = "x" * 600
        return [
            caller.seal(
                "insert",
                {"document": {"weight": number, "text": load}},
                iat=begins,
                exp=begins + 55_000,
                budget=BUDGET_MS,
            )
            for number in range(count)
        ]

    def send(self, sent: Sent) -> None:
        """Hand over one command."""
        self.sent_at[sent.reply] = time.monotonic()
        self.connection.post(str(sent.subject), sent.data, reply=sent.reply)

    def _take(self, subject: str, _reply: str, body: bytes, header: bytes | None) -> None:
        began = self.sent_at.pop(subject, None)
        if began is None:
            return
        if self.free is not None:
            self.free.release()
        if header and b"Nats-Service-Error" in header:
            error = codec.unpack(Envelope.split(body).body, allow_bytes=True)["error"]
            self.ends[error["code"]] += 1
            if error["code"] == "busy":
                self.waits.append(error.get("retry_after"))
        else:
            self.ends["done"] += 1
            if (time.monotonic() - began) * 1_000 <= BUDGET_MS:
                self.good += 1

    async def settled(self) -> None:
        """Wait until nothing is under way, or nobody could still be waiting for it."""
        end = time.monotonic() + 2 * BUDGET_MS / 1_000
        while self.sent_at and time.monotonic() < end:  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(TICK_S)
        self.ends["silent"] += len(self.sent_at)
        self.sent_at.clear()


async def peak(load: Load) -> float:
    """Results in time, a second, with `IN_FLIGHT` commands under way at any time.

    Raises:
        RuntimeError: there were not commands enough; `MOST_PER_S` has to be more.
    """
    commands = load.seal(int(MOST_PER_S * MEASURED_S))
    load.free, load.good = asyncio.Semaphore(IN_FLIGHT), 0
    began = time.monotonic()
    for sent in commands:
        await load.free.acquire()
        if time.monotonic() - began >= MEASURED_S:
            break
        load.send(sent)
    else:
        raise RuntimeError(f"a worker does more than {MOST_PER_S} commands a second")
    found = load.good / (time.monotonic() - began)
    await load.settled()
    load.free = None
    return found


async def overload(load: Load, per_s: float) -> float:
    """Results in time, a second, while `per_s` commands a second are sent whatever comes back."""
    commands = load.seal(int(per_s * MEASURED_S))
    load.good = 0
    began, place = time.monotonic(), 0
    while place < len(commands):
        due = min(int((time.monotonic() - began) * per_s), len(commands))
        for sent in commands[place:due]:
            load.send(sent)
        place = due
        await asyncio.sleep(TICK_S)
    found = load.good / (time.monotonic() - began)
    await load.settled()
    return found


async def measure(folder: Path) -> bool:
    """Run everything and print it; whether it is as it should be."""
    async with running_world(folder, workers=1, policy=POLICY) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        async with world.connection() as connection:
            load = Load(world, connection)
            await load.listen()
            [pid] = world.workers.values()
            process, ratios, sizes = psutil.Process(pid), list[float](), list[int]()
            for number in range(ROUNDS):
                best = await peak(load)
                load.ends.clear()
                goodput = await overload(load, FACTOR * best)
                ratios.append(goodput / best)
                sizes.append(process.memory_info().rss)
                print(
                    f"round {number}: peak {best:,.0f}/s, at twice that {goodput:,.0f}/s in time,"
                    f" ratio {ratios[-1]:.2f}, worker {sizes[-1] / 2**20:.0f} MiB,"
                    f" {dict(load.ends)}"
                )
            return _judge(load, ratios, sizes)


def _judge(load: Load, ratios: list[float], sizes: list[int]) -> bool:
    ratio, growth = statistics.median(ratios), sizes[-1] / sizes[1] - 1
    told = [wait for wait in load.waits if wait is not None]
    if told:
        print(f"busy: retry_after {min(told):.3f} to {max(told):.3f} s, {len(told)} refusals")
    print(
        f"ratio {ratio:.2f} (at least {LEAST_RATIO}), growth {growth:+.1%} (most {MOST_GROWTH:.0%})"
    )
    return ratio >= LEAST_RATIO and growth <= MOST_GROWTH and len(told) == len(load.waits)


def main() -> None:
    """Measure and say so."""
    with tempfile.TemporaryDirectory() as folder:
        well = asyncio.run(measure(Path(folder) / "house"))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
