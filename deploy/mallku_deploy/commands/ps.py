"""`ps`: the workers that run, as they say themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mallku_deploy.options import As, Data, EnvFile

MIN_EVERY_S = 0.2
"""The shortest time between two looks, seconds."""

MAX_EVERY_S = 3_600.0
"""The longest, seconds."""


def ps(
    *,
    once: Annotated[bool, typer.Option("--once", help="Show them once, and stop.")] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every",
            metavar="SECONDS",
            min=MIN_EVERY_S,
            max=MAX_EVERY_S,
            help="Between two looks.",
        ),
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line for each worker, for machines.")
    ] = False,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Show every worker: who it is, its load, its store's breaker, the trail, policy and health.

    Workers are found by asking the broker (NATS ADR-32), as an inspector. Each answer is signed for
    the question; who cannot prove to be a worker is shown as not believed. `nats micro stats` shows
    the same counts by operation.
    """
    from mallku_deploy.auditing.auditor import find_kind
    from mallku_deploy.auditing.running import run
    from mallku_deploy.watching.ps import ps as watch

    settings = find_kind("inspector", env_file, data, principal)
    expected = expected_workers(data, env_file)
    run(watch(settings, every_s=every, once=once, as_json=as_json, expected=expected))


def expected_workers(data: Path | None, env_file: Path | None) -> int:
    """How many workers the `up` of a house has; 0 where nobody knows."""
    from mallku_deploy.house import House, default_house
    from mallku_deploy.tenancy import find

    if env_file is not None:
        return 0
    running = find(House(data.absolute()) if data else default_house())
    return 0 if running is None else running.workers
