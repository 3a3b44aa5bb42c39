"""What became of an intent without outcome: pure, from what the ledger and the clocks say.

"Not applied" is said only when it cannot become untrue any more: nothing of the command may begin
after `exp` and the clocks' allowed difference, whatever began has ended after the longest runtime,
and the ledger, read under the write lock after that, shows nothing that it could have forgotten.
Times are Unix milliseconds of the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mallku_contracts.audit import Resolution
from mallku_workers.reconciling.question import Question
from mallku_workers.stores.base import LedgerEntry

STATE: Final = "the entry was begun and not finished; what was asked for is there"
"""Why an administrative operation counts as committed whose entry does not say so."""

UNDER_WAY: Final = "it may still be carried out"
"""Why nobody can know yet."""

OTHER: Final = "another attempt has its key"
"""Why a mutation was not applied that has an entry all the same."""


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """When a command cannot have an effect any more.

    Attributes:
        skew_ms: How far clocks may stand apart: what a worker adds to `exp`.
        runtime_ms: How long the store may work on one command.
    """

    skew_ms: int
    runtime_ms: int

    def settled_ms(self, question: Question) -> int:
        """After this time of the store's clock nothing of the command can begin or go on."""
        return question.exp_ms + self.skew_ms + self.runtime_ms


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the store showed.

    Attributes:
        before_ms: The store's clock before the ledger was read.
        entry: What stood there under the write lock.
        remembers_ms: Read afterwards: an entry that expires at this time or later is still there.
        as_asked: Whether what an administrative operation asked for is there; None where it was not
            looked at.
    """

    before_ms: int
    entry: LedgerEntry | None = None
    remembers_ms: int = 0
    as_asked: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be written about an intent.

    Attributes:
        reason: Where the resolution alone does not say it, why.
        final: Nothing more will ever be known: whoever reads on need not look at it again.
        committed: The entry that proves a commit.
    """

    resolution: Resolution
    reason: str = ""
    final: bool = True
    committed: LedgerEntry | None = None


def decide(question: Question, evidence: Evidence, limits: DecisionLimits) -> Verdict | None:
    """What can be said now; None when it is too early to say anything about a read."""
    settled = evidence.before_ms > limits.settled_ms(question)
    if not question.mutates:
        return Verdict(Resolution.POSSIBLY_ANSWERED) if settled else None
    same = evidence.entry
    if same is not None and question.fingerprint not in (b"", same.fingerprint):
        same = None
    committed = None if same is None or same.begun else _committed(question, same)
    if committed is not None:
        return committed
    if not settled:
        return Verdict(Resolution.PENDING, UNDER_WAY, final=False)
    return _settled(question, same, evidence)


def _settled(question: Question, same: LedgerEntry | None, evidence: Evidence) -> Verdict:
    """What can be said when nothing can come any more, and no entry proves a commit."""
    if same is not None and same.begun:
        return _begun(same, evidence)
    if evidence.remembers_ms > question.expires_ms:
        return Verdict(Resolution.PENDING, "the ledger has forgotten it: nobody can know")
    if same is not None and question.administers:  # recorded without what it asked for
        return Verdict(Resolution.PENDING, f"{OTHER}, or another command: {same.id}")
    return Verdict(Resolution.NOT_APPLIED, "" if same is None else f"{OTHER}: {same.id}")


def _committed(question: Question, entry: LedgerEntry) -> Verdict | None:
    """What a finished entry of the same command says, whichever attempt left it.

    Of two attempts one alone commits. Outside of any transaction that is not so: what the first one
    changed the second one finds as it wants it, and finishes the entry.
    """
    if entry.id == question.id:
        return Verdict(Resolution.COMMITTED, committed=entry)
    if question.administers and question.fingerprint:
        return Verdict(
            Resolution.COMMITTED, f"by this attempt or another: {entry.id}", committed=entry
        )
    return None


def _begun(entry: LedgerEntry, evidence: Evidence) -> Verdict:
    """A change of the catalog that was announced: repeatable, so what is there now counts."""
    if evidence.as_asked:
        return Verdict(Resolution.COMMITTED, STATE, committed=entry)
    return Verdict(
        Resolution.PENDING,
        "it was begun and not finished, and what was asked for is not there: repeat it with the"
        " same idempotency key",
    )
