"""`audit reconcile`: close what crashed workers left open, now."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from mallku_deploy.options import Compact, Data, EnvFile


def reconcile(
    wait: Annotated[
        float, typer.Option("--wait", min=1, max=600, help="For a worker's answer, seconds.")
    ] = 60.0,
    data: Data = None,
    env_file: EnvFile = None,
    compact: Compact = False,
) -> None:
    """Find out now what became of intents without outcome, and write it on the trail.

    Workers do this when they start, and every minute after that; here an administrator asks one of
    them to do it at once, and is shown its record. Nothing else reaches the store: this command has
    no worker's credentials, and needs none.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.auditing.reconcile import ask_to_reconcile, show_facts

    facts = asyncio.run(ask_to_reconcile(find_administrator(env_file, data), wait))
    show_facts(facts, compact=compact)
