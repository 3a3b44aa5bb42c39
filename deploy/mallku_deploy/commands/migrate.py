"""`migrate`: what stands between a code base and the gateway."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.examples import add_command

app = typer.Typer(no_args_is_help=True, help="Move a code base behind the gateway.")


class Format(StrEnum):
    """Who reads the report."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@app.callback()
def migrate() -> None:
    """Move a code base behind the gateway."""


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders. Default: this folder.")
    ] = None,
    *,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Paths that are passed over.")
    ] = None,
    report: Annotated[
        Format, typer.Option("--format", help="For people, machines, or a code host.")
    ] = Format.TEXT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for what works and should change too.")
    ] = False,
) -> None:
    """List direct use of the database: file, line, and what to write instead.

    Nothing of it is imported or run. Exit code 1 when something is found that will not work behind
    the gateway. A line may stay with `# migrate: allow[MG103] reason` at its end or above it.
    """
    from mallku_deploy.migrating.checking import run_check
    from mallku_deploy.migrating.report import annotate, as_json, instead, line, summary
    from mallku_deploy.terminal import REFUSED, err, out, show_json

    checked = run_check(paths or [Path()], exclude or [])
    match report:
        case Format.JSON:
            show_json(as_json(checked), compact=True)
        case Format.GITHUB:
            for annotation in annotate(checked):
                out.out(annotation, highlight=False)
        case Format.TEXT:
            for found in checked.findings:
                out.print(line(found), soft_wrap=True)
            if checked.findings:
                err.print("", instead(checked))
    err.print(summary(checked))
    if checked.breaking or (strict and checked.findings):
        raise typer.Exit(REFUSED)


add_command(app, "check", check, of="migrate")
