"""`policy`: look at a policy document before anybody relies on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact

app = typer.Typer(no_args_is_help=True, help="Check policies.")


@app.callback()
def policy() -> None:
    """Check policies."""


def check(
    file: Annotated[Path, typer.Argument(help="The policy document, YAML.")],
    compact: Compact = False,
) -> None:
    """Read a policy as workers do; say what is wrong, with file, line and column."""
    from mallku_deploy.reading import read_policy_file
    from mallku_deploy.terminal import out, show_json

    found = read_policy_file(file)
    summary = {
        "file": str(file),
        "version": found.version,
        "roles": sorted(found.roles),
        "principals": {name: entry.kind for name, entry in found.principals.items()},
    }
    if compact:
        show_json(summary, compact=True)
        return
    out.print(
        f"[green]✓[/] {file}: version {found.version},"
        f" {len(found.roles)} roles, {len(found.principals)} principals"
    )


add_command(app, "check", check, of="policy")
