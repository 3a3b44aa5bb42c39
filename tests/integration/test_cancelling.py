"""A caller's task is cancelled: what has not begun is not begun."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.cancelling import seal_cancel
from tests.integration.stage import eventually
from tests.integration.world import World, running_world
from tests.support.simulated_caller import SimulatedCaller

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAITING = 5
KEYS = [f"k{number}" for number in range(WAITING + 1)]


class Lock:
    """Holds the write lock of the embedded store, so that nobody writes."""

    def __init__(self, world: World) -> None:
        path = world.house.root / "store" / "mallku.sqlite"
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def open(self) -> None:
        """Let them write again."""
        self._connection.execute("ROLLBACK")
        self._connection.close()


async def _all_intended(world: World, count: int) -> None:
    """Wait until so many inserts stand on the trail and none has its outcome."""
    await eventually(
        lambda: world.trail(settle_s=0),
        lambda trail: (
            sum(
                each.kind == "intent" and each.subject.endswith(".insert") for each in trail.records
            )
            >= count
        ),
    )


def _insert_all(db: SecuredDatabaseInterface) -> list[asyncio.Task[object]]:
    anchors = db.collection("memory_anchors")
    return [asyncio.create_task(anchors.insert({"_key": key}, timeout=60)) for key in KEYS]


async def test_cancelled_tasks_are_not_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write is in the store and five wait for it; four of these are cancelled.

    Neither their effects nor open ends are left: the trail says that nothing was done. A wish that
    another key signed, or that names another command, changes nothing.
    """
    monkeypatch.setenv("MALLKU_WORKER_MAX_WRITES", "1")
    async with running_world(tmp_path / "house", workers=1) as world:
        async with world.client() as db:
            anchors = await db.create_collection("memory_anchors")
            lock = Lock(world)
            try:
                tasks = _insert_all(db)
                await _all_intended(world, len(KEYS))
                intents = (await world.trail(settle_s=0)).records
                ids = [each.id for each in intents if each.subject.endswith(".insert")]
                async with world.connection() as connection:
                    forger = SimulatedCaller.of("mallku").key
                    for each in ids:
                        connection.post(*seal_cancel("mallku", each, forger))
                    connection.post(*seal_cancel("mallku", "no-such-id", world.caller().key))
                    await connection.flush()
                for task in tasks[2:]:
                    task.cancel()
                await asyncio.wait(tasks[2:])
                # What follows on the same connection comes after the wishes.
                await anchors.has("nothing")
            finally:
                lock.open()
            await asyncio.gather(*tasks[:2])
            assert await anchors.get_many(KEYS) == await anchors.get_many(KEYS[:2])
            assert await anchors.count() == 2
        trail = await world.trail()
        failed = [each for each in trail.records if each.kind == "failed"]
        assert {each.code for each in failed} == {"deadline_exceeded"}
        assert len(failed) == WAITING - 1
