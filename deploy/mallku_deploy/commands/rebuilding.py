"""`audit rebuild` and `audit hash`: what the trail holds, and what it hides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.options import As, Compact, Data, EnvFile

User = Annotated[str | None, typer.Option(metavar="NAME", help="Who we are at that ArangoDB.")]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With that user's password, mode 0600.")
]


def rebuild(
    *,
    into: Annotated[str, typer.Option(metavar="SPEC", help="Where it is put: an empty database.")],
    database: Annotated[str, typer.Option(help="Which of the gateway's databases.")] = "mallku",
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|SEQUENCE",
            help="As the trail was then: a time, how long ago (15m), or a sequence.",
            show_default=False,
        ),
    ] = None,
    collections: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="These alone, commas between.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with one that was interrupted.")
    ] = False,
    compare_with: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Hold it against this database.", show_default=False),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Read an export in the place of the streams."),
    ] = None,
    into_user: User = None,
    into_password_file: PasswordFile = None,
    compare_user: User = None,
    compare_password_file: PasswordFile = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where work lies meanwhile; by default beside `up`'s data."
        ),
    ] = None,
    compact: Compact = False,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Make a database again of the audit trail alone, in an empty one, under the same keys.

    SPEC is `embedded:DIR` or `arango:URL`, `#DATABASE` behind it where the name is another one.
    Recorded versions are put down in the order of their commits; operations on the catalog, and
    changes whose versions are not recorded, are carried out again. Collections that the trail
    holds as hashes are refused by name. Verify the trail first: this command believes it.

    The work file has room for what the trail says of documents. Interrupted, even killed, the same
    command with --resume goes on where it was.

    Exit code 0: everything that the trail tells of is there, and the same as in --compare-with;
    1: something is missing or differs, and is named.
    """
    from mallku_deploy.extras import require_workers

    require_workers()
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.rebuild import rebuild as make
    from mallku_deploy.auditing.rebuild_order import Order, Until
    from mallku_deploy.auditing.running import run

    names = tuple(name.strip() for name in (collections or "").split(",") if name.strip())
    order = Order(
        into=into,
        database=database,
        into_credentials=(into_user, into_password_file),
        until=Until.read(until),
        collections=names,
        resume=resume,
        compare_with=compare_with,
        compare_credentials=(compare_user, compare_password_file),
        state=state,
    )
    source = export or find_auditor(env_file, data, principal)
    run(make(source, order, compact=compact))


def hash_(
    value: Annotated[str, typer.Argument(help="A string, or a number as JSON writes it.")],
    *,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The workers' key. Default: that of `up`.", show_default=False
        ),
    ] = None,
    as_string: Annotated[
        bool, typer.Option("--string", help="It is no number, though it looks like one.")
    ] = False,
    data: Data = None,
) -> None:
    """Say what a known value is called in records of collections that are not to be copied.

    Such records (`audit: digest` in the policy) hold keyed hashes in the place of strings and
    numbers. Whoever has the workers' key finds a known value by its hash.
    """
    from mallku_deploy.auditing.hash import hash_value

    typer.echo(hash_value(value, key_file, data, as_string=as_string))
