"""`health`: whether the workers are ready, for people and for probes."""

from __future__ import annotations

from typing import Annotated

import typer

from mallku_deploy.options import MAX_WORKERS, As, Data, EnvFile


def health(
    *,
    http: Annotated[
        str | None,
        typer.Option(
            "--http", metavar="ADDRESS", help="Ask one worker at its own address, without NATS."
        ),
    ] = None,
    expected: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=MAX_WORKERS,
            help="How many there should be. Default: those of the `up` that runs, or any.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line, for machines.")] = False,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Say of every worker whether it is ready, and why not; exit code 0 when all are, else 1.

    Looked at are the broker, the trail, the store, the policy, the clock and the worker's own event
    loop. A worker that is not ready stays, and answers each command with the error that says why.
    """
    from mallku_deploy.auditing.auditor import find_kind
    from mallku_deploy.auditing.running import run
    from mallku_deploy.commands.ps import expected_workers
    from mallku_deploy.watching.health import health as ask
    from mallku_deploy.watching.health import probe

    if http is not None:
        raise typer.Exit(probe(http, as_json=as_json))
    settings = find_kind("inspector", env_file, data, principal)
    known = expected_workers(data, env_file) if expected is None else expected
    run(ask(settings, expected=known, as_json=as_json))
