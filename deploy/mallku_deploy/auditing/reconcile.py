"""`audit reconcile`: an administrator asks, a worker finds out, and its record is what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from mallku_broker.reconciliation import answered, ask_for_run, read_former
from mallku_client.settings import ClientSettings
from mallku_contracts.audit import Resolution
from mallku_contracts.errors import GatewayUnreachable
from mallku_deploy.administration import connect_by
from mallku_deploy.terminal import out, show_json

_WORDS: Final = {
    Resolution.COMMITTED: "committed",
    Resolution.NOT_APPLIED: "not applied",
    Resolution.POSSIBLY_ANSWERED: "possibly answered",
    Resolution.PENDING: "pending: nobody can know yet",
}

Facts = Mapping[str, Any]


async def ask_to_reconcile(administrator: ClientSettings, timeout_s: float) -> Facts:
    """Ask the workers for a run, and wait for the record of the one that answers.

    Raises:
        ConfigurationError: this is no administrator, or another asked at the same moment.
        GatewayUnreachable: the broker is silent, or no worker answered in time.
    """
    connection = await connect_by(administrator)
    try:
        last = await read_former(connection)
        request = await ask_for_run(connection)
        async with asyncio.timeout(timeout_s):
            return (await answered(connection, request, last.sequence)).facts
    except TimeoutError:
        raise GatewayUnreachable(
            f"no worker answered within {timeout_s:g} s; those that start do it by themselves"
        ) from None
    finally:
        await connection.close()


def show_facts(facts: Facts, *, compact: bool) -> None:
    """What the run found, for machines or for people."""
    if compact:
        show_json(dict(facts), compact=True)
        return
    for resolution, words in _WORDS.items():
        count = facts.get(resolution.value.replace("-", "_"), 0)
        if count:
            out.print(f"{count:>8}  {words}")
    if facts.get("vouched"):
        out.print(f"vouched for the last records of {', '.join(facts['vouched'])}")
    left = facts.get("left", 0)
    mark = "[yellow]![/]" if left else "[green]✓[/]"
    rest = f"{left} are open still: under way, or to be looked at again" if left else "none is open"
    out.print(f"{mark} intents without outcome: {rest} (below {facts.get('floor')} all are closed)")
