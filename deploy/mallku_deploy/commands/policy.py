"""`policy`: look at a policy document, compare it with the one in force, put it in force."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact, Data, EnvFile

DIFFERENT: Final = 3
"""Exit code of `policy diff` when commands would newly be allowed or refused."""

MAX_LAST: Final = 100_000_000
"""How many records of the trail `policy diff` may be asked to look back."""

app = typer.Typer(no_args_is_help=True, help="Check, compare and push policies.")


@app.callback()
def policy() -> None:
    """Check, compare and push policies."""


def check(
    file: Annotated[Path, typer.Argument(help="The policy document, YAML.")],
    compact: Compact = False,
) -> None:
    """Read a policy as workers do; say what is wrong or odd, with file, line and column."""
    from rich.markup import escape

    from mallku_deploy.reading import check_policy_file
    from mallku_deploy.terminal import out, show_json

    found, warnings = check_policy_file(file)
    summary = {
        "file": str(file),
        "version": found.version,
        "roles": sorted(found.roles),
        "principals": {name: entry.kind for name, entry in found.principals.items()},
        "warnings": warnings,
    }
    if compact:
        show_json(summary, compact=True)
        return
    out.print(
        f"[green]✓[/] {file}: version {found.version},"
        f" {len(found.roles)} roles, {len(found.principals)} principals"
    )
    for warning in warnings:
        out.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)


def push(
    file: Annotated[Path, typer.Argument(help="The policy document, YAML.")],
    *,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Sign a policy and put it in force on every worker, within a second and without a pause.

    It is checked first, and its version has to be higher than the one in force. With `--data` the
    administrator of that running `up` signs; otherwise the environment or `--env-file` says who
    does: MALLKU_KEY_FILE names the administrator's key. Exit code 1 when a worker said nothing.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.governing import push_policy
    from mallku_deploy.outcomes import show_outcome

    outcome = asyncio.run(push_policy(file, find_administrator(env_file, data)))
    raise typer.Exit(show_outcome(outcome, compact=compact))


def diff(
    candidate: Annotated[Path, typer.Argument(help="The policy document, YAML.")],
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From a time on, or from so long ago: 90s, 2h, 7d."),
    ] = None,
    last: Annotated[
        int | None, typer.Option(help="The last so many records.", min=1, max=MAX_LAST)
    ] = None,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """List what another policy would decide otherwise, of the commands on the audit trail.

    Every command in the stretch (the whole trail by default) is decided again, under the policy in
    force and under the candidate, as workers decide: subject, roles and issuer, and where the
    record holds them the arguments, the steps of a transaction, the text of a query. What the
    broker refused never came to the trail. Exit code 0: no command would newly be allowed or
    refused; 3: some would.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.governing import compare_policy, find_stretch
    from mallku_deploy.outcomes import show_comparison

    stretch = find_stretch(since, last)
    found = asyncio.run(compare_policy(candidate, stretch, find_administrator(env_file, data)))
    show_comparison(found, compact=compact)
    raise typer.Exit(DIFFERENT if found.comparison else 0)


def permissions(
    file: Annotated[
        Path | None, typer.Argument(help="A policy document; without it, the one in force.")
    ] = None,
    *,
    form: Annotated[
        Literal["table", "conf", "nsc"],
        typer.Option("--format", help="To read, for nats-server's configuration, or for nsc."),
    ] = "table",
    data: Data = None,
    compact: Compact = False,
) -> None:
    """Show the broker's lock: what a policy lets each principal publish and subscribe.

    The table also lists where the broker's lock is wider than the worker's, and why. `conf` is the
    accounts part of nats-server's configuration, `nsc` a script for a broker with operator and
    JWTs; both hold the principals that have an nkey, and without FILE the workers too.
    """
    from mallku_deploy.governing import find_locks
    from mallku_deploy.outcomes import show_locks

    show_locks(find_locks(file, data), form, compact=compact)


add_command(app, "check", check, of="policy")
add_command(app, "push", push, of="policy")
add_command(app, "diff", diff, of="policy")
add_command(app, "permissions", permissions, of="policy")
