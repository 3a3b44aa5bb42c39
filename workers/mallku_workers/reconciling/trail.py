"""The trail as a reconciler reads it, without keeping commands waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import TrailReader, record_at
from mallku_broker.ranges import Range, ReadLimits
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.limits import MIB
from mallku_contracts.trail.stored import TrailEntry

AT_ONCE: Final = 50
"""Records that are looked at before commands have a turn again."""

READING: Final = ReadLimits(pull_messages=500, pull_bytes=8 * MIB, ahead=2, give_up_s=30.0)
"""How much is read ahead, and how long the broker may be silent."""

_NAME: Final = "reconcile"


async def read_on(
    connection: GatewayConnection,
    wanted: Range,
    take: Callable[[TrailEntry], object],
    *,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Hand every message of a range to `take` until its end, or until there is `enough`.

    Raises:
        GatewayUnreachable, ConfigurationError: as of `StreamReader.next`.
    """
    async with TrailReader(connection, wanted, name=_NAME, limits=READING) as reader:
        while batch := await reader.next():
            for place, entry in enumerate(batch, start=1):
                take(entry)
                if place % AT_ONCE == 0:
                    await asyncio.sleep(0)
            if enough():
                return


def reader_of_records(connection: GatewayConnection) -> Callable[[int], Awaitable[Record | None]]:
    """What reads one record by its sequence; None where there is none that can be read."""

    async def read(sequence: int) -> Record | None:
        entry = await record_at(connection, sequence)
        if entry is None:
            return None
        try:
            return Record.read(entry.data)
        except RecordError:
            return None

    return read
