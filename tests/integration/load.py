"""Many commands at once, every answer of which is looked at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self

from mallku_client import Answer, SecuredDatabaseInterface
from mallku_contracts.errors import MallkuError
from tests.integration.world import until

LANES = 24


@dataclass
class Load:
    """Inserts from many tasks at once, until told to stop.

    Attributes:
        acknowledged: The documents' keys whose insert was acknowledged.
        answers: Every answer.
        errors: Every error, which there should not be.
    """

    client: SecuredDatabaseInterface
    timeout_s: float = 15.0
    acknowledged: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    errors: list[MallkuError] = field(default_factory=list)
    stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._lane(number)) for number in range(LANES)]
        await self.grown()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let every task finish its command."""
        self.stopping = True
        await asyncio.gather(*self._tasks)

    async def grown(self, by: int = 100) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self.acknowledged) + by
        await until(
            f"{wanted} inserts", lambda: len(self.acknowledged) >= wanted or bool(self.errors)
        )

    async def _lane(self, lane: int) -> None:
        anchors, number = self.client.collection("memory_anchors"), 0
        while not self.stopping:
            number += 1
            key = f"{lane}-{number}"
            try:
                await anchors.insert(
                    {"_key": key}, timeout=self.timeout_s, on_answer=self.answers.append
                )
            except MallkuError as error:
                self.errors.append(error)
                return
            self.acknowledged.add(key)

    async def check(self) -> None:
        """Everything that was acknowledged is there, and nothing went wrong."""
        assert self.errors == []
        anchors = self.client.collection("memory_anchors")
        assert await anchors.count() == len(self.acknowledged)
        keys = sorted(self.acknowledged)
        for start in range(0, len(keys), 1_000):
            found = await anchors.get_many(keys[start : start + 1_000])
            assert len(found) == len(keys[start : start + 1_000])
