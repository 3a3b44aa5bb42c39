"""The checkpoints of each worker as a chain: believed, in order, and the same for everybody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mallku_contracts.trail.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointOpener,
    UntrustedCheckpoint,
)
from mallku_contracts.trail.findings import Finding, Findings, Kind
from mallku_contracts.trail.resume import WorkerPoint

MAX_REMEMBERED_HASHES: Final = 128
"""Checkpoints of one worker whose hashes are remembered, to compare with what others have seen."""

Points = defaultdict[str, WorkerPoint]
"""What is known of each worker; shared by everybody who finds something out."""


@dataclass(slots=True)
class _Seen:
    """Hashes of a worker's checkpoints by number: those that stand here, and those awaited."""

    hashes: dict[int, bytes] = field(default_factory=dict[int, bytes])
    awaited: dict[int, dict[bytes, str]] = field(default_factory=dict[int, dict[bytes, str]])


class Chains:
    """Every worker's chain of checkpoints.

    Args:
        points: Changed as checkpoints come.
        stream: The name of the stream that checkpoints have to be about.
    """

    def __init__(
        self, findings: Findings, points: Points, opener: CheckpointOpener, stream: str
    ) -> None:
        self._findings = findings
        self._points = points
        self._opener = opener
        self._stream = stream
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self.believed = 0
        for worker, point in points.items():
            if point.checkpoint:
                self._seen[worker].hashes[point.checkpoint] = point.hash

    def expect(self, worker: str, number: int, digest: bytes, origin: str) -> bool:
        """Somebody (`origin`, for people) has seen this checkpoint: it has to be in the stream.

        Returns:
            False where that cannot be said: it is older than the ones whose hashes are remembered.
        """
        seen = self._seen[worker]
        held = seen.hashes.get(number)
        if held is not None:
            self._compare(worker, number, held, digest, origin)
            return True
        if number <= self._points[worker].checkpoint:
            return False
        seen.awaited.setdefault(number, {}).setdefault(digest, origin)
        return True

    def take(self, sequence: int, subject: str, data: bytes) -> Checkpoint | None:
        """The checkpoint in a message, where it may be held against records; else say why not."""
        checkpoint = self._open(sequence, subject, data)
        if checkpoint is None:
            return None
        self.believed += 1
        if not self._follows(checkpoint, sequence):
            return None
        self._extend(checkpoint)
        for worker, head in checkpoint.statement.heads.items():
            self.expect(worker, head.number, head.hash, f"worker {checkpoint.header.worker}")
        return checkpoint

    def finish(self) -> None:
        """Say which checkpoints others have seen, and are not here."""
        for worker, seen in self._seen.items():
            newest = self._points[worker].checkpoint
            awaited = [(n, who) for n, each in seen.awaited.items() for who in each.values()]
            for number, origin in awaited:
                text = (
                    f"{origin} has seen checkpoint {number} of {worker}; the newest that stands"
                    f" here is {newest}"
                )
                self._findings.note(Kind.CHECKPOINT_MISSING, text, worker=worker, number=number)

    def _open(self, sequence: int, subject: str, data: bytes) -> Checkpoint | None:
        try:
            checkpoint = self._opener.believe(data)
        except CheckpointError as error:
            unknown = isinstance(error, UntrustedCheckpoint)
            kind = Kind.UNKNOWN_KEY if unknown else Kind.CHECKPOINT
            self._findings.note(kind, f"{subject}: {error}", sequence=sequence)
            return None
        if checkpoint.subject != subject:
            text = f"a checkpoint of {checkpoint.header.worker} stands under {subject}"
            self._findings.add(about(checkpoint, Kind.MISPLACED, text, sequence))
        elif checkpoint.statement.stream != self._stream:
            text = f"it is about the stream {checkpoint.statement.stream}, not {self._stream}"
            self._findings.add(about(checkpoint, Kind.CHECKPOINT, text, sequence))
        else:
            return checkpoint
        return None

    def _follows(self, checkpoint: Checkpoint, sequence: int) -> bool:
        """Whether it may be taken; that a former one is missing is said, and forgiven."""
        header = checkpoint.header
        point = self._points[header.worker]
        if point.kid and header.kid != point.kid:
            text = f"signed with {header.kid}, the former ones with {point.kid}"
            self._findings.add(about(checkpoint, Kind.FOREIGN_KEY, text, sequence))
            return False
        if header.number <= point.checkpoint:
            self._findings.add(self._again(checkpoint, point, sequence))
            return False
        if (header.number, header.previous) != (point.checkpoint + 1, point.hash):
            text = f"number {header.number} does not follow number {point.checkpoint}"
            self._findings.add(about(checkpoint, Kind.CHAIN, text, sequence))
        return True

    def _again(self, checkpoint: Checkpoint, point: WorkerPoint, sequence: int) -> Finding:
        """A number that was there already: the same checkpoint, or another one."""
        number = checkpoint.header.number
        held = self._seen[checkpoint.header.worker].hashes.get(number)
        if checkpoint.hash == point.hash:
            text = f"checkpoint {number} stands twice, byte for byte"
            return about(checkpoint, Kind.COPY, text, sequence)
        if held in (None, checkpoint.hash):
            text = f"checkpoint {number} comes again, after {point.checkpoint}"
            return about(checkpoint, Kind.OLD_CHECKPOINT, text, sequence)
        text = f"another checkpoint has the number {number} already"
        return about(checkpoint, Kind.FORK, text, sequence)

    def _extend(self, checkpoint: Checkpoint) -> None:
        header = checkpoint.header
        point, seen = self._points[header.worker], self._seen[header.worker]
        point.kid, point.checkpoint, point.hash = header.kid, header.number, checkpoint.hash
        seen.hashes[header.number] = checkpoint.hash
        if len(seen.hashes) > MAX_REMEMBERED_HASHES:
            del seen.hashes[next(iter(seen.hashes))]
        for digest, origin in seen.awaited.pop(header.number, {}).items():
            self._compare(header.worker, header.number, checkpoint.hash, digest, origin)

    def _compare(self, worker: str, number: int, held: bytes, seen: bytes, origin: str) -> None:
        if held != seen:
            text = f"{origin} has seen another checkpoint {number} of {worker} than stands here"
            self._findings.note(Kind.FORK, text, worker=worker, number=number)


def points_of(workers: Mapping[str, WorkerPoint]) -> Points:
    """Points that may be changed, with what is known of each worker."""
    points: Points = defaultdict(WorkerPoint)
    points.update(workers)
    return points


def about(
    checkpoint: Checkpoint,
    kind: Kind,
    text: str,
    sequence: int | None = None,
    number: int | None = None,
) -> Finding:
    """A finding about a checkpoint, or about the record of this `number` that it covers."""
    header = checkpoint.header
    return Finding(kind, text, sequence, header.worker, number or header.number)
