"""`audit custody` and `audit rotate`: how the trail is kept, and where it goes on."""

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


def rotate(*, data: Data = None, env_file: EnvFile = None, compact: Compact = False) -> None:
    """Seal the trail's stream, and let the trail go on in a new one.

    What was written stays where it is, and takes nothing any more; sequences go on, so that
    `verify`, `replay`, `history`, `export`, `prove` and `rebuild` read all of it as one. The first
    record of the new stream names the last one of the old, and holds this order, signed with the
    administrator's key. For a moment nothing is executed; nothing is lost. Interrupted, run it
    again: it goes on where it stopped, and until then the trail takes nothing.
    """
    from mallku_deploy.administration import find_administrator
    from mallku_deploy.auditing.rotate import rotate_trail, show_rotated

    show_rotated(asyncio.run(rotate_trail(find_administrator(env_file, data))), compact=compact)
