"""What a worker does with the tasks that go on beside its commands."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from mallku_workers.assembly import in_background

PATIENCE_S = 5.0


async def test_a_worker_that_can_no_longer_be_governed_ends() -> None:
    """A task that fails stops the worker; one that is ended with the worker is none that failed."""
    stopping, began = asyncio.Event(), asyncio.Event()

    async def lasts() -> None:
        began.set()
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ValueError

    async with AsyncExitStack() as stack:
        in_background(stack, lasts(), stopping)
        await began.wait()
    await asyncio.sleep(0)
    assert not stopping.is_set()
    async with AsyncExitStack() as stack:
        in_background(stack, fails(), stopping)
        async with asyncio.timeout(PATIENCE_S):
            await stopping.wait()
