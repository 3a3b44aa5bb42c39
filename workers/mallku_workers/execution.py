"""Step 9, execute: under breaker, bulkhead and what is left of the caller's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from mallku_contracts.arguments import Arguments, Outcome
from mallku_contracts.errors import (
    DeadlineExceeded,
    ExecutionError,
    NotSupported,
    OutcomeUnknown,
)
from mallku_contracts.operations import UNSUPPORTED, Operation
from mallku_contracts.subjects import CommandSubject
from mallku_workers.breaker import Breaker
from mallku_workers.ledger import outcome
from mallku_workers.message import Deadline
from mallku_workers.stores.base import Done, LedgerClaim, Store, Work

STORE_MARGIN_S: Final = 0.25
"""How long the store may take, past the deadline, to say that it did not begin, seconds."""

_MS_PER_S: Final = 1_000


class Executor:
    """Carries out work in a store, bounded in number by class and in time by the deadline.

    Args:
        clock: Unix milliseconds.
    """

    def __init__(
        self,
        store: Store,
        breaker: Breaker,
        *,
        max_reads: int,
        max_writes: int,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._reads = asyncio.Semaphore(max_reads)
        self._writes = asyncio.Semaphore(max_writes)

    def refuse_hopeless(self, operation: Operation, deadline: Deadline) -> None:
        """Refuse, before the trail is troubled, what cannot be carried out.

        Raises:
            NotSupported, DeadlineExceeded
        """
        if operation.name in UNSUPPORTED:
            raise NotSupported(f"{operation.name} is not supported by this gateway")
        self._left_s(deadline)

    async def execute(
        self,
        subject: CommandSubject,
        operation: Operation,
        arguments: Arguments,
        claim: LedgerClaim | None,
        deadline: Deadline,
    ) -> Done:
        """Carry out one operation.

        Raises:
            Unavailable, DeadlineExceeded: nothing was done.
            OutcomeUnknown: the store did not answer in time and may still have done it.
            RequestError: the store refused, and nothing was done.
        """
        bulkhead = self._writes if operation.mutates else self._reads
        with self._breaker.guard():
            async with bulkhead:
                left_s = self._left_s(deadline)
                try:
                    async with asyncio.timeout(left_s + STORE_MARGIN_S):
                        if isinstance(arguments, Outcome):
                            return await outcome(self._store, subject, arguments)
                        ends_ms = self._clock() + int(left_s * _MS_PER_S)
                        return await self._store.execute(
                            Work(
                                operation,
                                subject.database,
                                subject.collection,
                                arguments,
                                ends_ms,
                                claim,
                            )
                        )
                except TimeoutError:
                    raise _silent_store(operation) from None

    def _left_s(self, deadline: Deadline) -> float:
        left_s = deadline.left_s(self._clock(), time.monotonic())
        if left_s <= 0:
            raise DeadlineExceeded(
                f"the caller's time was over {-left_s:.3f} s ago; nothing was done"
            )
        return left_s


def _silent_store(operation: Operation) -> ExecutionError:
    if operation.mutates:
        return OutcomeUnknown("the store did not answer in time; ask with outcome")
    return DeadlineExceeded("the store did not answer in time")
