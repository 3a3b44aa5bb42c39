"""The contest: runs in turns, and ratios round by round."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from mallku_deploy.bench import CpuMeter, Figures, Load, Run, Spread
from tests.benchmarks.children import Child, load_generator
from tests.benchmarks.contestants import Contestant, Goal

WARM_UP: Final = Load(count=1_000, seconds=1.0)
SETTLE_S: Final = 0.1
"""Between two runs, for what is written behind, seconds."""


@dataclass(frozen=True, slots=True)
class Results:
    """All runs: for each group, by contestant, one run for each round."""

    groups: list[dict[str, list[Run]]]

    @property
    def figures(self) -> list[dict[str, Figures]]:
        """The figures of each group, by contestant."""
        return [{name: Figures.of(runs) for name, runs in group.items()} for group in self.groups]

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
    """Let the contestants of a group run in turns, A B C A B C, as often as there are rounds."""
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in group}
    async with AsyncExitStack() as stack:
        clients: list[tuple[Contestant, Child]] = []
        for one in group:
            client = await stack.enter_async_context(load_generator(one.name, one.setting))
            clients.append((one, client))
            await client.run(replace(WARM_UP, in_flight=load.in_flight))
        for number in range(rounds):
            for one, client in clients:
                run = await _measure(one, client, load)
                runs[one.name].append(run)
                _tell(number, one.name, run)
    return runs


async def _measure(one: Contestant, client: Child, load: Load) -> Run:
    await asyncio.sleep(SETTLE_S)
    meter = CpuMeter(one.processes())
    run = await client.run(load)
    return replace(run, cpu_s={**meter.used(), **run.cpu_s})


def _tell(number: int, name: str, run: Run) -> None:
    line = f"  round {number + 1}  {name:<36} {run.throughput:8.0f}/s  p99 {run.p99_ms:6.1f} ms"
    print(line, file=sys.stderr)
