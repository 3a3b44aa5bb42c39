"""`http`: the HTTP door, in front of a gateway that runs here or anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.options import EnvFile


def http(
    *,
    host: Annotated[
        str | None,
        typer.Option(help="Where to listen. Default: 127.0.0.1", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="0 takes a free one. Default: 8080", show_default=False
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="How callers reach it, as the policy has it: their proofs name it."
            " Default: the URL at which it listens",
            show_default=False,
        ),
    ] = None,
    services: Annotated[
        Path | None,
        typer.Option(
            help="Callers that cannot sign: hashes of their secrets, and their keys (JSON).",
            show_default=False,
        ),
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Serve documents, queries and jobs over HTTP until SIGTERM or Ctrl-C.

    The environment says who the door is and where the gateway: MALLKU_API_GATEWAY_URL (NATS),
    MALLKU_KEY_FILE, _TOKEN_FILE, _TRUST_FILE, _NATS_CREDENTIALS of a principal of kind door.
    It acts for the callers that the policy names, and only with their own proof (DPoP), or with
    a key of theirs that it holds. `/openapi.json` describes every path.
    """
    from dataclasses import replace

    from mallku_client.arguments import given
    from mallku_deploy.extras import require_http
    from mallku_deploy.speaker import find_speaker

    require_http()
    from mallku_client.http.settings import DoorSettings
    from mallku_deploy.door import run_door

    settings = DoorSettings.from_environment()
    asked = given(host=host, port=port, origin=origin and origin.lower(), services_file=services)
    run_door(find_speaker(env_file, None, None), replace(settings, **asked))
