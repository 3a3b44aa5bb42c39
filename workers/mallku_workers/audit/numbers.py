"""What became of every record number that was given out: pure, and cheap for each record.

A number is settled when the stream acknowledged its record, or when it is void. The Merkle tree
grows with the numbers as they are settled in order, so that a checkpoint is ready when it is asked
for, and what is kept does not grow with the number of records.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from mallku_contracts.trail.checkpoint import MAX_COVERED, MAX_VOID, record_leaf
from mallku_contracts.trail.merkle import RunningRoot

MAX_UNCOVERED: Final = 100_000
"""Record numbers that no acknowledged checkpoint covers yet; from it on nothing is executed."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Record numbers that one checkpoint can cover; fields as in `Statement`."""

    first: int
    last: int
    size: int
    root: bytes
    void: tuple[int, ...]
    sequence: int


class Numbers:
    """Gives out this worker's record numbers from 1, and sums up what became of them in order."""

    def __init__(self, max_uncovered: int = MAX_UNCOVERED) -> None:
        self.given = 0
        self._max_uncovered = max_uncovered
        self._next = 1
        self._early: dict[int, tuple[int, bytes] | None] = {}
        self._covered = 0
        self._ready: deque[Covered] = deque()
        self._begin()

    def _begin(self) -> None:
        self._first = self._next
        self._tree = RunningRoot()
        self._void: list[int] = []
        self._sequence = 0

    @property
    def has_room(self) -> bool:
        """Whether few enough numbers wait to be covered that another may be given out."""
        return self.given - self._covered < self._max_uncovered

    @property
    def uncovered(self) -> int:
        """Numbers that no acknowledged checkpoint covers."""
        return self.given - self._covered

    def give(self) -> int:
        """The next number; it has to be settled, whatever happens."""
        self.given += 1
        return self.given

    def acknowledged(self, number: int, sequence: int, record_hash: bytes) -> None:
        """The record with this number stands at this sequence of the stream."""
        if number == self._next:
            self._append(sequence, record_hash)
            if self._early:
                self._catch_up()
        else:
            self._keep(number, (sequence, record_hash))

    def void(self, number: int) -> None:
        """The number was given out, and nobody may rely on its record."""
        if number == self._next:
            self._skip()
            if self._early:
                self._catch_up()
        else:
            self._keep(number, None)

    def next(self) -> Covered | None:
        """The oldest numbers that can be covered, the same until `covered`; None for none."""
        if not self._ready and self._next > self._first:
            self._end_range()
        return self._ready[0] if self._ready else None

    def none(self) -> Covered:
        """What a checkpoint covers that has something else to say; only when `next` is None."""
        return Covered(self._next, self._next - 1, 0, RunningRoot().root(), (), 0)

    def covered(self) -> None:
        """What `next` gave is in a checkpoint that was acknowledged."""
        self._covered = self._ready.popleft().last

    def _keep(self, number: int, what: tuple[int, bytes] | None) -> None:
        if not self._next < number <= self.given or number in self._early:
            raise ValueError(f"record number {number} is not one that waits to be settled")
        self._early[number] = what

    def _catch_up(self) -> None:
        early = self._early
        while self._next in early:
            what = early.pop(self._next)
            if what is None:
                self._skip()
            else:
                self._append(*what)

    def _append(self, sequence: int, record_hash: bytes) -> None:
        number = self._next
        self._tree.append(record_leaf(number, sequence, record_hash))
        self._sequence = max(self._sequence, sequence)
        self._next = number + 1
        if number - self._first >= MAX_COVERED - 1:
            self._end_range()

    def _skip(self) -> None:
        self._void.append(self._next)
        self._next += 1
        if len(self._void) >= MAX_VOID or self._next - self._first >= MAX_COVERED:
            self._end_range()

    def _end_range(self) -> None:
        tree = self._tree
        self._ready.append(
            Covered(
                self._first,
                self._next - 1,
                tree.size,
                tree.root(),
                tuple(self._void),
                self._sequence,
            )
        )
        self._begin()
