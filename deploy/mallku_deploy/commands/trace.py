"""`trace`: one command's way through the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from mallku_deploy.commands.reading_trail import PolicyFile
from mallku_deploy.options import As, Data, EnvFile


def trace(
    command: Annotated[str, typer.Argument(metavar="COMMAND_ID", help="Of any of its attempts.")],
    *,
    of: Annotated[
        str | None,
        typer.Option("--principal", help="Whose command, where two have the same id."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
    policy: PolicyFile = None,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Draw one command's way with times: signed, received, every step, and what is on the trail.

    All of it comes from the trail: no worker is asked, and nothing had to be switched on before.
    Attempts of one command, which share an idempotency key, are shown together. The id is in
    answers, in log lines, and in the header Mallku-Id where a client mirrors it.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.running import run
    from mallku_deploy.ways.showing import show_way

    settings = find_auditor(env_file, data, principal)
    run(show_way(settings, command, policy, principal=of, as_json=as_json))
