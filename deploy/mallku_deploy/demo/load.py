"""Two thousand commands with a progress bar, and a table of how long each kind took."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mallku_client import SecuredDatabaseInterface
from mallku_deploy.bench.measure import summarize
from mallku_deploy.terminal import out

COMMANDS: Final = 2_000
"""Commands of the load."""

IN_FLIGHT: Final = 64
"""Commands under way at once."""

_COLLECTION: Final = "memory_anchors"
_OF_TEN: Final = ("insert",) * 5 + ("get",) * 3 + ("update", "find")
"""Of ten commands five write a new document, three read one, one changes one, one searches."""


@dataclass(slots=True)
class Measured:
    """How long the answers took, by operation, in seconds; and all of them together."""

    seconds: float = 0.0
    latencies: defaultdict[str, array[float]] = field(
        default_factory=lambda: defaultdict(lambda: array("d"))
    )

    @property
    def count(self) -> int:
        """Commands that were answered as they should be."""
        return sum(len(values) for values in self.latencies.values())


async def run_load(db: SecuredDatabaseInterface, halfway: Callable[[], object]) -> Measured:
    """Send `COMMANDS` commands, `IN_FLIGHT` at a time; the first that fails ends it.

    Args:
        halfway: Called when half of them were sent.
    """
    measured = Measured()
    numbers = iter(range(COMMANDS))
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=out, transient=True) as progress:
        task = progress.add_task("commands", total=COMMANDS)

        async def caller() -> None:
            for number in numbers:
                if number == COMMANDS // 2:
                    halfway()
                await _send(db, number, measured)
                progress.advance(task)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(IN_FLIGHT):
                callers.create_task(caller())
        measured.seconds = time.perf_counter() - begun
    return measured


async def _send(db: SecuredDatabaseInterface, number: int, measured: Measured) -> None:
    operation, arguments = _command(number)
    begun = time.perf_counter()
    await db.command(operation, _COLLECTION, arguments)
    measured.latencies[operation].append(time.perf_counter() - begun)


def _command(number: int) -> tuple[str, dict[str, Any]]:
    """Command `number` of the load; it depends on nothing that a later one writes."""
    operation = _OF_TEN[number % len(_OF_TEN)]
    if operation == "insert":
        return operation, {"document": {"_key": f"load-{number}", "kind": "load", "weight": number}}
    if operation == "update":
        return operation, {"document": {"_key": "once", "weight": number}, "silent": True}
    if operation == "find":
        return operation, {"filters": {"_key": "once"}}
    return operation, {"document": "once"}


def inserts() -> int:
    """How many of the commands write a new document."""
    return sum(_command(number)[0] == "insert" for number in range(COMMANDS))


def show(measured: Measured) -> None:
    """The table of latencies, milliseconds."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("  operation")
    for name in ("commands", "p50 ms", "p95 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    for operation, values in sorted(measured.latencies.items()):
        run = summarize(values, measured.seconds)
        figures = (run.p50_ms, run.p95_ms, run.p99_ms, max(values) * 1000)
        table.add_row(f"  {operation}", str(run.done), *(f"{figure:.1f}" for figure in figures))
    out.print(table)
