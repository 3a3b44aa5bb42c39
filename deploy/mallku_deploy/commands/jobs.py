"""`jobs`: durable jobs that wait, those that are dead, and another try for them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import As, Compact, Data, EnvFile

MAX_SHOWN = 1_000
"""Jobs that are shown at once."""

app = typer.Typer(no_args_is_help=True, help="Show durable jobs, and give dead ones another try.")

Limit = Annotated[
    int, typer.Option("--limit", min=1, max=MAX_SHOWN, metavar="JOBS", help="How many at most.")
]
Sequence = Annotated[int, typer.Argument(min=1, help="Where it stands in its stream.")]


@app.callback()
def jobs() -> None:
    """Show durable jobs, and give dead ones another try."""


def list_(
    *, limit: Limit = 50, data: Data = None, env_file: EnvFile = None, compact: Compact = False
) -> None:
    """Show the oldest jobs that are not done, and the lines in which they wait.

    Asked as the administrator of the running `up` in `--data`, or of the environment or
    `--env-file`. Callers see what became of their own jobs with `outcome`.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.jobs import looking, tables
    from mallku_deploy.terminal import out, say_aside, show_json

    found = asyncio.run(looking.waiting(find_administrator(env_file, data), limit))
    if compact:
        show_json(asdict(found), compact=True)
        return
    if found.jobs:
        out.print(tables.waiting_table(found.jobs))
    say_aside(tables.lines_text(found.lines))


def dead(
    *,
    since: Annotated[int, typer.Option("--from", min=1, help="From this sequence on.")] = 1,
    limit: Limit = 50,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Show the jobs that could not be done, each with the reason; they are kept for 30 days."""
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.jobs import looking, tables
    from mallku_deploy.terminal import out, say_aside, show_json

    found = asyncio.run(looking.dead(find_administrator(env_file, data), since, limit))
    if compact:
        show_json([asdict(job) for job in found], compact=True)
    elif found:
        out.print(tables.dead_table(found))
    else:
        say_aside("no job is dead")


def show(
    sequence: Sequence,
    *,
    is_dead: Annotated[
        bool, typer.Option("--dead", help="Among the dead, not among those that wait.")
    ] = False,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Show everything that one job says, its arguments included. The signature is not checked."""
    from mallku_broker.streams import DEAD, JOBS
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.jobs import looking
    from mallku_deploy.terminal import show_json

    settings = find_administrator(env_file, data)
    found = asyncio.run(looking.show(settings, DEAD if is_dead else JOBS, sequence))
    show_json(found, compact=compact)


def redrive(
    sequence: Sequence,
    *,
    principal: As = None,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Give the dead job at SEQUENCE another try: a signed command, on the trail like any other.

    The speaker needs the operation `redrive` (`--as operator` in an `up`). It lifts the job's
    deadline and nothing else: the job's own signature is checked again, and its own principal has
    to be allowed to do it now. Up to 23 hours after the job's end.
    """
    from mallku_deploy.speaker import find_speaker
    from mallku_deploy.terminal import show_json

    speaker = find_speaker(env_file, principal, data)

    async def send() -> object:
        from mallku_client import SecuredDatabaseInterface

        async with await SecuredDatabaseInterface.connect(settings=speaker) as db:
            return (await db.command("redrive", None, {"sequence": sequence})).result

    show_json(asyncio.run(send()), compact=compact)


add_command(app, "list", list_, of="jobs")
add_command(app, "show", show, of="jobs")
add_command(app, "dead", dead, of="jobs")
add_command(app, "redrive", redrive, of="jobs")
