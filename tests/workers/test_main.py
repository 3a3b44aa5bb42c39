"""What a worker does with the tasks that go on beside its commands."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack

import pytest

from mallku_workers import collecting
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


async def test_cycles_are_collected_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that makes few new containers gets rid of them too."""

    class Node:
        """Holds itself."""

        def __init__(self) -> None:
            self.itself = self

    monkeypatch.setattr(collecting, "COLLECT_EVERY_S", 0.001)
    gc.disable()
    try:
        gone = weakref.ref(Node())
        assert gone() is not None
        task = asyncio.ensure_future(collecting.collect_by_the_clock())
        async with asyncio.timeout(PATIENCE_S):
            while gone() is not None:  # noqa: ASYNC110 - the collector has no event
                await asyncio.sleep(0.001)
        task.cancel()
    finally:
        gc.enable()
