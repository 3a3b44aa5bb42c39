"""`audit rotate`: an administrator seals the trail's stream, and the trail goes on in the next."""

from __future__ import annotations

import time
from dataclasses import asdict

from mallku_broker.rotation import Rotated, rotate
from mallku_client.settings import ClientSettings
from mallku_contracts.limits import MIB
from mallku_deploy.administration import administer
from mallku_deploy.terminal import out, show_json


async def rotate_trail(administrator: ClientSettings) -> Rotated:
    """Rotate as this administrator; errors as of `mallku_broker.rotation.rotate`."""
    async with administer(administrator) as acting:
        return await rotate(
            acting.connection,
            acting.key,
            acting.administrators,
            lambda: time.time_ns() // 1_000_000,
        )


def show_rotated(made: Rotated, *, compact: bool) -> None:
    """What was done, for machines or for people."""
    if compact:
        show_json(asdict(made), compact=True)
        return
    room = f"{made.size / MIB:,.0f} MiB" if made.size > 0 else "no limit"
    out.print(f"[green]✓[/] {made.sealed} is sealed: {made.last:,} is its last sequence")
    out.print(
        f"[green]✓[/] {made.stream} goes on at {made.last + 1:,} ({room}); worker {made.worker}"
        f" wrote its first record. The trail was closed for {made.closed_ms:,} ms."
    )
