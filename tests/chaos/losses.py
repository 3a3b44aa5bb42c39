"""Tells workers that somebody killed from those that ended by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from mallku_deploy.events import WorkerLost
from tests.chaos.faults import Tormentor

LOOK_S: Final = 0.05
"""Between two looks whether workers were lost, seconds."""

_PLANNED: Final = ("was killed by SIGKILL", "was silent")


@dataclass
class Losses:
    """What became of workers.

    Attributes:
        killed: Those that a fault killed, or hung until their supervisor killed them.
        excused: Why others ended while broker or store were away, or shortly after.
        surprises: Those that ended by themselves.
    """

    killed: int = 0
    excused: Counter[str] = field(default_factory=Counter[str])
    surprises: list[str] = field(default_factory=list[str])

    def add(self, loss: WorkerLost, *, outside: bool) -> None:
        """Take one more; `outside` says whether broker or store were away."""
        if loss.reason.startswith(_PLANNED):
            self.killed += 1
        elif outside:
            self.excused[loss.reason] += 1
        else:
            self.surprises.append(str(loss))

    @asynccontextmanager
    async def watching(self, tormentor: Tormentor) -> AsyncGenerator[None]:
        """Take every worker that is lost while the block runs."""
        seen = 0

        def look() -> None:
            nonlocal seen
            losses = tormentor.arena.world.losses
            for loss in losses[seen:]:
                self.add(loss, outside=tormentor.outside)
            seen = len(losses)

        async def keep_looking() -> None:
            while True:
                look()
                await asyncio.sleep(LOOK_S)

        looking = asyncio.create_task(keep_looking())
        try:
            yield
        finally:
            looking.cancel()
            look()
