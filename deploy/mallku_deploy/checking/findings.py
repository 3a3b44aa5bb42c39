"""What a check may find: a closed list, each with its meaning for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_KEPT: Final = 1_000
"""Findings that are kept with their words; those beyond are counted."""


class Kind(StrEnum):
    """What is wrong, or cannot be said."""

    LOST = "lost"
    """A mutation was acknowledged, and trail or store do not have it."""
    TWICE = "applied-twice"
    """One idempotency key had its effect twice, or one command gave two different answers."""
    WITHOUT_INTENT = "without-intent"
    """Something was done, or answered, for which no intent stands in the trail."""
    REFUSED_BUT_DONE = "refused-but-done"
    """The caller was told that nothing was done, and it was."""
    OPEN = "open-intent"
    """An intent has neither outcome nor resolution."""
    RECEIPT = "bad-receipt"
    """A receipt names a record that is not there, or another one."""
    CHAIN = "broken-chain"
    """A commit was made of another revision than the one that stood there."""
    STORE = "store-differs"
    """The store holds a revision that no command made."""
    LEDGER = "ledger-differs"
    """The ledger and the trail say different things about a command."""
    ORDER = "not-linearizable"
    """No order of the calls on a document explains what their callers were told."""
    TRAIL = "trail"
    """The trail does not verify by itself (`audit verify` says more)."""

    UNDECIDED = "undecided"
    """The search was too large, or something that is needed was not recorded."""
    PENDING = "pending"
    """Intents that were looked into, and of which nobody can know yet."""


REMARKS: Final = frozenset({Kind.UNDECIDED, Kind.PENDING})
"""The kinds that accuse nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        text: What was seen, for people.
        about: The document (`collection/key`) or the command's idempotency key.
    """

    kind: Kind
    text: str
    about: str = ""

    @property
    def accuses(self) -> bool:
        """Whether something is not as the gateway promises."""
        return self.kind not in REMARKS

    def plain(self) -> dict[str, Any]:
        """The finding as a map for machines."""
        return {"kind": self.kind.value, "about": self.about, "text": self.text}


@dataclass(slots=True)
class Verdict:
    """What a check saw.

    Attributes:
        calls: Calls in the histories, by outcome.
        documents: Documents whose histories were judged.
        operations: What was done to them, altogether.
        looked: Documents that were looked for in the store.
        compared: Those of them that were held against the trail; the end of an intent that may have
            changed one of the others is not known.
        commits: Commits that the trail names.
        findings: The first `MAX_KEPT` of them.
        counts: How many of each kind.
    """

    calls: Counter[str] = field(default_factory=Counter[str])
    documents: int = 0
    operations: int = 0
    looked: int = 0
    compared: int = 0
    commits: int = 0
    intents: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    counts: Counter[Kind] = field(default_factory=Counter[Kind])

    def add(self, kind: Kind, about: str, text: str) -> None:
        """Keep one more."""
        self.counts[kind] += 1
        if len(self.findings) < MAX_KEPT:
            self.findings.append(Finding(kind, text, about))

    @property
    def anomalies(self) -> int:
        """How many findings accuse, those without words included."""
        return sum(count for kind, count in self.counts.items() if kind not in REMARKS)

    @property
    def undecided(self) -> int:
        """How many say that nobody can say."""
        return sum(self.counts[kind] for kind in REMARKS)

    def plain(self) -> dict[str, Any]:
        """The verdict as a map for machines."""
        return {
            "calls": dict(self.calls),
            "documents": self.documents,
            "operations": self.operations,
            "looked": self.looked,
            "compared": self.compared,
            "commits": self.commits,
            "intents": self.intents,
            "anomalies": self.anomalies,
            "undecided": self.undecided,
            "findings": [finding.plain() for finding in self.findings],
        }
