"""How quick a gateway answers: a closed loop of callers, and what their latencies say.

A closed loop (each caller waits for its answer before it asks again) holds the load at what the
gateway can take: the throughput is its own, and the latency is that of a gateway that is busy and
not of a queue that grows.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from array import array
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEFAULT_IN_FLIGHT: Final = 64
"""Callers at once, commands."""

DEFAULT_COUNT: Final = 20_000
"""Calls of one run, commands; `DEFAULT_SECONDS` may end it earlier."""

DEFAULT_SECONDS: Final = 2.0
"""Length of one run, seconds."""

MAX_IN_FLIGHT: Final = 4_096
"""The most callers at once, commands."""

MAX_COUNT: Final = 1_000_000
"""The most calls of one run, commands."""

MAX_SECONDS: Final = 600.0
"""The longest run, seconds."""

_MS_PER_S: Final = 1_000
_PER: Final = 1_000
_STAT_USER, _STAT_SYSTEM = 11, 12

Call = Callable[[int], Awaitable[object]]
"""One call, given its number within the run."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked in one run; whichever of `count` and `seconds` is reached first ends it."""

    in_flight: int = DEFAULT_IN_FLIGHT
    count: int = DEFAULT_COUNT
    seconds: float = DEFAULT_SECONDS


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed.

    Attributes:
        done: Calls that were answered.
        seconds: From the first call to the last answer.
        p50_ms: Half of the answers came within this time, milliseconds; p95 and p99 likewise.
        cpu_s: CPU seconds that each process took meanwhile, by its part in the play.
    """

    done: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_s: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.done / self.seconds


async def drive(call: Call, load: Load) -> Run:
    """Keep `load.in_flight` calls under way until the load's end.

    Raises:
        Exception: the first one that a call raised; what fails is not measured.
    """
    latencies = array("d")
    numbers = iter(range(load.count))
    begun = time.perf_counter()
    end = begun + load.seconds

    async def caller() -> None:
        for number in numbers:
            asked = time.perf_counter()
            if asked >= end:
                return
            await call(number)
            latencies.append(time.perf_counter() - asked)

    try:
        async with asyncio.TaskGroup() as callers:
            for _ in range(load.in_flight):
                callers.create_task(caller())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return summarize(latencies, time.perf_counter() - begun)


def summarize(latencies_s: Iterable[float], seconds: float) -> Run:
    """A run's figures from its latencies (at least one); percentiles by the nearest rank."""
    ordered = sorted(latencies_s)
    p50, p95, p99 = (_rank(ordered, share) * _MS_PER_S for share in (0.5, 0.95, 0.99))
    return Run(len(ordered), seconds, p50, p95, p99)


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing: the middle one, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        known = sorted(values)
        middle = len(known) // 2
        median = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
        return cls(median, known[0], known[-1])


@dataclass(frozen=True, slots=True)
class Figures:
    """What all runs of one kind showed together."""

    throughput: Spread
    p50_ms: Spread
    p95_ms: Spread
    p99_ms: Spread
    cpu_s_per_1000: Mapping[str, float]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Figures:
        """The figures of at least one run."""
        parts = [part for part in runs[0].cpu_s if all(part in run.cpu_s for run in runs)]
        cpu = {
            part: Spread.of(run.cpu_s[part] / run.done * _PER for run in runs).median
            for part in parts
        }
        return cls(
            throughput=Spread.of(run.throughput for run in runs),
            p50_ms=Spread.of(run.p50_ms for run in runs),
            p95_ms=Spread.of(run.p95_ms for run in runs),
            p99_ms=Spread.of(run.p99_ms for run in runs),
            cpu_s_per_1000=cpu,
        )


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds that a process has taken until now (proc(5)); None where nobody can say."""
    with suppress(OSError, IndexError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        fields = stat.rpartition(")")[2].split()
        ticks = int(fields[_STAT_USER]) + int(fields[_STAT_SYSTEM])
        return ticks / os.sysconf("SC_CLK_TCK")
    return None


class CpuMeter:
    """What each process took since the meter was made; processes that cannot be read are left out.

    Args:
        processes: Process ids by the part they play; a part's processes are added up.
    """

    def __init__(self, processes: Mapping[str, Iterable[int]]) -> None:
        self._processes = {part: list(pids) for part, pids in processes.items()}
        self._before = self._read()

    def used(self) -> dict[str, float]:
        """CPU seconds since the beginning, by part."""
        now = self._read()
        return {part: now[part] - self._before[part] for part in now if part in self._before}

    def _read(self) -> dict[str, float]:
        read = {part: [cpu_seconds(pid) for pid in pids] for part, pids in self._processes.items()}
        return {
            part: sum(used for used in values if used is not None)
            for part, values in read.items()
            if values and None not in values
        }
