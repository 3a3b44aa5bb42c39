"""The contest: runs in turns, and ratios round by round."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import psutil

from mallku_deploy.bench import CpuMeter, Figures, Load, Run, Spread
from tests.benchmarks.children import Child, load_generator
from tests.benchmarks.contestants import Contestant, Goal

WARM_UP: Final = Load(count=1_000, seconds=1.0)
SETTLE_S: Final = 0.1
"""Between two runs, for what is written behind, seconds."""

QUIET_SHARE: Final = 0.1
"""What others may take of the machine in a run that counts as quiet, as a part of the whole."""

_Round = TypeVar("_Round")

OTHERS: Final = "others"
"""Stands among a run's processes for all that have no part in it."""


@dataclass(frozen=True, slots=True)
class Results:
    """All runs: for each group, by contestant, one run for each round."""

    groups: list[dict[str, list[Run]]]

    @property
    def figures(self) -> list[dict[str, Figures]]:
        """The figures of each group, by contestant."""
        return [{name: Figures.of(runs) for name, runs in group.items()} for group in self.groups]

    @property
    def others(self) -> Spread:
        """The part of the machine that others took meanwhile, 0 to 1."""
        runs = [run for group in self.groups for found in group.values() for run in found]
        return Spread.of(others_share(run) for run in runs)

    def ratio(self, goal: Goal) -> Spread | None:
        """The ratio of runs of the same round; None when the two did not meet in a group."""
        for group in self.groups:
            if goal.ours in group and goal.theirs in group:
                pairs = zip(group[goal.ours], group[goal.theirs], strict=True)
                return Spread.of(
                    getattr(ours, goal.figure) / getattr(theirs, goal.figure)
                    for ours, theirs in pairs
                )
        return None


async def compete(group: Sequence[Contestant], load: Load, rounds: int) -> dict[str, list[Run]]:
    """Let the contestants of a group run in turns, A B C A B C, as often as there are rounds.

    A round in which others used the machine is followed by one more, up to as many again; the
    quietest are kept. Who is quicker has no say in that.
    """
    async with AsyncExitStack() as stack:
        clients: list[tuple[Contestant, Child]] = []
        for one in group:
            client = await stack.enter_async_context(load_generator(one.name, one.setting))
            clients.append((one, client))
            await client.run(replace(WARM_UP, in_flight=load.in_flight))

        async def play(number: int) -> list[Run]:
            runs = [await _measure(one, client, load) for one, client in clients]
            _tell(number, group, runs)
            return runs

        kept = await quiet_rounds(rounds, play, lambda runs: max(map(others_share, runs)))
    return {one.name: [runs[place] for runs in kept] for place, one in enumerate(group)}


async def quiet_rounds(
    rounds: int, play: Callable[[int], Awaitable[_Round]], others: Callable[[_Round], float]
) -> list[_Round]:
    """As many quiet rounds as were asked for, or the quietest of twice as many.

    Args:
        play: Plays one; they are numbered from 1.
        others: The part of the machine that others took meanwhile, 0 to 1.
    """
    played: list[_Round] = []
    while len(played) < 2 * rounds and sum(others(one) <= QUIET_SHARE for one in played) < rounds:
        played.append(await play(len(played) + 1))
    return sorted(played, key=others)[:rounds]


async def _measure(one: Contestant, client: Child, load: Load) -> Run:
    await asyncio.sleep(SETTLE_S)
    meter, before = CpuMeter(one.processes()), machine_cpu_s()
    run = await client.run(load)
    ours = {**meter.used(), **run.cpu_s}
    others = max(machine_cpu_s() - before - sum(ours.values()), 0.0)
    return replace(run, cpu_s={**ours, OTHERS: others})


def others_share(run: Run) -> float:
    """The part of the machine that processes took which have no part in the run, 0 to 1."""
    return run.cpu_s[OTHERS] / run.seconds / (os.cpu_count() or 1)


def machine_cpu_s() -> float:
    """CPU seconds that everybody on this machine took until now."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _tell(number: int, group: Sequence[Contestant], runs: Sequence[Run]) -> None:
    for one, run in zip(group, runs, strict=True):
        print(
            f"  round {number}  {one.name:<36} {run.throughput:8.0f}/s  p99 {run.p99_ms:6.1f} ms"
            f"  others {others_share(run):4.0%}",
            file=sys.stderr,
        )
