"""`flags`: what is switched while everything runs, signed like a policy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact, Data, EnvFile

app = typer.Typer(no_args_is_help=True, help="Check, push and show flags.")


@app.callback()
def flags() -> None:
    """Check, push and show flags."""


def check(
    file: Annotated[Path, typer.Argument(help="The document of flags, YAML.")],
    compact: Compact = False,
) -> None:
    """Read flags as workers do; say what is wrong or without effect, with file, line and column."""
    from rich.markup import escape

    from mallku_deploy.reading import check_flags_file
    from mallku_deploy.terminal import out, show_json

    found, warnings = check_flags_file(file)
    if compact:
        show_json({"file": str(file), **found.model_dump(), "warnings": warnings}, compact=True)
        return
    out.print(
        f"[green]✓[/] {file}: version {found.version},"
        f" {len(found.collections)} routes, {len(found.flags)} flags"
    )
    for warning in warnings:
        out.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)


def push(
    file: Annotated[Path, typer.Argument(help="The document of flags, YAML.")],
    *,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Sign flags and put them in force on every worker, within a second and without a pause.

    As with `policy push`: checked first, with a version higher than the one in force, signed by the
    administrator of the running `up` in `--data`, or of the environment or `--env-file`.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.governing import push_flags
    from mallku_deploy.outcomes import show_outcome

    outcome = asyncio.run(push_flags(file, find_administrator(env_file, data)))
    raise typer.Exit(show_outcome(outcome, compact=compact))


def show(*, data: Data = None, env_file: EnvFile = None, compact: Compact = False) -> None:
    """Show the flags in force, as they were written; a document of the next version begins so.

    With `--json` the values alone. Nothing but a word on standard error before the first document.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.governing import flags_in_force
    from mallku_deploy.terminal import err, out, show_json

    found = asyncio.run(flags_in_force(find_administrator(env_file, data)))
    if found is None:
        err.print("no flags are in force; push some: mallku-gateway flags push FILE")
        return
    text, values = found
    if compact:
        show_json(values.model_dump(), compact=True)
    else:
        out.out(text, end="", highlight=False)


add_command(app, "check", check, of="flags")
add_command(app, "push", push, of="flags")
add_command(app, "show", show, of="flags")
