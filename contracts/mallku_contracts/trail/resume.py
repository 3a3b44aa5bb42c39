"""Where a verification stood when it ended, so that the next one can go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mallku_contracts.audit import OutcomeName, outcome_name
from mallku_contracts.trail.checkpoint import NO_CHECKPOINT


@dataclass(frozen=True, slots=True)
class Leaf:
    """A record that no checkpoint covers yet: its place and the SHA-256 of its bytes.

    `voidable`: it is an intent, which may stand under a number that was declared void.
    """

    sequence: int
    hash: bytes
    voidable: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent as the records say: who asked for what, and where that stands."""

    worker: str
    number: int
    sequence: int
    time: int
    principal: str
    id: str
    subject: str
    kid: str

    @property
    def name(self) -> OutcomeName:
        """What its outcome carries too."""
        return outcome_name(self.worker, self.principal, self.id, self.subject)


@dataclass(frozen=True, slots=True)
class Ended:
    """An intent that has an outcome: which one (a record's kind, or `void`), and what it found."""

    intent: Intent
    how: str
    resolution: str = ""


@dataclass(slots=True)
class WorkerPoint:
    """What is known of one worker instance.

    Attributes:
        kid: The key that its checkpoints are signed with; empty before the first.
        checkpoint: The number of its newest checkpoint, 0 before the first.
        hash: The SHA-256 of that checkpoint's message.
        covered: The highest record number that a checkpoint covers.
        final: It said that it ended.
        vouched: How many records of its tail somebody else vouches for.
        vouched_from: The lowest number among these; 0 for none.
        records: How many of its records were read.
        newest: The time of its newest record, Unix milliseconds.
        since: Its oldest record that no checkpoint covers is no older, Unix milliseconds.
        leaves: Its records that no checkpoint covers, by number.
        copies: Of these, the others that stand under the same number.
        void: Numbers declared void whose record was not in the stream then, each with the time of
            the checkpoint that said so, Unix milliseconds.
    """

    kid: str = ""
    checkpoint: int = 0
    hash: bytes = NO_CHECKPOINT
    covered: int = 0
    final: bool = False
    vouched: int = 0
    vouched_from: int = 0
    records: int = 0
    newest: int = 0
    since: int = 0
    leaves: dict[int, Leaf] = field(default_factory=dict[int, Leaf])
    copies: dict[int, tuple[Leaf, ...]] = field(default_factory=dict[int, tuple[Leaf, ...]])
    void: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class Resume:
    """Everything that a verification has to know of what another one has read.

    Attributes:
        sequence: The last record that was read, by its sequence; 0 for none.
        hash: The SHA-256 of that record, zero bytes for none.
        checkpoints: The last sequence of the stream of checkpoints that was read.
        time: When the newest record was written, Unix milliseconds.
        workers: By instance.
        open: Intents without outcome.
        pending: Numbers of those of which a resolution said that nobody can know yet.
        ended: The intents that ended last.
        revoked: Names that the newest list of revocations holds, with since when (Unix ms).
        revocations: The version of that list.
    """

    sequence: int = 0
    hash: bytes = NO_CHECKPOINT
    checkpoints: int = 0
    time: int = 0
    workers: dict[str, WorkerPoint] = field(default_factory=dict[str, WorkerPoint])
    open: tuple[Intent, ...] = ()
    pending: tuple[tuple[str, int], ...] = ()
    ended: tuple[Ended, ...] = ()
    revoked: Mapping[str, int] = field(default_factory=dict[str, int])
    revocations: int = 0
