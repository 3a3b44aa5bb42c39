"""The seam between the pipeline and a database: one small protocol, and the values it speaks.

A store gets work that is authenticated, authorized, validated and audited. It does the work with
ArangoDB's semantics, at most once for a ledger claim, and not after the deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mallku_contracts.aql.tree import Query
from mallku_contracts.arguments import Aql, Arguments
from mallku_contracts.durability import Durability
from mallku_contracts.errors import IdempotencyConflict, StoreFailure
from mallku_contracts.operations import Operation
from mallku_contracts.policy import DocumentRules


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


class Touched(NamedTuple):
    """A document that a mutation changed, by its revisions; None where there was, or is, none."""

    collection: str
    key: str
    old_rev: str | None
    new_rev: str | None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A finished mutation: under which key, which transmission committed, what it answered.

    Attributes:
        position: Where the commit stands among all commits of the store.
        touched: The documents that it changed, in commit order; None where they were too many.
        begun: It is not finished: a change of the catalog was announced, and may have been made.
            Only a settled look shows such entries.
    """

    key: str
    fingerprint: bytes
    id: str
    result: Any
    position: int | None = None
    touched: tuple[Touched, ...] | None = ()
    begun: bool = False

    def answer(self, claim: LedgerClaim) -> Done:
        """What is answered to a claim of the same key, in the place of doing it again.

        Raises:
            IdempotencyConflict: the claim is another command's.
        """
        if self.fingerprint != claim.fingerprint:
            raise IdempotencyConflict("the idempotency key was used for another command")
        return Done(self.result, replayed=self.id)


@dataclass(frozen=True, slots=True)
class RunnableQuery:
    """A query that was parsed, checked and authorized.

    Attributes:
        binds: All bind values, those that the policy sets included.
        modifies: It can change documents.
        max_rows: Rows that it may return altogether.
        may_read: Whether documents that are only met on the way, such as a traversal's vertices,
            may come from a collection; None lets them come from all.
        uses: The collections that it was authorized to use, where `may_read` restricts it.
    """

    tree: Query
    binds: dict[str, Any]
    arguments: Aql
    modifies: bool
    max_rows: int
    may_read: Callable[[str], bool] | None = None
    uses: QueryCollections | None = None


@dataclass(frozen=True, slots=True)
class QueryCollections:
    """What a query uses: collections read, and for each that is changed the write operations."""

    reads: frozenset[str]
    writes: Mapping[str, frozenset[str]]


class QueryPage(NamedTuple):
    """Some rows of a query, and whether there are more."""

    rows: list[Any]
    more: bool


class StoreCursor(Protocol):
    """The rows of a query that were not fetched yet; one call at a time."""

    async def fetch(self, deadline_ms: int) -> QueryPage:
        """The next page. After an error nothing can be fetched any more."""
        ...

    async def close(self) -> None:
        """Give back what the rows need in the store."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One write of a transaction, with the rules that hold for its documents."""

    operation: Operation
    collection: str
    arguments: Arguments
    rules: DocumentRules | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One operation for the store to carry out.

    Attributes:
        deadline_ms: After this time of the store's clock nothing may begin, Unix milliseconds.
        claim: Present for mutations alone.
        rules: What holds for every document that is read or written, as `stores.rules` applies it;
            None restricts nothing. Results are concealed later, when they are replied.
        query: What `aql` runs; None for every other operation.
        steps: What `transaction` does, all or nothing.
        owner: The principal, for a store that shares out what it has; None for the gateway itself.
    """

    operation: Operation
    database: str
    collection: str
    arguments: Arguments
    deadline_ms: int
    claim: LedgerClaim | None = None
    rules: DocumentRules | None = None
    query: RunnableQuery | None = None
    steps: Sequence[Step] = ()
    owner: str | None = None


def runnable(work: Work) -> RunnableQuery:
    """The query that was authorized; a work without one is nobody's to run.

    Raises:
        StoreFailure: there is none.
    """
    if work.query is None:
        raise StoreFailure("a query came without its authorization; nothing was done")
    return work.query


@dataclass(frozen=True, slots=True)
class Effect:
    """What a mutation did to one document; `new` is None where it was removed."""

    collection: str
    key: str
    old_rev: str | None
    new_rev: str | None
    new: dict[str, Any] | None


def touched_by(effects: Sequence[Effect]) -> list[list[str | None]]:
    """The effects as a ledger keeps them: what `Touched` holds, without new versions."""
    return [[each.collection, each.key, each.old_rev, each.new_rev] for each in effects]


class StoreClock(NamedTuple):
    """The store's own time, and how far back its ledger remembers; Unix milliseconds.

    Attributes:
        remembers_ms: An entry that expires at this time or later is still there.
    """

    now_ms: int
    remembers_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of work.

    Attributes:
        result: Shaped as the operations table says.
        effects: One for each document touched, in commit order; empty for reads.
        position: Where the commit stands among all commits of the store; None for reads.
        replayed: The earlier transmission whose entry answered, when this one did nothing.
        cursor: The rest of a query's rows, for whoever answers to keep or to close.
    """

    result: Any
    effects: Sequence[Effect] = field(default_factory=tuple)
    position: int | None = None
    replayed: str | None = None
    cursor: StoreCursor | None = None


class Store(Protocol):
    """A database that carries out work.

    `execute` raises only coded errors: `RequestError`s for what the caller can mend,
    `Busy`, `Unavailable` and `DeadlineExceeded` when nothing was done, `OutcomeUnknown` when the
    store cannot say, `IdempotencyConflict` when the claim's key belongs to another fingerprint.
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

    async def collections_of(self, database: str, query: RunnableQuery) -> QueryCollections:
        """The collections that a query would use, named graphs spelled out; nothing is run.

        Raises `Unavailable`, and `InvalidQuery` or `CollectionNotFound` where it cannot run.
        """
        ...

    async def recall(self, database: str, key: str, *, settled: bool = False) -> LedgerEntry | None:
        """The ledger's entry under `key`, when there is one.

        With `settled` it is read under the write lock, so that "none" is a "no" for every work
        whose deadline has passed by then, unless the entry would have been forgotten since; and
        entries are shown that count for nobody else: expired, or only `begun`. Raises
        `Unavailable` when it cannot be read.
        """
        ...

    async def clock(self, database: str) -> StoreClock:
        """The time by which the store judges deadlines; `Unavailable` when it does not answer."""
        ...

    async def recall_transmission(
        self, database: str, transmission: str, owner: str
    ) -> LedgerEntry | None:
        """The entry of the mutation that the transmission with this id committed.

        Ids are the callers' to choose, so only entries whose key begins with `owner` are looked at.
        """
        ...
