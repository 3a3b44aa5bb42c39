"""`audit replay`, `audit history`, `audit export`: the trail read again, and taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mallku_deploy.options import As, Data, EnvFile

TIME_HELP: Final = "a time (2026-01-31T12:00:00Z) or how long ago (90s, 15m, 2h, 7d)"

Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Begin at {TIME_HELP}.", show_default=False)
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"End at {TIME_HELP}.", show_default=False)
]
First = Annotated[
    int | None, typer.Option("--from", metavar="SEQUENCE", min=1, help="Begin at this sequence.")
]
Last = Annotated[
    int | None, typer.Option("--to", metavar="SEQUENCE", min=1, help="End at this sequence.")
]
Principals = Annotated[
    list[str] | None, typer.Option("--principal", help="Who asked; may be given several times.")
]
Databases = Annotated[list[str] | None, typer.Option("--database", help="In which database.")]
Collections = Annotated[
    list[str] | None, typer.Option("--collection", help="On which collection; @ for none.")
]
Operations = Annotated[list[str] | None, typer.Option("--operation", help="The verb.")]
Outcomes = Annotated[
    list[str] | None,
    typer.Option("--outcome", help="intent, done, failed, denied or resolved."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        help="Hide what this policy hides. Default: the one in force, from the trail.",
        show_default=False,
    ),
]
Lines = Annotated[
    bool, typer.Option("--json", help="One line of JSON for each record, on terminals too.")
]


def replay(
    *,
    since: Since = None,
    until: Until = None,
    first: First = None,
    last: Last = None,
    principals: Principals = None,
    databases: Databases = None,
    collections: Collections = None,
    operations: Operations = None,
    outcomes: Outcomes = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")
    ] = False,
    speed: Annotated[
        str, typer.Option(help="original, max, or how many times as fast as it happened.")
    ] = "max",
    as_json: Lines = False,
    as_table: Annotated[bool, typer.Option("--table", help="A table, whoever reads it.")] = False,
    policy: PolicyFile = None,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Show a part of the trail again, as it happened: a table on terminals, else lines of JSON.

    The server selects; times are the stream's, in UTC. The table has one line for each command,
    refusal and word about the gateway; lines of JSON hold every record with everything in it. In
    both, fields that the policy hides from any reader are not shown.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.choosing import Chosen
    from mallku_deploy.auditing.pacing import Pace
    from mallku_deploy.auditing.replay import Manner
    from mallku_deploy.auditing.replay import replay as play
    from mallku_deploy.auditing.running import run
    from mallku_deploy.terminal import out

    chosen = Chosen(
        since=since,
        until=until,
        first=first,
        last=last,
        principals=principals or (),
        databases=databases or (),
        collections=collections or (),
        operations=operations or (),
        outcomes=outcomes or (),
        follow=follow,
    )
    lines = as_json or not (as_table or out.is_terminal)
    manner = Manner(Pace.read(speed), as_json=lines, policy=policy)
    run(play(find_auditor(env_file, data, principal), chosen, manner))


def history(
    document: Annotated[str, typer.Argument(metavar="COLLECTION/KEY", help="The document.")],
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"The document as it was at {TIME_HELP}."),
    ] = None,
    database: Annotated[str, typer.Option(help="In which database.")] = "mallku",
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each version, with all of it.")
    ] = False,
    policy: PolicyFile = None,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Show every version of a document: who made it, when, under which rule, and what changed.

    Versions come from the trail, not from the store, in the order of their commits. What the trail
    does not hold is said: new versions that were too large for their record, collections that are
    recorded as hashes, and what happened before the trail began.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.history import Manner, read_document
    from mallku_deploy.auditing.history import history as show
    from mallku_deploy.auditing.running import run

    wanted = read_document(document, database)
    manner = Manner(at, as_json=as_json, policy=policy)
    run(show(find_auditor(env_file, data, principal), wanted, manner))


def export(
    *,
    to: Annotated[Path, typer.Option(help="The folder; one with an export gets what is new.")],
    form: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", help="JSON lines, or Parquet.")
    ] = "jsonl",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")] = False,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Copy the whole trail into files, with its checkpoints and a manifest, to verify it offline.

    The files hold every message to the byte, documents as they are: guard them like the database.
    Beside the bytes stand columns to filter by. Run again, it adds what was written since.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.export import Order
    from mallku_deploy.auditing.export import export as write
    from mallku_deploy.auditing.running import run

    order = Order(to.absolute(), form, quiet=quiet or as_json)
    run(write(find_auditor(env_file, data, principal), order, as_json=as_json))
