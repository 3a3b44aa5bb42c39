"""A cancellation that nothing swallows, whatever waits for the answer below us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


async def cancellable(answer: Awaitable[_T]) -> _T:
    """Wait for a request of nats-py, and end with a cancellation in whichever moment it comes.

    `asyncio.wait_for` of Python 3.11, which nats-py uses, forgets one that comes together with the
    answer; whoever cancelled would wait for ever.
    """
    result = await answer
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return result
