"""A worker's side of the trail, put together: records, checkpoints, and who else keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import TrailReader
from mallku_broker.ranges import Range, ReadLimits
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_contracts.trail.checkpoint import Head
from mallku_contracts.trust import Keys
from mallku_workers.audit.checkpoints import CheckpointLimits, Checkpoints
from mallku_workers.audit.heads import Heads, follow_heads
from mallku_workers.audit.numbers import Numbers
from mallku_workers.audit.publishing import Acknowledgements, AuditLimits
from mallku_workers.audit.rotating import Rotating
from mallku_workers.audit.seam import Seam
from mallku_workers.audit.witness import Witnessing
from mallku_workers.audit.writer import AuditWriter
from mallku_workers.identity import Trusting
from mallku_workers.replies import WorkerIdentity

PARTING_S: Final = 0.25
"""What the last checkpoint, and then the witness, may take when all time is used up, seconds."""

_NAME: Final = "find-back"
_READING: Final = ReadLimits(pull_messages=64, ahead=1, give_up_s=10.0)
_log = structlog.get_logger("mallku.trail")


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """What bounds a worker's side of the trail.

    Attributes:
        max_uncovered: Record numbers that no acknowledged checkpoint covers; from it on nothing new
            is executed.
    """

    records: AuditLimits
    checkpoints: CheckpointLimits
    max_uncovered: int


class Trail:
    """Writes records and makes checkpoints of them; made by `open_trail`.

    Attributes:
        audit: Writes the records.
        checkpoints: Makes the checkpoints.
        cut_off: Commands that were not finished, to be said at the end.
    """

    def __init__(
        self,
        audit: AuditWriter,
        checkpoints: Checkpoints,
        following: Callable[[], Any],
        witnessing: Witnessing | None,
    ) -> None:
        self.audit, self.checkpoints = audit, checkpoints
        self.cut_off = 0
        self._following = following
        self._witnessing = witnessing

    async def start(self, facts: dict[str, Any], timeout_s: float) -> None:
        """Say that this worker begins; waits until that stands, but not for longer."""
        await asyncio.wait((self.audit.started(facts),), timeout=timeout_s)

    async def keep(self) -> None:
        """Make checkpoints, and hear those of others, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.checkpoints.keep())
            group.create_task(self._following())

    async def bear_witness(self) -> None:
        """Bring checkpoints to the witness, if there is one, until cancelled."""
        if self._witnessing is not None:
            await self._witnessing.keep()

    async def stop(self, timeout_s: float) -> None:
        """Say that this worker ends, and wait for all of it; `keep` must have been cancelled."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        if left := await self.audit.stop(timeout_s, cut_off=self.cut_off):
            _log.error("outcomes_not_acknowledged", records=left)
        if not await self.checkpoints.finish(max(end - loop.time(), PARTING_S)):
            _log.error("no_final_checkpoint", last=self.checkpoints.head.number)
        if self._witnessing is not None:
            await self._witnessing.finish(max(end - loop.time(), PARTING_S))


async def open_trail(  # noqa: PLR0913 - everything that the trail stands on
    records: GatewayConnection,
    acknowledgements: Acknowledgements,
    identity: WorkerIdentity,
    trusting: Trusting,
    limits: TrailLimits,
    *,
    clock: Callable[[], int],
    witnessing: Witnessing | None,
    stack: AsyncExitStack,
    seam: Seam,
    administrators: Callable[[], Keys],
) -> Trail:
    """Put a worker's side of the trail together.

    Args:
        records: The connection in RECORDS.
        acknowledgements: Of the audit stream.
        stack: Takes what has to be closed.
        seam: Knows which stream takes records.
        administrators: Whose orders to begin another stream count.
    """
    instance = identity.instance
    numbers = Numbers(limits.max_uncovered)
    audit = AuditWriter(
        acknowledgements,
        instance,
        limits.records,
        clock,
        numbers,
        find_back=partial(find_back, records),
        seam=seam,
    )
    heads = Heads(instance, trusting)
    checkpoints = Checkpoints(
        await stack.enter_async_context(
            AcknowledgementMultiplexer(records, expected_stream=CHECKPOINTS)
        ),
        numbers,
        identity,
        trusting,
        limits.checkpoints,
        clock=clock,
        heads=heads.all,
        published=witnessing.offer if witnessing is not None else lambda _checkpoint: None,
    )

    def seen() -> Mapping[str, Head]:
        own = checkpoints.head
        return {**heads.all(), **({instance: own} if own.number else {})}

    rotating = Rotating(records, audit, administrators, seen)
    stack.push_async_callback(rotating.close)
    seam.when_begun(rotating.begun)
    return Trail(audit, checkpoints, lambda: follow_heads(records, heads, instance), witnessing)


async def find_back(
    records: GatewayConnection, subject: str, first: int, data: bytes
) -> int | None:
    """The last sequence, from `first` on, at which `data` stands under an audit subject.

    Raises:
        GatewayUnreachable, ConfigurationError: as of `StreamReader.next`.
    """
    found = None
    wanted = Range(AUDIT, (subject,), first=first)
    async with TrailReader(records, wanted, name=_NAME, limits=_READING) as reader:
        while batch := await reader.next():
            found = next((each.sequence for each in reversed(batch) if each.data == data), found)
    return found
