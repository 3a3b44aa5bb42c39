"""`contract`: what the gateway takes and answers, for machines and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["asyncapi", "schemas", "html"]


def contract(
    *,
    form: Annotated[
        Format,
        typer.Option("--format", help="AsyncAPI 3, JSON Schemas, or a page for people."),
    ] = "asyncapi",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Into a file.", show_default=False)
    ] = None,
) -> None:
    """Show the contract: every subject, message, argument, result and error code.

    It is made from the table of operations that client and workers work by, so it cannot say
    anything else than they do. The bytes of the envelope are in docs/wire.md.
    """
    from mallku_contracts.errors import ConfigurationError
    from mallku_deploy.contract import render
    from mallku_deploy.terminal import out

    text = render(form)
    if output is None:
        out.out(text, end="", highlight=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from error
