"""The last records of workers that died: what stands in the trail beyond their last checkpoint.

A worker covers what it wrote within seconds. One that is silent for long and left records which no
checkpoint of its own covers is taken for dead, and another vouches for what stands there. Should it
have been cut off alone, it will say the same of these records again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.ranges import Range
from mallku_broker.single import newest_message
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.trail.checkpoint import (
    CheckpointError,
    Vouch,
    checkpoint_subject,
    open_checkpoint,
    record_leaf,
)
from mallku_contracts.trail.merkle import root_of
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trust import Trust
from mallku_workers.reconciling.intents import Written
from mallku_workers.reconciling.trail import read_on

LOOK_BACK_MS: Final = 600_000
"""Records may stand before others with lower numbers, by no more than this, milliseconds."""

MAX_TAIL: Final = 200_000
"""Records of one tail; a worker stops long before it has so many that nothing covers."""

_log = structlog.get_logger("mallku.reconciler")


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a worker's own checkpoints go.

    Attributes:
        last: The highest number that they cover; 0 for none.
        sequence: The highest sequence that was seen among what they cover.
        time_ms: When the newest was made; 0 where there is none.
        final: The worker ended in order.
    """

    last: int = 0
    sequence: int = 0
    time_ms: int = 0
    final: bool = False

    def reaches(self, highest: int) -> bool:
        """Whether nobody has to vouch for a worker whose highest number is this one."""
        return self.final or self.last >= highest


async def coverage_of(connection: GatewayConnection, worker: str, trust: Trust) -> Coverage | None:
    """What a worker's newest checkpoint covers; None where that cannot be believed.

    Raises:
        GatewayUnreachable, ConfigurationError: the checkpoints cannot be read.
    """
    entry = await newest_message(connection, CHECKPOINTS, checkpoint_subject(worker))
    if entry is None:
        return Coverage()
    try:
        checkpoint = open_checkpoint(entry.data, trust)
    except CheckpointError as error:
        _log.warning("checkpoint_not_believed", of=worker, reason=str(error))
        return None
    said = checkpoint.statement
    return Coverage(said.last, said.sequence, checkpoint.header.time, said.final)


class Tail:
    """Takes the records of a trail, and keeps the leaves of one worker's that nothing covers."""

    def __init__(self, worker: str, covered: Coverage) -> None:
        self._worker = worker
        self._covered = covered
        self._leaves: dict[int, tuple[int, bytes]] = {}
        self._hashes: dict[int, bytes] = {}

    @property
    def full(self) -> bool:
        """Whether there are more than any worker can leave behind; no more are kept then."""
        return len(self._leaves) > MAX_TAIL

    def take(self, record: Record, entry: TrailEntry) -> None:
        """One more record; of one that stands there twice the last counts.

        It was published again because nobody heard of the first; another one under its number is
        not its worker's.
        """
        ours = record.worker == self._worker and record.number > self._covered.last
        if ours and not self.full:
            digest = record_hash(entry.data)
            if self._hashes.setdefault(record.number, digest) == digest:
                leaf = record_leaf(record.number, entry.sequence, digest)
                self._leaves[record.number] = (entry.sequence, leaf)

    def vouch(self) -> Vouch | None:
        """What can be said of the tail; None where there is none."""
        numbers = sorted(self._leaves)
        if not numbers or self.full:
            return None
        return Vouch(
            self._worker,
            self._covered.last + 1,
            numbers[-1],
            len(numbers),
            root_of(self._leaves[number][1] for number in numbers),
            max(sequence for sequence, _ in self._leaves.values()),
        )


async def vouch_for(
    connection: GatewayConnection, dead: Mapping[str, tuple[Written, Coverage]]
) -> list[Vouch]:
    """Read the tails of workers that are dead, all of them at once.

    Raises:
        GatewayUnreachable, ConfigurationError: the trail cannot be read.
    """
    covered = {name: Tail(name, its) for name, (_, its) in dead.items() if its.time_ms}
    if covered:
        since_ms = max(0, min(dead[name][1].time_ms for name in covered) - LOOK_BACK_MS)
        await _take(connection, Range(AUDIT, since_ms=since_ms), covered)
    bare = {name: Tail(name, its) for name, (_, its) in dead.items() if not its.time_ms}
    if bare:
        first = min(dead[name][0].first for name in bare)
        await _take(connection, Range(AUDIT, first=first), bare)
    vouches = (tail.vouch() for tail in (covered | bare).values())
    return [vouch for vouch in vouches if vouch is not None]


async def _take(connection: GatewayConnection, wanted: Range, tails: Mapping[str, Tail]) -> None:
    def take(entry: TrailEntry) -> None:
        try:
            record = Record.read(entry.data)
        except RecordError:
            return
        tail = tails.get(record.worker)
        if tail is not None:
            tail.take(record, entry)

    await read_on(
        connection, wanted, take, enough=lambda: all(tail.full for tail in tails.values())
    )


Believing = Callable[[], Trust]
"""Whose checkpoints are believed now."""
