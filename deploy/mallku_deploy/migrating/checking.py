"""Runs a check over files and trees, with a bar where somebody looks on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn

from mallku_deploy.migrating.files import Checked, check_paths
from mallku_deploy.terminal import err


def run_check(paths: Sequence[Path], exclude: Sequence[str]) -> Checked:
    """Check everything below `paths`.

    Raises:
        ConfigurationError: a path is not there.
    """
    checked = Checked()
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} files read"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("check", total=None)
        for findings in check_paths(paths, exclude):
            checked.files += 1
            checked.findings += findings
            bar.advance(task)
    return checked
