"""Steps 7 and 9, ask the store: under breaker, bulkhead and what is left of the caller's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mallku_contracts.arguments import Next, Outcome
from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    NotSupported,
    OutcomeUnknown,
    Unavailable,
)
from mallku_contracts.operations import UNSUPPORTED, Operation
from mallku_workers.breaker import Breaker
from mallku_workers.ledger import outcome, remember
from mallku_workers.message import Deadline
from mallku_workers.queries.cursors import Cursors, Owner
from mallku_workers.request import Request
from mallku_workers.stores.base import Done, LedgerClaim, Store, Work

STORE_MARGIN_S: Final = 0.25
"""How long the store may take, past the deadline, to say that it did not begin, seconds."""

PATIENCE_S: Final = 1.0
"""How long a caller must have waited for its silence to speak against the store, seconds.

Otherwise whoever asks with little time could have the store left alone, for everybody.
"""

_MS_PER_S: Final = 1_000

T = TypeVar("T")

Own = Callable[[Request], Awaitable[Any]]
"""How a worker itself carries out an operation that is no affair of the store: its result."""


@dataclass(frozen=True, slots=True)
class Bulkheads:
    """How many requests of each class the store works on at once, requests."""

    max_reads: int
    max_writes: int


class _ShortOfTime(Exception):
    """The store was silent, and had little time to speak."""


class Executor:
    """Carries out work in a store, bounded in number by class and in time by the deadline.

    Args:
        clock: Unix milliseconds.
        own: What is carried out here and not in the store, by the operation's name.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        store: Store,
        breaker: Breaker,
        cursors: Cursors,
        bulkheads: Bulkheads,
        *,
        clock: Callable[[], int],
        own: Mapping[str, Own] | None = None,
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._cursors = cursors
        self._clock = clock
        self._own = own or {}
        self._reads = asyncio.Semaphore(bulkheads.max_reads)
        self._writes = asyncio.Semaphore(bulkheads.max_writes)

    def refuse_hopeless(self, operation: Operation, deadline: Deadline) -> None:
        """Refuse, before the trail is troubled, what cannot be carried out.

        Raises:
            NotSupported, DeadlineExceeded
            Unavailable: the store is being left alone.
        """
        if operation.name in UNSUPPORTED:
            raise NotSupported(f"{operation.name} is not supported by this gateway")
        self._left_s(deadline)
        self._breaker.refuse_open()

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

        return await self._ask(self._reads, deadline, recall, silent=_silent_read)

    async def execute(
        self, request: Request, claim: LedgerClaim | None, deadline: Deadline
    ) -> Done:
        """Step 9: carry out a request within its document rules.

        Raises:
            Unavailable, DeadlineExceeded: nothing was done.
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

        if request.mutates:
            return await self._ask(self._writes, deadline, carry_out, silent=_silent_write)
        return await self._ask(self._reads, deadline, carry_out, silent=_silent_read)

    async def _carry_out(self, request: Request, claim: LedgerClaim | None, ends_ms: int) -> Done:
        subject, arguments = request.subject, request.arguments
        roles, version = request.identity.roles, request.policy.version
        owner = Owner(subject.principal, subject.database, roles, version)
        if isinstance(arguments, Outcome):
            return await outcome(self._store, subject, arguments)
        if isinstance(arguments, Next):
            return await self._cursors.next(owner, arguments, ends_ms)
        if (own := self._own.get(request.operation.name)) is not None:
            return Done(await own(request))
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
        )
        return await self._cursors.keep(await self._store.execute(work), owner)

    async def _ask(
        self,
        bulkhead: asyncio.Semaphore,
        deadline: Deadline,
        question: Callable[[float], Awaitable[T]],
        *,
        silent: Callable[[], ExecutionError],
    ) -> T:
        try:
            with self._breaker.guard():
                await self._enter(bulkhead, deadline)
                left_s = 0.0
                try:
                    left_s = self._left_s(deadline)
                    async with asyncio.timeout(left_s + STORE_MARGIN_S):
                        return await question(left_s)
                except TimeoutError:
                    raise silent() if left_s >= PATIENCE_S else _ShortOfTime from None
                finally:
                    bulkhead.release()
        except _ShortOfTime:
            raise silent() from None

    async def _enter(self, bulkhead: asyncio.Semaphore, deadline: Deadline) -> None:
        """Wait for a place no longer than the caller does."""
        if not bulkhead.locked():
            await bulkhead.acquire()
            return
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                await bulkhead.acquire()
        except TimeoutError:
            raise DeadlineExceeded(
                "the caller's time was over before the store was free; nothing was done"
            ) from None

    def _left_s(self, deadline: Deadline) -> float:
        left_s = deadline.left_s(self._clock(), time.monotonic())
        if left_s <= 0:
            raise DeadlineExceeded(
                f"the caller's time was over {-left_s:.3f} s ago; nothing was done"
            )
        return left_s


def _too_long(runtime_ms: int) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the store may work on this for at most {runtime_ms} ms; nothing was done",
        retryable=False,
    )


def _silent_write() -> ExecutionError:
    return OutcomeUnknown("the store did not answer in time; ask with outcome")


def _silent_read() -> ExecutionError:
    return Unavailable("the store did not answer in time; nothing was done")
