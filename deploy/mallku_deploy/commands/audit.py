"""`audit`: what an auditor asks of the trail; each command's work lies in `auditing/`."""

from __future__ import annotations

import typer

from mallku_deploy.commands import (
    closing_trail,
    keeping_trail,
    proving_trail,
    reading_trail,
    rebuilding,
)
from mallku_deploy.examples import add_command

app = typer.Typer(no_args_is_help=True, help="Read, verify and prove the audit trail.")


@app.callback()
def audit() -> None:
    """Read, verify and prove the audit trail."""


add_command(app, "verify", proving_trail.verify, of="audit")
add_command(app, "prove", proving_trail.prove, of="audit")
add_command(app, "replay", reading_trail.replay, of="audit")
add_command(app, "history", reading_trail.history, of="audit")
add_command(app, "export", reading_trail.export, of="audit")
add_command(app, "reconcile", closing_trail.reconcile, of="audit")
add_command(app, "custody", keeping_trail.custody, of="audit")
add_command(app, "rotate", keeping_trail.rotate, of="audit")
add_command(app, "rebuild", rebuilding.rebuild, of="audit")
add_command(app, "hash", rebuilding.hash_, of="audit")
