"""What was measured, as tables on the terminal and as Markdown, from the same rows."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from rich.console import Console
from rich.table import Table

from mallku_broker.server import find_server
from mallku_deploy.bench import Figures, Load, Spread
from tests.benchmarks.contest import Results
from tests.benchmarks.contestants import Goal, goals
from tests.benchmarks.startup import (
    CLIENT,
    FIRST_CALL,
    MAX_IMPORT_RATIO,
    MAX_START_S,
    MAX_WORKER_MB,
    PARTS,
    Startup,
)

_PROCESSES: Final = ("worker", "nats-server", "client", "stub")
_PACKAGES: Final = ("nats-py", "PyNaCl", "uvloop", "fastapi", "uvicorn", "httptools", "PyJWT")
_WIDTH: Final = 160
_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Block:
    """A table: a title, the names of its columns, and its rows; the first column is text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """The table as Markdown."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        lines = [self.columns, rule, *self.rows]
        return f"### {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def table(self) -> Table:
        """The table for a terminal."""
        table = Table(title=self.title, title_justify="left")
        for column in self.columns:
            table.add_column(column, justify="left" if column == self.columns[0] else "right")
        for row in self.rows:
            table.add_row(*row)
        return table


def blocks(
    results: Results, startup: Startup | None, looked_at: Sequence[Goal] | None = None
) -> list[Block]:
    """Everything that was measured; ratios `looked_at` instead of the usual ones."""
    found = [_figures_block(group) for group in results.figures]
    found.append(_ratios_block(results, goals() if looked_at is None else looked_at))
    if startup is not None:
        found.append(_startup_block(startup))
    return found


def show(found: Sequence[Block]) -> None:
    """Draw the tables on standard output."""
    console = Console(width=_WIDTH, highlight=False)
    for block in found:
        console.print(block.table())


def show_startup(startup: Startup) -> None:
    """Draw what was measured about starts alone."""
    show([_startup_block(startup)])


def machine(load: Load, rounds: int, size: int) -> str:
    """One paragraph: on what, with what, how long."""
    packages = ", ".join(f"{name} {known}" for name in _PACKAGES if (known := _version(name)))
    return (
        f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()}), "
        f"Python {platform.python_version()}, {_server()}, {packages}. "
        f"{load.in_flight} in flight, documents of {size} bytes, {rounds} rounds, each run at most "
        f"{load.seconds:g} s and {load.count:,} calls."
    )


def disturbance(results: Results) -> str:
    """One sentence: how much others used the machine meanwhile."""
    others = results.others
    return (
        f"Processes that have no part in this took {others.median:.0%} of the machine in the "
        f"middle run, and {others.high:.0%} in the worst."
    )


def _server() -> str:
    import subprocess

    done = subprocess.run([find_server(), "--version"], capture_output=True, check=True, timeout=10)
    return done.stdout.decode().strip().replace(": v", " ")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _figures_block(group: dict[str, Figures]) -> Block:
    columns = ("", "calls/s", "least to most", "p50 ms", "p95 ms", "p99 ms")
    known = {part for figures in group.values() for part in figures.cpu_s_per_1000}
    parts = [part for part in _PROCESSES if part in known]
    cpu = tuple(f"{part} CPU s per 1,000" for part in parts)
    rows = [_figures_row(name, figures, parts) for name, figures in group.items()]
    return Block("Throughput and latency: " + next(iter(group)), (*columns, *cpu), rows)


def _figures_row(name: str, figures: Figures, parts: Sequence[str]) -> tuple[str, ...]:
    rate = figures.throughput
    cpu = figures.cpu_s_per_1000
    return (
        name,
        f"{rate.median:,.0f}",
        f"{rate.low:,.0f} to {rate.high:,.0f}",
        *(f"{spread.median:.1f}" for spread in (figures.p50_ms, figures.p95_ms, figures.p99_ms)),
        *(f"{cpu[part]:.2f}" if part in cpu else "" for part in parts),
    )


def _ratios_block(results: Results, looked_at: Sequence[Goal]) -> Block:
    rows = [
        _ratio_row(goal, ratio) for goal in looked_at if (ratio := results.ratio(goal)) is not None
    ]
    return Block("Ratios, round by round", _RATIO_COLUMNS, rows)


_RATIO_COLUMNS: Final = ("", "median", "least to most", "wanted", "reached")


def _ratio_row(goal: Goal, ratio: Spread) -> tuple[str, ...]:
    figure = "p99" if goal.less_is_better else "throughput"
    sign = "≤" if goal.less_is_better else "≥"
    wanted = "" if goal.wanted is None else f"{sign} {goal.wanted:g}"
    return (
        f"{figure}: {goal.ours} / {goal.theirs}",
        f"{ratio.median:.2f}",
        f"{ratio.low:.2f} to {ratio.high:.2f}",
        wanted,
        _yes(goal.reached(ratio)),
    )


def _startup_block(startup: Startup) -> Block:
    imports = [
        _limit_row(f"{_NAMES[client]} / its parts' imports", startup.import_ratios[client], limit)
        for client, limit in ((CLIENT, MAX_IMPORT_RATIO), (FIRST_CALL, None))
    ]
    seconds = [
        _limit_row(f"{_NAMES[statement]}, ms", _scaled(spread, _MS), None)
        for statement, spread in startup.imports_s.items()
    ]
    ready = [
        _limit_row(f"`up` ready, two workers, {what}, s", spread, MAX_START_S)
        for what, spread in startup.ready_s.items()
    ]
    memory = _limit_row("an idle worker, MiB", startup.worker_mb, MAX_WORKER_MB)
    return Block("Start and memory", _RATIO_COLUMNS, [*imports, *seconds, *ready, memory])


_NAMES: Final = {
    PARTS: f"`{PARTS}`",
    CLIENT: f"`{CLIENT}`",
    FIRST_CALL: "the same, and all that a first call imports",
}


def _limit_row(what: str, spread: Spread, limit: float | None) -> tuple[str, ...]:
    reached = None if limit is None else spread.median <= limit
    return (
        what,
        f"{spread.median:.3g}",
        f"{spread.low:.3g} to {spread.high:.3g}",
        "" if limit is None else f"≤ {limit:g}",
        _yes(reached),
    )


def _scaled(spread: Spread, factor: float) -> Spread:
    return Spread(spread.median * factor, spread.low * factor, spread.high * factor)


def _yes(reached: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[reached]
