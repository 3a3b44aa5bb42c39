"""`audit custody`: whether the trail is kept as it has to be."""

from __future__ import annotations

import asyncio

import typer

from mallku_deploy.options import As, Compact, Data, EnvFile


def custody(
    *,
    env_file: EnvFile = None,
    principal: As = None,
    data: Data = None,
    compact: Compact = False,
) -> None:
    """Show how the trail's streams are kept, and whatever could lose a record.

    Asked as an auditor, of the server: what may be deleted or purged, how full each stream is, on
    how many servers it is kept, where, and which of them are behind. Exit code 0: as it has to be;
    1: something is weak, and is named. Who changed a stream stands on the trail itself.
    """
    from mallku_deploy.auditing.auditor import find_auditor
    from mallku_deploy.auditing.custody import look, show
    from mallku_deploy.terminal import REFUSED

    found = asyncio.run(look(find_auditor(env_file, data, principal)))
    show(found, compact=compact)
    raise typer.Exit(0 if all(each.is_sound for each in found) else REFUSED)
