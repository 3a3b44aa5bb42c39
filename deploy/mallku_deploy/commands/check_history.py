"""`check-history`: hold what clients were told against trail, ledger and store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mallku_deploy.options import As, Compact, Data, EnvFile

MAX_SETTLE_S: Final = 3_600.0
"""The longest that intents are waited for, seconds."""

SKEW_S: Final = 0.1
"""By how much clocks of clients and workers may differ by default, seconds."""


def check_history(
    histories: Annotated[
        list[Path],
        typer.Argument(
            metavar="HISTORY", help="What clients wrote; a folder means its *.jsonl files."
        ),
    ],
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Look into embedded:DIR or arango:URL itself. Default: through the gateway.",
            show_default=False,
        ),
    ] = None,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Look at what store and ledger hold now.")
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Verify the trail by itself as well.")
    ] = True,
    skew: Annotated[
        float, typer.Option(min=0, max=60, help="How far clocks may be apart, seconds.")
    ] = SKEW_S,
    settle: Annotated[
        float,
        typer.Option(min=0, max=MAX_SETTLE_S, help="Wait so long for open intents, seconds."),
    ] = 0.0,
    env_file: EnvFile = None,
    caller_env_file: Annotated[
        Path | None,
        typer.Option(
            "--caller-env-file",
            metavar="FILE",
            help="Look at store and ledger as this caller; --env-file is the auditor's then.",
            show_default=False,
        ),
    ] = None,
    principal: As = None,
    data: Data = None,
    compact: Compact = False,
) -> None:
    """Check recorded histories: nothing acknowledged is lost, nothing done twice or in secret.

    Clients record with MALLKU_HISTORY_FILE=FILE in their environment. For every document it is
    also judged whether one order of all calls explains every answer (linearizability). Calls of
    clients that record nothing are taken from the trail. Exit code 0: no anomaly, 1: anomalies,
    2: no anomaly, but something could not be judged.
    """
    from mallku_deploy.auditing.running import run as run_to_end
    from mallku_deploy.checking.gathering import Wish
    from mallku_deploy.checking.running import Asked, run

    asked = Asked(
        wish=Wish(tuple(histories), settle, skew, lists=store is not None),
        store=store,
        look=look,
        verify=verify,
        env_file=env_file,
        caller_env_file=caller_env_file,
        principal=principal,
        data=data,
    )
    run_to_end(run(asked, compact=compact))
