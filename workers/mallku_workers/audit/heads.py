"""What other workers say: their newest checkpoints, which this worker's own will name.

Whoever drops the end of one worker's checkpoints has to drop those of all the others as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.ranges import Range, ReadLimits, stream_state
from mallku_broker.stream_reader import StreamChanged, StreamReader
from mallku_broker.streams import CHECKPOINTS
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.limits import MAX_CHECKPOINT_BYTES
from mallku_contracts.trail.checkpoint import (
    MAX_HEADS,
    Checkpoint,
    CheckpointError,
    CheckpointOpener,
    Head,
)
from mallku_contracts.trust import Trust
from mallku_workers.identity import Trusting

LOOK_BACK: Final = 256
"""Of the checkpoints that were there before, how many of the newest are read."""

READ_AGAIN_S: Final = 1.0
"""Between two tries to read the checkpoints, seconds."""

_LIMITS: Final = ReadLimits(
    pull_messages=64, pull_bytes=16 * MAX_CHECKPOINT_BYTES, ahead=1, give_up_s=None
)
_log = structlog.get_logger("mallku.checkpoints")


class Heads:
    """The newest checkpoint of each other worker, of those `MAX_HEADS` that were heard last."""

    def __init__(self, own: str, trusting: Trusting) -> None:
        self._own = own
        self._trusting = trusting
        self._trust: Trust | None = None
        self._heads: dict[str, Head] = {}

    def all(self) -> Mapping[str, Head]:
        """The heads by instance."""
        return self._heads

    def hear(self, data: bytes) -> None:
        """Take a message of the checkpoint stream; what is not to be believed is logged alone."""
        try:
            checkpoint = self._open(data)
        except CheckpointError as error:
            _log.warning("checkpoint_not_believed", reason=str(error))
            return
        if checkpoint.header.worker != self._own:
            self._take(checkpoint.header.worker, checkpoint.head)

    def _open(self, data: bytes) -> Checkpoint:
        if self._trust is not self._trusting.trust:
            self._trust = self._trusting.trust
            self._opener = CheckpointOpener(self._trust)
        return self._opener.believe(data)

    def _take(self, worker: str, head: Head) -> None:
        known = self._heads.pop(worker, head)
        if known.number == head.number and known.hash != head.hash:
            _log.error("checkpoints_contradict", of=worker, number=head.number)
        self._heads[worker] = head if head.number > known.number else known
        if len(self._heads) > MAX_HEADS:
            del self._heads[next(iter(self._heads))]


async def follow_heads(connection: GatewayConnection, heads: Heads, instance: str) -> None:
    """Hear every checkpoint of the stream, the last `LOOK_BACK` first, until cancelled."""
    while True:
        try:
            state = await stream_state(connection, CHECKPOINTS)
            wanted = Range(CHECKPOINTS, first=max(1, state.last - LOOK_BACK + 1), follow=True)
            name = f"worker-{instance}"
            async with StreamReader(connection, wanted, name=name, limits=_LIMITS) as reader:
                while True:
                    for entry in await reader.next():
                        heads.hear(entry.data)
        except StreamChanged as error:
            _log.error("checkpoint_stream_changed", reason=error.message)
        except (ConfigurationError, GatewayUnreachable) as error:
            _log.warning("checkpoints_not_read", reason=error.message)
        await asyncio.sleep(READ_AGAIN_S)
