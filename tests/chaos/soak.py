"""Half of what a gateway can do, for long: memory and descriptors of every process must stay.

    python -m tests.chaos.soak [--seconds 1800] [--workers 2]

First the capacity is measured, with as many callers as keep it busy; then as many ask at once as
ever will, so that every process has the memory that this takes; then half of the capacity is sent
at its own times, whatever the answers do. Memory (RSS) and open descriptors of each process are
looked at every few seconds. What is told is the slope over the second half, with its 95 %
confidence interval: least squares over the means of blocks, which are far enough apart to count as
independent. A process grows when the whole interval lies above zero, by more than what a day's
growth would matter for. Exits with 1 when one does.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from mallku_broker.streams import StreamSettings
from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import MIB
from mallku_deploy.bench import Load, drive
from mallku_deploy.bench.calls import Calls, open_calls
from mallku_deploy.bench.policy import POLICY
from tests.chaos.report import write_into
from tests.integration.world import World, running_world

DEFAULT_S: Final = 1_800.0
CAPACITY_S: Final = 10.0
"""How long the capacity is measured, seconds."""

CAPACITY_CALLERS: Final = 64
FILL_S: Final = 10.0
"""How long `MAX_IN_FLIGHT` callers ask at once, seconds.

What a process once needed it keeps, in Python's and malloc's arenas: where nothing is sent at once
before, each pause of the machine lets more commands pile up than the last, and looks like a leak.
"""

LOOK_S: Final = 2.0
"""Between two looks at the processes, seconds."""

WARM_SHARE: Final = 0.5
"""Of the run, after which what is kept for a time has the size that it keeps."""

JUDGED_S: Final = 1_800.0
"""A shorter run is told and not judged: the ledger keeps a key for 900 s, streams an id for 180."""

BLOCKS: Final = 20
"""Blocks of which the means are taken."""

T_95: Final = 2.101
"""Student's t for 95 % and 18 degrees of freedom: 20 blocks, two estimated values."""

MATTERS_MIB_PER_H: Final = 1.0
"""A slope whose interval begins below this says nothing yet, MiB per hour."""

MAX_IN_FLIGHT: Final = 384
DOCUMENT_BYTES: Final = 512
TRAIL: Final = StreamSettings(audit_bytes=16_384 * MIB)
"""Room for the records of half an hour; a full trail would refuse what comes later."""

_COLLECTION: Final = "soak"


class Slope(NamedTuple):
    """A slope per hour with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def slope(times_s: Sequence[float], values: Sequence[float], blocks: int = BLOCKS) -> Slope:
    """The slope of a series per hour, over means of so many blocks.

    Raises:
        ValueError: there are fewer values than blocks.
    """
    if len(values) < blocks:
        raise ValueError(f"{len(values)} values for {blocks} blocks")
    edges = [len(values) * block // blocks for block in range(blocks + 1)]
    spans = [slice(*edges[block : block + 2]) for block in range(blocks)]
    xs = [_mean(times_s[span]) / 3_600 for span in spans]
    ys = [_mean(values[span]) for span in spans]
    middle, level = _mean(xs), _mean(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    value = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - level - value * (x - middle)) ** 2 for x, y in zip(xs, ys, strict=True))
    error = T_95 * math.sqrt(rest / (blocks - 2) / spread)
    return Slope(value, value - error, value + error)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass
class Watch:
    """What was seen of one process: seconds, MiB, open descriptors."""

    times: list[float] = field(default_factory=list[float])
    memory: list[float] = field(default_factory=list[float])
    descriptors: list[float] = field(default_factory=list[float])

    def look(self, pid: int, now_s: float) -> None:
        """Take one more sample; a process that is gone gives none."""
        try:
            status = Path(f"/proc/{pid}/statm").read_text().split()
            count = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names alone, and quickly
        except OSError:
            return
        self.times.append(now_s)
        self.memory.append(int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.descriptors.append(count)

    def settled(self) -> tuple[list[float], list[float], list[float]]:
        """Without the time in which everything warms up."""
        start = int(len(self.times) * WARM_SHARE)
        return self.times[start:], self.memory[start:], self.descriptors[start:]


async def soak(world: World, calls: Calls, rate: float, seconds: float) -> Soaked:
    """Send `rate` commands a second for so long, and watch every process."""
    soaked, begun = Soaked(rate), time.monotonic()
    watching = asyncio.create_task(_watch(world, soaked.watches, begun))
    under_way: set[asyncio.Task[None]] = set()
    try:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0))
            if len(under_way) >= MAX_IN_FLIGHT:
                soaked.told["not sent"] += 1
                continue
            task = asyncio.create_task(_call(calls, number, soaked))
            under_way.add(task)
            soaked.most = max(soaked.most, len(under_way))
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return soaked


@dataclass
class Soaked:
    """What was told and what was seen."""

    rate: float
    told: Counter[str] = field(default_factory=Counter[str])
    most: int = 0
    watches: dict[str, Watch] = field(default_factory=dict[str, Watch])


async def _call(calls: Calls, number: int, soaked: Soaked) -> None:
    try:
        await calls.mixed(number)
        soaked.told["done"] += 1
    except MallkuError as error:
        soaked.told[error.code] += 1


async def _watch(world: World, watches: dict[str, Watch], begun: float) -> None:
    while True:
        pids: Mapping[str, int] = world.gateway.pids | {"client": os.getpid()}
        for name, pid in pids.items():
            watches.setdefault(name, Watch()).look(pid, time.monotonic() - begun)
        await asyncio.sleep(LOOK_S)


def report(soaked: Soaked, seconds: float) -> tuple[str, bool]:
    """The report as Markdown, and whether nothing grows."""
    told = ", ".join(f"{count:,} {what}" for what, count in soaked.told.most_common())
    lines = [
        f"{seconds / 60:.1f} minutes at {soaked.rate:.0f} commands/s: {told}.",
        f"At most {soaked.most} were under way at once.",
        "",
        "| process | MiB at the end | MiB per hour (95 %) | descriptors | per hour (95 %) | |",
        "|---|---|---|---|---|---|",
    ]
    clean = True
    for name, watch in sorted(soaked.watches.items()):
        times, memory, descriptors = watch.settled()
        grows = slope(times, memory)
        opens = slope(times, descriptors)
        # The client is the measuring process itself; it keeps what it measured.
        bad = name != "client" and (grows.low > MATTERS_MIB_PER_H or opens.low > 1)
        clean &= not (bad and seconds >= JUDGED_S)
        lines.append(
            f"| {name} | {memory[-1]:.1f} | {grows.value:+.2f} ({grows.low:+.2f} to"
            f" {grows.high:+.2f}) | {descriptors[-1]:.0f} | {opens.value:+.2f} ({opens.low:+.2f}"
            f" to {opens.high:+.2f}) | {'grows' if bad else 'stays'} |"
        )
    if seconds < JUDGED_S:
        lines += ["", "Too short to be judged: everything still warms up."]
    return "\n".join(lines) + "\n", clean


async def _run(asked: argparse.Namespace, folder: Path) -> int:
    async with running_world(
        folder / "house", asked.workers, policy=POLICY, streams=TRAIL
    ) as world:
        settings = world.client_settings("mallku")
        async with open_calls(settings, collection=_COLLECTION, size=DOCUMENT_BYTES) as calls:
            busy = Load(in_flight=CAPACITY_CALLERS, count=1_000_000, seconds=CAPACITY_S)
            capacity = (await drive(calls.mixed, busy)).throughput
            print(f"capacity: {capacity:.0f} commands/s", flush=True)
            await drive(calls.mixed, Load(MAX_IN_FLIGHT, count=1_000_000, seconds=FILL_S))
            soaked = await soak(world, calls, capacity / 2, asked.seconds)
    text, clean = report(soaked, asked.seconds)
    print(f"\n{text}")
    if asked.write:
        write_into(asked.write, "soak", text)
    return 0 if clean else 1


def main() -> int:
    """Run and report; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=DEFAULT_S)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="put the report into docs/reliability.md")
    with tempfile.TemporaryDirectory(prefix="mallku-soak-") as folder:
        return asyncio.run(_run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
