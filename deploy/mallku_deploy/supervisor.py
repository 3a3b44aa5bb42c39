"""Keeps workers alive: who dies or falls silent is removed and replaced, and it is said aloud."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from mallku_contracts.errors import Unavailable
from mallku_deploy.backoff import HEALTHY_S, delay_s
from mallku_deploy.events import Announce, NotYet, WorkerLost, WorkerReady
from mallku_deploy.life import WorkerLife, WorkerSpec

STOP_WORKERS_S: Final = 3.0
"""From SIGTERM until a worker that still runs is killed, seconds."""


class Supervisor:
    """Runs one worker in each place until `stop`."""

    def __init__(self, specs: Iterable[WorkerSpec], announce: Announce) -> None:
        self._places = [_Place(spec, announce) for spec in specs]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each worker that runs now, by its place."""
        return {place.spec.slot: place.life.pid for place in self._places if place.life is not None}

    def start(self) -> list[asyncio.Task[None]]:
        """Start all workers at once; the tasks that keep them end with `stop` alone."""
        self._tasks = [asyncio.create_task(place.keep()) for place in self._places]
        return self._tasks

    async def ready(self) -> None:
        """Wait until every worker has been ready once.

        Raises:
            Unavailable: a worker ended before it ever was; its own words are on standard error.
        """
        everybody = asyncio.create_task(self._everybody())
        try:
            waiting = {everybody, *self._tasks}
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            everybody.cancel()
        for task in done:  # a place that ended before all were ready did so with an error
            task.result()

    async def _everybody(self) -> None:
        await asyncio.gather(*(place.first_ready for place in self._places))

    async def stop(self, timeout_s: float = STOP_WORKERS_S) -> None:
        """Let all workers finish at once, kill those that need longer; none is left behind."""
        for place in self._places:
            place.ask_to_end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Place:
    """One place and the lives that follow each other in it."""

    def __init__(self, spec: WorkerSpec, announce: Announce) -> None:
        self.spec = spec
        self.life: WorkerLife | None = None
        self.first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._announce = announce
        self._ending = asyncio.Event()
        self._failures = 0

    def ask_to_end(self) -> None:
        self._ending.set()
        if self.life is not None:
            self.life.ask_to_end()

    async def keep(self) -> None:
        """Let one life follow the other until asked to end."""
        while not self._ending.is_set():
            lost: WorkerLost | NotYet | None
            try:
                lost = await self._live()
            except OSError as error:  # no process, no pipe: the machine may recover
                lost = self._not_started(error)
            if lost is None:
                return
            self._announce(lost)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(lost.delay_s):
                    await self._ending.wait()

    async def _live(self) -> WorkerLost | None:
        life = self.life = await WorkerLife.start(self.spec)
        if self._ending.is_set():  # asked while it was being started
            life.ask_to_end()
        try:
            reason = await life.watch(lambda said: self._ready(life, said))
        finally:
            await life.kill()
            self.life = None
        return None if self._ending.is_set() else self._lost(life, reason)

    def _ready(self, life: WorkerLife, said: str) -> None:
        instance, _, http = said.partition(" ")
        if not self.first_ready.done():
            self.first_ready.set_result(None)
        self._announce(WorkerReady(self.spec.slot, instance, life.pid, http))

    def _not_started(self, error: OSError) -> NotYet:
        what, reason = f"starting {self.spec.slot}", error.strerror or type(error).__name__
        self._give_up_first(f"{what}: {reason}")
        self._failures += 1
        return NotYet(what, reason, delay_s(self._failures))

    def _give_up_first(self, why: str) -> None:
        if not self.first_ready.done():
            self.first_ready.set_exception(Unavailable(why, retryable=False))

    def _lost(self, life: WorkerLife, reason: str) -> WorkerLost:
        self._give_up_first(f"{self.spec.slot} {reason} before it was ready")
        self._failures = 1 if life.age_s >= HEALTHY_S else self._failures + 1
        return WorkerLost(self.spec.slot, life.pid, reason, delay_s(self._failures))
