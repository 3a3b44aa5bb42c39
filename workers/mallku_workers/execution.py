"""Steps 7 and 9, ask the store: under breaker, bulkhead and what is left of the caller's time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mallku_contracts.arguments import Next, Outcome, is_dry_run
from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    OutcomeUnknown,
    Unavailable,
)
from mallku_contracts.operations import Access
from mallku_workers.breaker import Breakers
from mallku_workers.bulkhead import Bulkhead
from mallku_workers.jobs.delivery import SILENT
from mallku_workers.ledger import outcome, remember
from mallku_workers.message import Deadline
from mallku_workers.queries.cursors import Cursors, Owner
from mallku_workers.request import Request
from mallku_workers.rolling import Pace
from mallku_workers.stores.base import Done, LedgerClaim, Store, Work

PATIENCE_S: Final = 1.0
"""How long a caller must have waited for its silence to speak against the store, seconds.

Otherwise whoever asks with little time could have the store left alone, for everybody.
"""

SEARCHES: Final = frozenset({"find", "count", "aql", "next"})
"""Reads that last as long as their callers let them: their silence says nothing of the store."""

_MS_PER_S: Final = 1_000

T = TypeVar("T")

Own = Callable[[Request], Awaitable[Any]]
"""How a worker itself carries out an operation that is no affair of the store: its result."""

PACE_WINDOW_S: Final = 5.0
"""Over which it is measured how fast places in the store become free, seconds."""


@dataclass(frozen=True, slots=True)
class Bulkheads:
    """How many requests the store works on at once, and how many wait for that: reads, and others.

    Attributes:
        unmeasured_s: What those are told who find no place before anything was measured, seconds.
    """

    max_reads: int
    max_writes: int
    max_waiting_reads: int = 512
    max_waiting_writes: int = 512
    unmeasured_s: float = 0.05

    def reads(self, clock: Callable[[], float]) -> Bulkhead:
        """The places of reads."""
        pace = Pace(PACE_WINDOW_S, self.unmeasured_s, clock)
        return Bulkhead("read", self.max_reads, self.max_waiting_reads, pace)

    def writes(self, clock: Callable[[], float]) -> Bulkhead:
        """The places of everything that can have an effect."""
        pace = Pace(PACE_WINDOW_S, self.unmeasured_s, clock)
        return Bulkhead("write", self.max_writes, self.max_waiting_writes, pace)


class _ShortOfTime(Exception):
    """The store was silent, which says nothing of it: it had little time to speak, or searches."""


class Executor:
    """Carries out work in a store, bounded in number by class and in time by the deadline.

    Args:
        clock: Unix milliseconds.
        own: What is carried out here and not in the store, by the operation's name.
        outcomes: Knows of commands and durable jobs what became of them; without it, the ledger.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        store: Store,
        breakers: Breakers,
        cursors: Cursors,
        bulkheads: Bulkheads,
        *,
        clock: Callable[[], int],
        own: Mapping[str, Own] | None = None,
        outcomes: Own | None = None,
    ) -> None:
        self._store = store
        self._breakers = breakers
        self._cursors = cursors
        self._clock = clock
        self._own = own or {}
        self._outcomes = outcomes
        self._reads = bulkheads.reads(time.monotonic)
        self._writes = bulkheads.writes(time.monotonic)

    def breaker_states(self) -> dict[str, str]:
        """Where the breaker of each class of access stands: `closed`, `open` or `half-open`."""
        return self._breakers.states()

    def at_work(self) -> dict[str, tuple[int, int]]:
        """Of reads and of writes, how many are inside the store and how many wait for a place."""
        reads, writes = self._reads, self._writes
        return {
            Access.READ.value: (reads.inside, reads.waiting),
            Access.WRITE.value: (writes.inside, writes.waiting),
        }

    def refuse_hopeless(self, request: Request, deadline: Deadline) -> None:
        """Refuse, before the trail is troubled, what cannot be carried out.

        Raises:
            DeadlineExceeded
            Unavailable: the store is being left alone.
        """
        name = request.operation.name
        self._left_s(deadline)
        if name not in self._own:
            self._breakers.of(_access(request)).refuse_open()

    async def remember(
        self, database: str, claim: LedgerClaim | None, attempt: int, deadline: Deadline
    ) -> Done | None:
        """Step 7: what an earlier attempt already did, for attempts after the first.

        A first attempt pays nothing: the ledger's unique key decides at commit.

        Raises:
            IdempotencyConflict: the key was used for another command.
            Unavailable, DeadlineExceeded: nothing was done.
        """
        if claim is None or attempt == 1:
            return None

        async def recall(_left_s: float) -> Done | None:
            return await remember(self._store, database, claim)

        return await self._ask(Access.READ, deadline, recall, silent=_silent_read)

    async def execute(
        self, request: Request, claim: LedgerClaim | None, deadline: Deadline
    ) -> Done:
        """Step 9: carry out a request within its document rules.

        Raises:
            Busy, Unavailable, DeadlineExceeded: nothing was done.
            OutcomeUnknown: the store did not answer in time and may still have done it.
            RequestError, PermissionDenied: the store refused, and nothing was done.
        """

        async def carry_out(left_s: float) -> Done:
            left_ms = int(left_s * _MS_PER_S)
            ends_ms = min(self._clock() + min(left_ms, deadline.runtime_ms), deadline.ends_ms)
            try:
                return await self._carry_out(request, claim, ends_ms)
            except DeadlineExceeded:
                if left_ms <= deadline.runtime_ms:
                    raise
                raise _too_long(deadline.runtime_ms) from None

        lasting = request.mutates and not is_dry_run(request.arguments)
        silent = _silent_write if lasting else _silent_read
        if (own := self._own.get(request.operation.name)) is not None:
            try:
                async with asyncio.timeout(self._left_s(deadline)):
                    return Done(await own(request))
            except TimeoutError:
                raise silent() from None
        access = _access(request)
        is_search = access is Access.READ and request.operation.name in SEARCHES
        patience_s = math.inf if is_search else PATIENCE_S
        return await self._ask(access, deadline, carry_out, silent=silent, patience_s=patience_s)

    async def _carry_out(self, request: Request, claim: LedgerClaim | None, ends_ms: int) -> Done:
        subject, arguments = request.subject, request.arguments
        owner = _owner(request)
        if isinstance(arguments, Outcome):
            if self._outcomes is not None:
                return Done(await self._outcomes(request))
            return await outcome(self._store, subject, arguments)
        if isinstance(arguments, Next):
            return await self._cursors.next(owner, arguments, ends_ms)
        work = Work(
            request.operation,
            subject.database,
            subject.collection,
            arguments,
            ends_ms,
            claim,
            request.rules,
            request.query,
            request.steps,
            subject.principal,
        )
        return await self._cursors.keep(await self._store.execute(work), owner)

    async def _ask(
        self,
        access: Access,
        deadline: Deadline,
        question: Callable[[float], Awaitable[T]],
        *,
        silent: Callable[[], ExecutionError],
        patience_s: float = PATIENCE_S,
    ) -> T:
        bulkhead = self._reads if access is Access.READ else self._writes
        try:
            with self._breakers.of(access).guard() as look_again:
                async with bulkhead.place(lambda: self._left_s(deadline)):
                    look_again()
                    left_s = self._left_s(deadline)
                    wait_s = min(left_s, deadline.runtime_ms / _MS_PER_S)
                    try:
                        async with asyncio.timeout(wait_s + deadline.grace_s):
                            return await question(left_s)
                    except TimeoutError:
                        raise silent() if wait_s >= patience_s else _ShortOfTime from None
        except _ShortOfTime:
            raise silent() from None

    def _left_s(self, deadline: Deadline) -> float:
        if deadline.called_off():
            raise DeadlineExceeded("the caller called it off; nothing was done", retryable=False)
        left_s = deadline.left_s(self._clock(), time.monotonic())
        if left_s <= 0:
            raise DeadlineExceeded(
                f"the caller's time was over {-left_s:.3f} s ago; nothing was done"
            )
        return left_s


def _owner(request: Request) -> Owner:
    """Whose a cursor is that the request opens, or asks for."""
    subject, version = request.subject, request.policy.version
    owner = Owner(subject.principal, subject.database, request.identity.roles, version)
    if request.carrier is None:
        return owner
    door = request.carrier.identity
    return owner._replace(door=door.principal, door_roles=door.roles)


def _access(request: Request) -> Access:
    """The class that a request amounts to: a query that changes documents is a write."""
    access = request.operation.access
    return Access.WRITE if access is Access.READ and request.mutates else access


def _too_long(runtime_ms: int) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the store may work on this for at most {runtime_ms} ms; nothing was done",
        retryable=False,
    )


def _silent_write() -> ExecutionError:
    return OutcomeUnknown("the store did not answer in time; ask with outcome")


def _silent_read() -> ExecutionError:
    return Unavailable("the store did not answer in time; nothing was done", details={SILENT: True})
