"""Reads the entries of the trail on all cores: records come in batches, and leave in order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Final

from mallku_contracts.trail.entry import Entry, read_entry
from mallku_contracts.trail.stored import TrailEntry

CHUNK: Final = 250
"""Records that are read at once, in one process."""

AHEAD: Final = 4
"""Chunks that wait for each process, so that none is idle."""

POOL_FROM: Final = 20_000
"""From so many records on it pays to start processes."""

Batches = AsyncIterable[list[TrailEntry]]


def cores() -> int:
    """How many processes this machine lets us run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def read_entries(
    batches: Batches, *, jobs: int, signatures: bool
) -> AsyncGenerator[list[Entry]]:
    """The entries of these batches, in their order, in lists of at most `CHUNK`.

    Args:
        jobs: Processes that read; 1 reads in this one.
        signatures: Check callers' signatures as well.
    """
    if jobs == 1:
        async for chunk in _chunks(batches):
            yield read_chunk(chunk, signatures)
        return
    loop = asyncio.get_running_loop()
    waiting: deque[asyncio.Future[list[Entry]]] = deque()
    # Not forked: threads of ours may hold locks that a fork would keep for ever.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin) as pool:
        async for chunk in _chunks(batches):
            waiting.append(loop.run_in_executor(pool, read_chunk, chunk, signatures))
            if len(waiting) >= jobs * AHEAD:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()


def read_chunk(chunk: Sequence[TrailEntry], signatures: bool) -> list[Entry]:
    """The entries in these messages."""
    return [
        read_entry(sequence, subject, data, signatures=signatures)
        for sequence, subject, _, data in chunk
    ]


def _begin() -> None:
    """An interruption is for the process that people started; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Whoever started us may be killed, and would leave us waiting for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _chunks(batches: Batches) -> AsyncGenerator[list[TrailEntry]]:
    async for batch in batches:
        for begin in range(0, len(batch), CHUNK):
            yield batch[begin : begin + CHUNK]
