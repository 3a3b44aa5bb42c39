"""What checkpoints cover: their roots against the records that stand under their numbers.

What is kept is bounded by the number of workers and by the records that no checkpoint covers yet.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from mallku_contracts.trail import disproof
from mallku_contracts.trail.chains import Points, about
from mallku_contracts.trail.checkpoint import Checkpoint
from mallku_contracts.trail.entry import Entry
from mallku_contracts.trail.findings import Findings, Kind
from mallku_contracts.trail.resume import Leaf, WorkerPoint
from mallku_contracts.trail.tails import Tails

MAX_LATE_VOID: Final = 10_000
"""Void numbers of one worker whose record may still arrive; beyond it the lower are forgotten."""

LATE_VOID_MS: Final = 3_600_000
"""For so long after its checkpoint the record of a void number may arrive, milliseconds: what was
published stands at once, or when a connection that hangs is given up at last."""

MAX_WAITING_RECORDS: Final = 500_000
"""Records that are read while a checkpoint waits for those that it covers."""


class Coverage:
    """Holds records and checkpoints of all workers against each other.

    Args:
        points: Changed as records and checkpoints come.
        end: The last sequence that will be read of the stream of records.
        void: Told of each number that a worker declares void.

    Attributes:
        covered: How many records are under the roots of believed checkpoints.
    """

    def __init__(
        self, findings: Findings, points: Points, end: int, void: Callable[[str, int], None]
    ) -> None:
        self._findings = findings
        self._points = points
        self._end = end
        self._void = void
        self._tails = Tails(findings, points, end)
        self._suspects: defaultdict[str, set[int]] = defaultdict(set[int])
        self._waiting: deque[Checkpoint] = deque()
        self._waited = 0
        self.covered = 0

    @property
    def waiting(self) -> int:
        """Checkpoints that wait for records which they cover."""
        return len(self._waiting)

    def is_void(self, worker: str, number: int) -> bool:
        """Whether its worker declared this number void, and its record was not seen yet."""
        point = self._points.get(worker)
        return point is not None and number in point.void

    def record(self, entry: Entry) -> bool:
        """Take one more record; whether it is one that was not there before."""
        point, number = self._points[entry.worker], entry.number
        point.records += 1
        point.newest = max(point.newest, entry.time)
        self._waited += bool(self._waiting)
        if number in point.leaves:
            return self._copy(point, entry)
        if number <= point.covered:
            return self._late(point, entry)
        if entry.problems:
            self._suspects[entry.worker].add(number)
        if not point.leaves:
            point.since = entry.time
        point.leaves[number] = Leaf(entry.sequence, entry.hash, entry.kind == "intent")
        return True

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Take a checkpoint that follows its former ones."""
        self._waiting.append(checkpoint)

    def advance(self, position: int) -> None:
        """Judge the checkpoints whose records were all read, up to this sequence."""
        while self._waiting and (
            position >= self._needs(self._waiting[0]) or self._waited > MAX_WAITING_RECORDS
        ):
            self._waited = 0
            self._judge(self._waiting.popleft())

    def finish(self, now_ms: int) -> None:
        """Judge what still waits, and say what is covered by nothing; `now_ms` is Unix ms."""
        while self._waiting:
            self._judge(self._waiting.popleft())
        self._tails.finish(now_ms)

    def _needs(self, checkpoint: Checkpoint) -> int:
        statement = checkpoint.statement
        if not statement.vouches:
            return min(statement.sequence, self._end)
        needs = max(statement.sequence, *(vouch.sequence for vouch in statement.vouches))
        return min(needs, self._end)

    def _late(self, point: WorkerPoint, entry: Entry) -> bool:
        """A record whose number its worker's checkpoints have passed."""
        number = entry.number
        if number in point.void:
            del point.void[number]
            if entry.kind != "intent":
                self._accuse_void(entry.worker, number, entry.sequence)
            return entry.kind == "intent"
        vouched = self._tails.vouched(entry.worker, number)
        if vouched is not None and vouched.hash == entry.hash:
            return self._repeat(entry, vouched)
        if vouched is None and 0 < point.vouched_from <= number:  # its worker lived on
            point.since = point.newest
            point.leaves[number] = Leaf(entry.sequence, entry.hash, entry.kind == "intent")
            return True
        text = f"checkpoints of {entry.worker} had covered number {number} before, without it"
        self._findings.at(entry, Kind.INSERTED, text)
        return False

    def _copy(self, point: WorkerPoint, entry: Entry) -> bool:
        """A second record under a number that waits for its checkpoint."""
        first = point.leaves[entry.number]
        copies = point.copies.get(entry.number, ())
        point.copies[entry.number] = (*copies, Leaf(entry.sequence, entry.hash))
        if first.hash == entry.hash:
            return self._repeat(entry, first)
        text = f"{entry.worker} has another record of number {entry.number} at {first.sequence}"
        self._findings.at(entry, Kind.REPEATED, text)
        return False

    def _repeat(self, entry: Entry, first: Leaf) -> bool:
        """The same bytes again: an outcome is published again when its acknowledgement is lost."""
        kind = Kind.REPEATED if entry.kind == "intent" else Kind.COPY
        self._findings.at(entry, kind, f"it stands at {first.sequence} too, byte for byte")
        return False

    def _judge(self, checkpoint: Checkpoint) -> None:
        """Hold a checkpoint against the records of its numbers."""
        statement, worker = checkpoint.statement, checkpoint.header.worker
        point = self._points[worker]
        if point.final:
            text = "its worker had said that it ended"
            self._findings.add(about(checkpoint, Kind.AFTER_END, text))
        if self._joins(point, checkpoint):
            self._judge_root(point, checkpoint)
            self._declare_void(point, checkpoint)
            self._forget(worker, statement.last)
        for vouch in statement.vouches:
            self.covered += self._tails.judge(vouch, checkpoint)
        point.final = point.final or statement.final

    def _joins(self, point: WorkerPoint, checkpoint: Checkpoint) -> bool:
        """Whether its numbers begin where the former ones ended."""
        first = checkpoint.statement.first
        if first <= point.covered and point.vouched:
            self._tails.take_back(checkpoint.header.worker, first)
        if first == point.covered + 1:
            return True
        text = f"it covers numbers from {first}; {point.covered} were covered before"
        self._findings.add(about(checkpoint, Kind.CHAIN, text))
        if first <= point.covered:
            return False
        self._forget(checkpoint.header.worker, first - 1)
        return True

    def _judge_root(self, point: WorkerPoint, checkpoint: Checkpoint) -> None:
        statement, held = checkpoint.statement, point.leaves
        void = set(statement.void)
        numbers = [n for n in range(statement.first, statement.last + 1) if n not in void]
        missing = [number for number in numbers if number not in held]
        if missing:
            highest = max((number for number in numbers if number in held), default=0)
            self._miss([number for number in missing if number < highest], checkpoint)
            self._miss_end([number for number in missing if number > highest], checkpoint)
            return
        leaves = [(number, held[number]) for number in numbers]
        self.covered += len(leaves)
        chosen = disproof.choose(leaves, point.copies, statement.root)
        if chosen is None:
            self._accuse(self._suspects[checkpoint.header.worker], checkpoint, leaves)
        elif max((leaf.sequence for _, leaf in chosen), default=0) != statement.sequence:
            text = f"it names sequence {statement.sequence}, at which none of its records stands"
            self._findings.add(about(checkpoint, Kind.CHECKPOINT, text))

    def _miss(self, missing: list[int], checkpoint: Checkpoint) -> None:
        """Numbers are on no record, and there are higher ones that are."""
        if missing:
            text = f"{_covers(checkpoint, missing)}, which are on no record"
            self._findings.add(about(checkpoint, Kind.GAP, text, number=missing[0]))

    def _miss_end(self, missing: list[int], checkpoint: Checkpoint) -> None:
        """The highest numbers are on no record: behind the stream's end, or taken out."""
        sequence = checkpoint.statement.sequence
        if sequence <= self._end or not missing:
            self._miss(missing, checkpoint)
            return
        text = f"up to sequence {sequence}; the stream ends at {self._end}"
        text = f"{_covers(checkpoint, missing)}, {text}"
        self._findings.add(about(checkpoint, Kind.TRUNCATED, text, number=missing[0]))

    def _accuse(
        self, suspects: set[int], checkpoint: Checkpoint, leaves: list[tuple[int, Leaf]]
    ) -> None:
        """The root is another: name the record where it can be known, else the range."""
        statement, header = checkpoint.statement, checkpoint.header
        kind, what = disproof.explain(leaves, statement.root, statement.sequence)
        sequences = [leaf.sequence for _, leaf in leaves]
        text = (
            f"checkpoint {header.number} of {header.worker}, numbers"
            f" {leaves[0][0]}-{leaves[-1][0]}, sequences {min(sequences)}-{max(sequences)}: {what}"
        )
        named = leaves if len(leaves) == 1 else [each for each in leaves if each[0] in suspects]
        number, sequence = (named[0][0], named[0][1].sequence) if named else (None, None)
        self._findings.note(kind, text, sequence=sequence, worker=header.worker, number=number)

    def _declare_void(self, point: WorkerPoint, checkpoint: Checkpoint) -> None:
        worker = checkpoint.header.worker
        for number in checkpoint.statement.void:
            leaf = point.leaves.get(number)
            if leaf is None:
                point.void[number] = checkpoint.header.time
            elif not leaf.voidable:
                self._accuse_void(worker, number, leaf.sequence)
            self._void(worker, number)
        if len(point.void) > MAX_LATE_VOID:
            point.void = dict(sorted(point.void.items())[-MAX_LATE_VOID // 2 :])

    def _accuse_void(self, worker: str, number: int, sequence: int) -> None:
        """Workers publish everything but intents until it stands: this one is somebody else's."""
        text = f"{worker} declared number {number} void, under which only an intent may stand"
        self._findings.note(Kind.INSERTED, text, sequence=sequence, worker=worker, number=number)

    def _forget(self, worker: str, last: int) -> None:
        """Nothing up to this number waits for a checkpoint any more."""
        self._tails.forget(worker, last)
        point = self._points[worker]
        point.copies = {number: each for number, each in point.copies.items() if number > last}
        if worker in self._suspects:
            self._suspects[worker] = {each for each in self._suspects[worker] if each > last}


def _covers(checkpoint: Checkpoint, numbers: list[int]) -> str:
    header, names = checkpoint.header, disproof.spell(list(disproof.ranges(numbers)))
    return f"checkpoint {header.number} of {header.worker} covers numbers {names}"
