"""What a verifier may find in a trail: a closed list, each with its meaning for people.

A finding is an accusation: something is not as the gateway promises. A remark is not; it says what
cannot be proven yet, or not with what the auditor holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

MAX_KEPT: Final = 10_000
"""Findings, and remarks, that are kept with their words; those beyond are counted."""


class Kind(StrEnum):
    """What is wrong; the value is what machines see, and what `docs/audit.md` explains."""

    # the records themselves
    MALFORMED = "malformed"
    """A message is no record."""
    MISPLACED = "misplaced"
    """A record stands under a subject that does not fit what it says."""
    SIGNATURE = "signature"
    """The caller's signature in an intent does not hold."""
    MISMATCH = "mismatch"
    """What the caller signed is not what the record says of it."""

    # the stream
    EDITED = "edited"
    """The records of a checkpoint's numbers do not give its root: one of them was changed."""
    GAP = "gap"
    """A number is on no record, though a checkpoint covers it."""
    REORDERED = "reordered"
    """Records stand in each other's place."""
    MOVED = "moved"
    """Records stand at other sequences than when they were covered."""
    REPEATED = "repeated"
    """Two records of one worker have the same number."""
    INSERTED = "inserted"
    """A record stands under a number that its worker's checkpoints had covered without it, or one
    that is no intent under a void one."""
    TRUNCATED = "truncated"
    """The stream ends before something that is known to have stood in it."""
    RECREATED = "recreated"
    """The stream is another one than before, or younger than its own records."""
    BEGINNING = "beginning-missing"
    """The stream's first record is not its first any more."""
    UNGOVERNED = "not-signed"
    """A document that governs was taken, and no trusted administrator has signed it."""
    SEAM = "bad-seam"
    """Where one of the trail's streams begins, its first record does not say what was before it."""

    # checkpoints
    CHECKPOINT = "bad-checkpoint"
    """A message among the checkpoints is none, or its signature does not hold."""
    UNKNOWN_KEY = "unknown-key"
    """A checkpoint's token is not from a trusted issuer."""
    REVOKED_KEY = "revoked-key"
    """A worker went on writing after its key was revoked."""
    FOREIGN_KEY = "foreign-key"
    """A worker's checkpoint is signed with another key than its former ones."""
    CHAIN = "broken-chain"
    """A checkpoint does not follow the one before it."""
    OLD_CHECKPOINT = "old-checkpoint"
    """A checkpoint came again."""
    FORK = "fork"
    """Two different checkpoints of one worker have the same number."""
    CHECKPOINT_MISSING = "checkpoint-missing"
    """A checkpoint that somebody has seen is not in the stream."""
    UNCOVERED = "uncovered"
    """Old records that no checkpoint covers and nobody vouches for."""
    AFTER_END = "after-end"
    """A worker that had ended went on writing."""
    VOUCH = "bad-vouch"
    """What was vouched for is not what stands in the stream."""

    # commands
    OPEN = "open"
    """An intent without outcome, too old to be under way."""
    NO_INTENT = "no-intent"
    """An outcome without intent."""
    TWO_INTENTS = "two-intents"
    """One transmission has two intents."""
    TWO_OUTCOMES = "two-outcomes"
    """One intent has two outcomes, or a second that contradicts the first."""
    DIFFERS = "outcome-differs"
    """An outcome is about another command than its intent."""
    VOID_EXECUTED = "void-executed"
    """A number that was declared void, so never executed, has an outcome that says it was."""
    REPLAY_OF_NOTHING = "replay-of-nothing"
    """An answer from memory names a transmission that was never intended."""
    RESOLVES_NOTHING = "resolves-nothing"
    """A resolution names an intent that is not there, or was not open."""

    # remarks
    UNDER_WAY = "under-way"
    """Intents so young that their outcome may still come."""
    PENDING = "pending"
    """Intents that were looked into, and of which nobody can know yet."""
    TAIL = "tail"
    """The newest records of a worker, which its next checkpoint will cover."""
    VOUCHED = "vouched"
    """The last records of a worker that died, covered by another's checkpoint."""
    COPY = "copy"
    """An outcome, or a worker's newest checkpoint, stands twice, byte for byte: its acknowledgement
    was lost on the way."""
    UNCHECKED = "unchecked"
    """Something that cannot be checked with what was read."""


REMARKS: Final = frozenset(
    {Kind.UNDER_WAY, Kind.PENDING, Kind.TAIL, Kind.VOUCHED, Kind.COPY, Kind.UNCHECKED}
)
"""The kinds that accuse nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: What it is.
        text: What was seen, for people.
        sequence: Where: the sequence in the stream of records, or of checkpoints for a kind about
            these; None where there is no one place.
        worker: Whose records it is about; empty where it is about none.
        number: The record's or checkpoint's number in its worker's count.
    """

    kind: Kind
    text: str
    sequence: int | None = None
    worker: str = ""
    number: int | None = None

    @property
    def accuses(self) -> bool:
        """Whether something is not as it has to be."""
        return self.kind not in REMARKS

    def plain(self) -> dict[str, Any]:
        """The finding as a map for machines; what does not apply is left out."""
        values = {
            "kind": self.kind.value,
            "text": self.text,
            "sequence": self.sequence,
            "worker": self.worker or None,
            "number": self.number,
        }
        return {name: value for name, value in values.items() if value is not None}


class Place(Protocol):
    """A record or an intent: something with a place in the stream and in its worker's count."""

    @property
    def sequence(self) -> int:
        """The sequence in the stream of records."""
        ...

    @property
    def worker(self) -> str:
        """The instance that wrote it."""
        ...

    @property
    def number(self) -> int:
        """Its number in the worker's count."""
        ...


@dataclass(slots=True)
class Findings:
    """Collects findings in the order in which they were made; `MAX_KEPT` with words, all counted.

    Attributes:
        accusations: Those that say something is wrong.
        remarks: Those that do not.
        counts: How many there are of each kind.
    """

    accusations: list[Finding] = field(default_factory=list[Finding])
    remarks: list[Finding] = field(default_factory=list[Finding])
    counts: Counter[Kind] = field(default_factory=Counter[Kind])

    def add(self, finding: Finding) -> None:
        """Keep one more."""
        self.counts[finding.kind] += 1
        kept = self.accusations if finding.accuses else self.remarks
        if len(kept) < MAX_KEPT:
            kept.append(finding)

    def note(
        self,
        kind: Kind,
        text: str,
        *,
        sequence: int | None = None,
        worker: str = "",
        number: int | None = None,
    ) -> None:
        """Keep one more, made of its parts."""
        self.add(Finding(kind, text, sequence, worker, number))

    def at(self, place: Place, kind: Kind, text: str) -> None:
        """Keep one more, about the record at this place."""
        self.add(Finding(kind, text, place.sequence, place.worker, place.number))

    @property
    def accused(self) -> int:
        """How many say that something is wrong, those without words included."""
        return sum(count for kind, count in self.counts.items() if kind not in REMARKS)
