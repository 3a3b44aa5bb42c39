"""How far a verification is: a bar with rate and remaining time on a terminal, else nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mallku_deploy.terminal import err

Advance = Callable[[int], None]
"""Told how many more records were read."""


class _Rate(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> Text:
        """The rate as it was lately."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


@contextmanager
def reading(total: int, *, quiet: bool) -> Generator[Advance]:
    """Shows how many of `total` records were read, while the block runs."""
    if quiet or not err.is_terminal or not total:
        yield lambda _: None
        return
    columns = (TextColumn("reading the trail"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, _Rate(), TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("records", total=total)
        yield lambda count: bar.advance(task, count)
