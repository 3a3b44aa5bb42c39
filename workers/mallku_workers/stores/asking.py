"""Asking a store for one operation outside the pipeline: the offline administrator's tools.

Nothing here is reached by a command of a caller. What is asked carries no claim: each of these
operations may be repeated, and the tools make sure of it themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import MallkuError, OutcomeUnknown
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import NO_COLLECTION
from mallku_workers.stores.base import Done, Work

ASK_S: Final = 60.0
"""One operation on documents, seconds."""

CATALOG_S: Final = 3_600.0
"""One operation on collections, indexes and graphs, seconds: an index is made of every document."""

TRIES: Final = 6
"""How often one operation is asked for in all, where the store could not do it just now."""

FIRST_WAIT_S: Final = 0.1
"""Before it is asked for again, seconds; it doubles with every try."""

LONGEST_WAIT_S: Final = 5.0
"""The longest wait between two tries, seconds."""

_CATALOG: Final = frozenset(
    {"create-index", "drop-index", "create-collection", "drop-collection", "create-graph"}
)
_MS_PER_S: Final = 1_000


class Executes(Protocol):
    """The part of `Store` that the tools use."""

    async def execute(self, work: Work) -> Done:
        """Carry out one operation."""
        ...


async def ask(
    store: Executes, database: str, operation: str, collection: str = NO_COLLECTION, **values: Any
) -> Any:
    """The result of an operation; tried again, a bounded number of times, when that makes sense.

    Raises:
        MallkuError: as the store said it, the last time.
    """
    known = OPERATIONS[operation]
    arguments = read_arguments(known.arguments, values)
    within_s = CATALOG_S if operation in _CATALOG else ASK_S

    def make(left_s: float) -> Work:
        return Work(known, database, collection, arguments, _ends_ms(left_s))

    return (await persist(store, make, within_s)).result


async def persist(store: Executes, make: Callable[[float], Work], within_s: float) -> Done:
    """What the store says of a work; tried again, a bounded number of times, when that makes sense.

    Args:
        make: The work for one try, given the seconds that it has.

    Raises:
        MallkuError: as the store said it, the last time.
    """
    wait_s = FIRST_WAIT_S
    for left in reversed(range(TRIES)):
        try:
            return await store.execute(make(within_s))
        except MallkuError as error:
            if not left or not (error.retryable or isinstance(error, OutcomeUnknown)):
                raise
            await asyncio.sleep(min(error.retry_after or wait_s, LONGEST_WAIT_S))
            wait_s *= 2
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _ends_ms(within_s: float) -> int:
    return time.time_ns() // 1_000_000 + int(within_s * _MS_PER_S)
