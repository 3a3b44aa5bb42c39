"""The seam between the pipeline and a database: one small protocol, and the values it speaks.

A store gets work that is authenticated, authorized, validated and audited. It does the work with
ArangoDB's semantics, at most once for a ledger claim, and not after the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from mallku_contracts.arguments import Arguments
from mallku_contracts.errors import IdempotencyConflict
from mallku_contracts.operations import Operation


class Durability(IntEnum):
    """What an acknowledged write survives, weakest first; the gateway declares the weaker part."""

    MEMORY = 1
    """The end of the process that holds it: no."""
    FLUSH = 2
    """A crash of any process, but not a loss of power."""
    FSYNC = 3
    """A loss of power on one machine."""
    QUORUM = 4
    """The loss of one machine."""


@dataclass(frozen=True, slots=True)
class LedgerClaim:
    """What a mutation wants to be remembered by.

    Attributes:
        key: Hash of principal and idempotency key, hexadecimal.
        fingerprint: What makes a retry the same command, 32 bytes.
        id: The transmission that makes the claim.
        expires_ms: When the entry may be forgotten, Unix milliseconds.
    """

    key: str
    fingerprint: bytes
    id: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A finished mutation: under which key, which transmission committed, what it answered."""

    key: str
    fingerprint: bytes
    id: str
    result: Any

    def answer(self, claim: LedgerClaim) -> Done:
        """What is answered to a claim of the same key, in the place of doing it again.

        Raises:
            IdempotencyConflict: the claim is another command's.
        """
        if self.fingerprint != claim.fingerprint:
            raise IdempotencyConflict("the idempotency key was used for another command")
        return Done(self.result, replayed=self.id)


@dataclass(frozen=True, slots=True)
class Work:
    """One operation for the store to carry out.

    Attributes:
        deadline_ms: After this time of the store's clock nothing may begin, Unix milliseconds.
        claim: Present for mutations alone.
    """

    operation: Operation
    database: str
    collection: str
    arguments: Arguments
    deadline_ms: int
    claim: LedgerClaim | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a mutation did to one document; `new` is None where it was removed."""

    collection: str
    key: str
    old_rev: str | None
    new_rev: str | None
    new: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of work.

    Attributes:
        result: Shaped as the operations table says.
        effects: One for each document touched, in commit order; empty for reads.
        position: Where the commit stands among all commits of the store; None for reads.
        replayed: The earlier transmission whose entry answered, when this one did nothing.
    """

    result: Any
    effects: Sequence[Effect] = field(default_factory=tuple)
    position: int | None = None
    replayed: str | None = None


class Store(Protocol):
    """A database that carries out work.

    `execute` raises only coded errors: `RequestError`s for what the caller can mend,
    `Unavailable` and `DeadlineExceeded` when nothing was done, `OutcomeUnknown` when the store
    cannot say, `IdempotencyConflict` when the claim's key belongs to another fingerprint.
    """

    @property
    def name(self) -> str:
        """The store's kind."""
        ...

    @property
    def durability(self) -> Durability:
        """What a commit survives, read from the database as it is."""
        ...

    async def start(self) -> None:
        """Open what is needed; `Unavailable` or `ConfigurationError` when it cannot be."""
        ...

    async def stop(self) -> None:
        """Finish what was begun and give everything back."""
        ...

    async def execute(self, work: Work) -> Done:
        """Carry out one operation, its effect and its ledger entry in one commit."""
        ...

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """The ledger's entry under `key`, when there is one.

        With `settled` it is read under the write lock, so that "none" is a "no" for every work
        whose deadline has passed by then. Raises `Unavailable` when it cannot be read.
        """
        ...

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The entry of the mutation that the transmission with this id committed.

        Ids are the callers' to choose, so only entries whose key begins with `owner` are looked at.
        """
        ...
