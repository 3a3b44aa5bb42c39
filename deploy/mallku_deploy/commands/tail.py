"""`tail`: follow commands, refusals and outcomes as they happen."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from mallku_deploy.commands.reading_trail import (
    Collections,
    Databases,
    Operations,
    Outcomes,
    PolicyFile,
    Principals,
    Since,
)
from mallku_deploy.options import As, Data, EnvFile

MAX_LAST: Final = 10_000
"""Records from before that can be asked for."""


def tail(
    *,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=MAX_LAST, help="So many records come first.")
    ] = 20,
    since: Since = None,
    principals: Principals = None,
    databases: Databases = None,
    collections: Collections = None,
    operations: Operations = None,
    outcomes: Outcomes = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every line, however fast they come.")
    ] = False,
    policy: PolicyFile = None,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
) -> None:
    """Follow the trail live: one line for each command, refusal and word about the gateway.

    Refusals and failures are always shown. Successes are too, as long as one can read along; when
    it gets faster some are, and the rest is counted every second. Times are the stream's, in UTC;
    fields that the policy hides from any reader are not shown.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.choosing import Chosen
    from mallku_deploy.auditing.running import run
    from mallku_deploy.auditing.tail import Manner
    from mallku_deploy.auditing.tail import tail as follow

    chosen = Chosen(
        since=since,
        principals=principals or (),
        databases=databases or (),
        collections=collections or (),
        operations=operations or (),
        outcomes=outcomes or (),
        follow=True,
    )
    manner = Manner(last, everything=everything, policy=policy)
    run(follow(find_auditor(env_file, data, principal), chosen, manner))
