"""Jobs as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from mallku_deploy.jobs.looking import LineState, SeenJob


def waiting_table(jobs: Sequence[SeenJob]) -> Table:
    """Those that are not done."""
    table = Table("sequence", "kept", "who", "what", "job", "when", box=None, pad_edge=False)
    for job in jobs:
        when = f"at {job.run_at}" if job.run_at else f"in order: {job.order}" if job.order else ""
        cells = (str(job.sequence), _short(job.kept), job.principal, _what(job), job.job, when)
        table.add_row(*map(escape, cells))
    return table


def dead_table(jobs: Sequence[SeenJob]) -> Table:
    """Those that could not be done."""
    table = Table("sequence", "dead since", "who", "what", "tries", "why", box=None, pad_edge=False)
    for job in jobs:
        why = f"{job.code}: {job.reason}" if job.code else job.reason
        cells = (
            str(job.sequence),
            _short(job.kept),
            job.principal,
            _what(job),
            str(job.tries),
            why,
        )
        table.add_row(*map(escape, cells))
    return table


def lines_text(lines: Sequence[LineState]) -> str:
    """The lines in which anything waits or is under way, in one line of text."""
    busy = [
        f"{each.line}: {each.waiting} waiting, {each.under_way} under way"
        for each in lines
        if each.waiting or each.under_way
    ]
    return "; ".join(busy) or "no job waits"


def _what(job: SeenJob) -> str:
    return f"{job.operation} {job.database}/{job.collection}" if job.operation else "unreadable"


def _short(time: str) -> str:
    return time[:19].replace("T", " ")
