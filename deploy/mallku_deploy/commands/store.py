"""`store`: what the database holds, declared in a file; and moving between stores.

These commands are an administrator's, offline: they hold database credentials and speak to the
store itself. Nothing of what they do is on the audit trail.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from mallku_deploy.examples import add_command
from mallku_deploy.options import Compact

PENDING: Final = 2
"""Exit code of `store plan` and `store apply` when the store is not as declared."""

app = typer.Typer(no_args_is_help=True, help="Declare what the database holds; copy databases.")

Declared = Annotated[Path, typer.Argument(help="The declaration, YAML.")]
Which = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="embedded[:DIR]|arango[:URL]",
        envvar="MALLKU_WORKER_STORE",
        help="Which store is meant.",
    ),
]
Directory = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        envvar="MALLKU_WORKER_STORE_DIRECTORY",
        help="Where the embedded store keeps its files; of `up`, DATA/store.",
    ),
]
Drops = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="KIND:NAME",
        help="What may be dropped, beside the file's `drop`; repeatable.",
    ),
]
User = Annotated[str | None, typer.Option(metavar="NAME", help="Who we are at that ArangoDB.")]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With that user's password, mode 0600.")
]


@app.callback()
def store() -> None:
    """Declare what the database holds; copy databases."""


def plan(
    file: Declared,
    *,
    store: Which = "embedded",
    directory: Directory = Path("store"),
    drop: Drops = None,
    compact: Compact = False,
) -> None:
    """Show what would have to be done for the store to hold what FILE declares; do nothing.

    FILE names databases with their collections, indexes and graphs, database users by access
    class, and under `drop` what may be dropped. ArangoDB is reached with MALLKU_WORKER_ARANGO_URL,
    _USERNAME, _PASSWORD_FILE, _TLS_CA as workers are told, or at the URL of --store; the user has
    to be an administrator.

    Exit code 0: there is nothing to do; 2: there is.
    """
    from mallku_deploy.provisioning import Meant, look, read_file
    from mallku_deploy.provisioning_table import show_plan

    declaration = read_file(file, drop or [])
    found = asyncio.run(look(declaration, Meant.of(store, directory, file.parent)))
    show_plan(found, compact=compact)
    raise typer.Exit(PENDING if found.pending else 0)


def apply(
    file: Declared,
    *,
    store: Which = "embedded",
    directory: Directory = Path("store"),
    drop: Drops = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    compact: Compact = False,
) -> None:
    """Show the plan, ask, and do exactly that. Done twice, it does nothing the second time.

    Nothing is dropped that is not named: what is there and not declared is left alone, and what is
    there otherwise than declared is dropped and made anew only if its name stands under `drop`.
    Passwords of users are read from their files, or made into them; they are never shown. Each step
    stands for itself: after an error, run it again.

    Exit code 0: the store is as declared; 1: a step failed; 2: something has to be named first, or
    the answer was no.
    """
    from mallku_deploy.provisioning import Meant, carry_out, read_file

    declaration = read_file(file, drop or [])
    meant = Meant.of(store, directory, file.parent)
    done = asyncio.run(carry_out(declaration, meant, yes=yes, compact=compact))
    raise typer.Exit(0 if done else PENDING)


def copy(
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="SPEC", help="Where everything is taken from.")
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="SPEC", help="Where it is put: an empty database.")
    ],
    from_user: User = None,
    from_password_file: PasswordFile = None,
    to_user: User = None,
    to_password_file: PasswordFile = None,
    into_existing: Annotated[
        bool,
        typer.Option(
            "--into-existing",
            help="Collections may hold documents; those with the same keys are replaced.",
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="How far the copy is; by default a file beside `up`'s data."
        ),
    ] = None,
    compact: Compact = False,
) -> None:
    """Copy a database into another store: documents, edges, indexes, graphs; then compare both.

    SPEC is `embedded:DIR#DATABASE` or `arango:URL#DATABASE`; without #DATABASE it is `mallku`.
    ArangoDB's user comes from the options, else from MALLKU_WORKER_ARANGO_USERNAME and
    _PASSWORD_FILE, TLS from _TLS_CA.

    Stop the workers of both sides first: this command holds the databases' own credentials and goes
    past the gateway, and what changes meanwhile is copied or not, and found when comparing. Keys
    stay; revisions are each store's own; the gateway's ledger stays where it is.

    What was interrupted, even killed, goes on where it was when the same command is given again.
    Exit code 0: every document is the same on both sides; 1: one is not, and is named.
    """
    from mallku_deploy.copying import Order, run

    order = Order(
        source=source,
        target=target,
        source_credentials=(from_user, from_password_file),
        target_credentials=(to_user, to_password_file),
        into_existing=into_existing,
        state=state,
    )
    raise typer.Exit(asyncio.run(run(order, compact=compact)))


add_command(app, "plan", plan, of="store")
add_command(app, "apply", apply, of="store")
add_command(app, "copy", copy, of="store")
