"""Messages in an audit stream to read back; they need not be records."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.streams import AUDIT
from mallku_client.trail import AuditReader, ReadLimits, Selection, TrailEntry
from tests.support.nats import PATIENCE_S, WORKER_RECORDS, NatsHouse, until

AUDITOR = "auditor"

QUICK = ReadLimits(
    pull_messages=7, pull_s=1.0, heartbeat_s=0.5, silence_s=1.5, again_s=0.05, give_up_s=PATIENCE_S
)
"""Small requests, so that their ends are met often, and little patience."""

SUBJECT = "mallku.v1.audit.mallku.mallku.anchors.insert.done"


@dataclass
class Scribe:
    """Writes into the stream of a house, as a worker does."""

    house: NatsHouse
    written: list[bytes] = field(default_factory=list[bytes])
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def write(self, *bodies: bytes, subject: str = SUBJECT) -> int:
        """Store messages in this order; the last one's sequence."""
        async with (
            self.house.connection(WORKER_RECORDS) as connection,
            AcknowledgementMultiplexer(connection, expected_stream=AUDIT) as stream,
        ):
            acks = [
                stream.publish(
                    subject, body, message_id=f"t.{next(self.numbers)}", timeout=PATIENCE_S
                )
                for body in bodies
            ]
            stored = await asyncio.gather(*acks)
        self.written += bodies
        return stored[-1].sequence

    async def count(self, how_many: int) -> list[bytes]:
        """Store so many different messages; what they hold."""
        begin = len(self.written)
        bodies = [f"message {begin + number}".encode() for number in range(how_many)]
        await self.write(*bodies)
        return bodies


async def read(reader: AuditReader, selection: Selection | None = None) -> list[TrailEntry]:
    """All that is selected, up to its end."""
    async with asyncio.timeout(PATIENCE_S):
        return [entry async for entry in reader.entries(selection or Selection())]


def bodies(entries: Sequence[TrailEntry]) -> list[bytes]:
    """What the messages hold."""
    return [entry.data for entry in entries]


class Follower:
    """Follows the trail in a task of its own and remembers what came."""

    def __init__(self, reader: AuditReader, selection: Selection) -> None:
        self.came: list[TrailEntry] = []
        self.task = asyncio.create_task(self._follow(reader, selection))

    async def _follow(self, reader: AuditReader, selection: Selection) -> None:
        async with aclosing(reader.entries(selection, follow=True)) as entries:
            async for entry in entries:
                self.came.append(entry)

    async def has(self, how_many: int) -> list[bytes]:
        """Wait until so many messages came; what they hold."""
        await until(lambda: len(self.came) >= how_many or self.task.done())
        if self.task.done():
            await self.task
        return bodies(self.came)

    async def stop(self) -> None:
        """Read no more."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
