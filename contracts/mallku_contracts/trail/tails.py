"""The newest records of each worker: covered next, vouched for by another, or by nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from mallku_contracts.trail import disproof
from mallku_contracts.trail.chains import Points, about
from mallku_contracts.trail.checkpoint import Checkpoint
from mallku_contracts.trail.findings import Findings, Kind
from mallku_contracts.trail.resume import Leaf, WorkerPoint
from mallku_contracts.trail.statement import Vouch

MAX_TAIL_AGE_MS: Final = 300_000
"""A record older than this is covered or vouched for: a worker that is silent counts as dead after
90 s, and the reconciler's turn comes every minute; milliseconds."""

MAX_KEPT_LEAVES: Final = 200_000
"""Records that were vouched for and are kept, should their worker turn out to live."""


class Tails:
    """Holds what is vouched for against the records that stand there."""

    def __init__(self, findings: Findings, points: Points, end: int) -> None:
        self._findings = findings
        self._points = points
        self._end = end
        self._vouches: dict[str, Vouch] = {}
        self._kept: defaultdict[str, dict[int, Leaf]] = defaultdict(dict[int, Leaf])
        self._room = MAX_KEPT_LEAVES

    def vouched(self, worker: str, number: int) -> Leaf | None:
        """The record of this number that was vouched for, if there was one."""
        kept = self._kept.get(worker)
        return None if kept is None else kept.get(number)

    def judge(self, vouch: Vouch, checkpoint: Checkpoint) -> int:
        """Hold what `checkpoint` vouches for against the records; how many it newly covers."""
        point = self._points[vouch.worker]
        if vouch.last <= point.covered:  # said again, or the worker covered it after all
            self._compare(vouch, checkpoint)
            return 0
        if vouch.first <= point.covered and not point.vouched:
            return 0  # the worker lived, and has covered a part itself: so it will the rest
        leaves = sorted((n, e) for n, e in point.leaves.items() if vouch.first <= n <= vouch.last)
        if vouch.first != point.covered + 1 or not _fits(vouch, leaves, point.copies):
            self._accuse(vouch, checkpoint, len(leaves))
        self._vouches[vouch.worker] = vouch
        point.vouched += len(leaves)
        point.vouched_from = point.vouched_from or vouch.first
        self._keep(vouch.worker, leaves)
        self.forget(vouch.worker, vouch.last)
        return len(leaves)

    def take_back(self, worker: str, first: int) -> None:
        """A worker that was taken for dead covers its records itself: that counts more."""
        kept, point = self._kept.get(worker), self._points[worker]
        if kept and first >= point.vouched_from:
            point.leaves |= {number: leaf for number, leaf in kept.items() if number >= first}
            point.covered = first - 1
            point.vouched = point.vouched_from = 0
            self._room += len(self._kept.pop(worker))

    def forget(self, worker: str, last: int) -> None:
        """Nothing up to this number waits for a checkpoint any more."""
        point = self._points[worker]
        for number in [number for number in point.leaves if number <= last]:
            del point.leaves[number]
        point.covered, point.since = max(point.covered, last), point.newest

    def finish(self, now_ms: int) -> None:
        """Say what is vouched for, and what is covered by nothing; `now_ms` is Unix ms."""
        for worker, point in self._points.items():
            if point.vouched:
                text = f"{point.vouched} last records of {worker}: another worker vouches for them"
                self._findings.note(Kind.VOUCHED, text, worker=worker)
            if point.leaves:
                first = min(point.leaves)
                what = f"{len(point.leaves)} records of {worker} from number {first}"
                kind, text = _tail(point, what, now_ms)
                sequence = point.leaves[first].sequence
                self._findings.note(kind, text, sequence=sequence, worker=worker, number=first)

    def _compare(self, vouch: Vouch, checkpoint: Checkpoint) -> None:
        former = self._vouches.get(vouch.worker)
        if former is None or (former.first, former.last) != (vouch.first, vouch.last):
            return
        if former != vouch:
            text = f"it vouches for another tail of {vouch.worker} than somebody did before"
            self._findings.add(about(checkpoint, Kind.VOUCH, text))

    def _accuse(self, vouch: Vouch, checkpoint: Checkpoint, found: int) -> None:
        text = (
            f"it vouches for {vouch.worker} {vouch.first}-{vouch.last}, {vouch.size} records up to"
            f" sequence {vouch.sequence}; {found} stand there, and they are not these"
        )
        kind = Kind.TRUNCATED if vouch.sequence > self._end else Kind.VOUCH
        self._findings.add(about(checkpoint, kind, text))

    def _keep(self, worker: str, leaves: list[tuple[int, Leaf]]) -> None:
        if len(leaves) <= self._room:
            self._kept[worker] |= dict(leaves)
            self._room -= len(leaves)


def _fits(
    vouch: Vouch, leaves: list[tuple[int, Leaf]], copies: Mapping[int, Sequence[Leaf]]
) -> bool:
    """Whether this is what was vouched for; of a record that stands twice, whichever was meant."""
    return (
        len(leaves) == vouch.size
        and (not leaves or leaves[-1][0] == vouch.last)
        and disproof.choose(leaves, copies, vouch.root) is not None
    )


def _tail(point: WorkerPoint, what: str, now_ms: int) -> tuple[Kind, str]:
    if point.final:
        return Kind.AFTER_END, f"{what} stand behind its final checkpoint"
    ages = abs(now_ms - point.newest), abs(now_ms - point.since)  # a time to come is not young
    if max(ages) <= MAX_TAIL_AGE_MS:
        return Kind.TAIL, f"{what} wait for its next checkpoint"
    own = "its checkpoints end before them" if point.checkpoint else "it has no checkpoint at all"
    return Kind.UNCOVERED, f"{what} are covered by no checkpoint: {own}, and nobody vouches"
