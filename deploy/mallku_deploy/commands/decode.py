"""`decode`'s help; the work is done by `mallku_deploy.decode`, without the terminal library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.options import Compact


def decode(
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check token and signature against the trust file.")
    ] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Keep names, hide the values of documents.")
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option(help="Hide the fields that this policy hides from anybody.", metavar="FILE"),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Many messages, as `nats sub --raw` writes them, live."),
    ] = False,
    compact: Compact = False,
    subject: Annotated[
        str | None, typer.Option(help="Where the message was seen; part of what is signed.")
    ] = None,
    trust_file: Annotated[
        str | None, typer.Option(envvar="MALLKU_TRUST_FILE", help="Whose tokens are believed.")
    ] = None,
) -> None:
    """Make one message readable, or with `--stream` many: standard input to standard output.

    Commands, replies, audit records, checkpoints, signed documents, JSON, text: whatever comes is
    described as JSON, and nothing makes it fail. With `--verify` the answer holds `"verified"` and
    the reason when not.
    """
    from mallku_deploy.decode import main

    flags = {"--verify": verify, "--redact": redact, "--stream": stream, "--json": compact}
    values = {"--subject": subject, "--trust-file": trust_file, "--policy": policy}
    arguments = [name for name, given in flags.items() if given]
    arguments += [f"{name}={value}" for name, value in values.items() if value is not None]
    raise typer.Exit(main(arguments))
