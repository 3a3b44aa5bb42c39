"""A thread that takes everything which waits in one go, and hands the answers back in one go.

Between the event loop and the thread there is one hand-over for a whole group, each way: under
load the price of changing threads is shared by hundreds of jobs.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from typing import Any, Final, Protocol

from mallku_contracts.errors import MallkuError, Unavailable

RETRY_AFTER_S: Final = 0.05
"""Advice to callers who meet a full queue, seconds."""

ORPHAN_CHECK_S: Final = 1.0
"""How often an idle thread looks whether the process is about to end, seconds."""


class Job:
    """Something to be done in the thread, and where the answer goes."""

    __slots__ = ("error", "future", "result", "since", "task")

    def __init__(self, task: Any, future: asyncio.Future[Any]) -> None:
        self.task = task
        self.future = future
        self.since = time.monotonic()
        self.result: Any = None
        self.error: MallkuError | None = None

    def settle(self) -> None:
        """Give the answer, once, and let go of it.

        An error's traceback holds frames that hold the job: a cycle, if the job held the error.
        """
        future, result, error = self.future, self.result, self.error
        del self.future, self.result, self.error
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class Server(Protocol):
    """What runs in the thread."""

    def serve(self, jobs: list[Job]) -> list[Job]:
        """Settle at least one of the jobs and return those that are left; never raise."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Lane:
    """One thread with its queue.

    Args:
        limit: Jobs that may wait or run at the same time, count.
        group: Jobs that are taken together, count.
    """

    def __init__(self, name: str, server: Server, *, limit: int, group: int) -> None:
        self._server = server
        self._limit = limit
        self._group = group
        self._open = 0
        self._stopping = False
        self._gathered: list[Job] = []
        self._inbox: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)
        self._thread.start()

    def submit(self, task: Any) -> asyncio.Future[Any]:
        """Queue a task; the future gets its result or its coded error.

        Raises:
            Unavailable: the queue is full, or the lane is stopping.
        """
        if self._stopping:
            raise Unavailable("the store is stopping")
        if self._open >= self._limit:
            raise Unavailable(f"{self._limit} works wait already", retry_after=RETRY_AFTER_S)
        self._open += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(Job(task, future))
        return future

    async def stop(self) -> None:
        """Finish what was accepted and end the thread."""
        if not self._stopping:
            self._stopping = True
            self._hand_over()
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        # Answers that the thread posted before its end are in the loop's queue ahead of this.
        await asyncio.sleep(0)

    def _hand_over(self) -> None:
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def _run(self) -> None:
        waiting: deque[Job] = deque()
        more = True
        while more or waiting:
            more = self._take(waiting, more=more)
            if waiting:
                self._serve(waiting)
        self._server.close()

    def _serve(self, waiting: deque[Job]) -> None:
        """Have a group served; nothing of it is held here while the next is waited for."""
        group = [waiting.popleft() for _ in range(min(self._group, len(waiting)))]
        left = self._server.serve(group)
        waiting.extendleft(reversed(left))
        kept = set(left)
        settled = [job for job in group if job not in kept]
        self._loop.call_soon_threadsafe(self._settle, settled)

    def _take(self, waiting: deque[Job], *, more: bool) -> bool:
        """Add all that waits, or wait for it; whether more can come."""
        try:
            while more:
                jobs = self._inbox.get(block=not waiting, timeout=ORPHAN_CHECK_S)
                if jobs is None:
                    return False
                waiting.extend(jobs)
        except queue.Empty:
            # Whoever forgot to stop us is not to hang at the end of the process.
            return more and threading.main_thread().is_alive()
        return more

    def _settle(self, jobs: list[Job]) -> None:
        self._open -= len(jobs)
        for job in jobs:
            job.settle()
