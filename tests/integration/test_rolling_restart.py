"""Every worker in turn is restarted under load: with retries on, nobody notices."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import MallkuError
from tests.integration.world import World, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LANES = 4
ROUNDS = 2
GROWTH = 30


@dataclass
class Mixture:
    """Each lane does one kind of command again and again, and counts what succeeded."""

    client: SecuredDatabaseInterface
    done: dict[str, int] = field(default_factory=dict)
    errors: list[MallkuError] = field(default_factory=list)
    stopping: bool = False

    async def insert(self, lane: int, number: int) -> None:
        """A new document."""
        await self.client.collection("memory_anchors").insert({"_key": f"i{lane}-{number}"})

    async def read(self, lane: int, _number: int) -> None:
        """A document that is there."""
        assert await self.client.collection("memory_anchors").get(f"c{lane}")

    async def count_up(self, lane: int, number: int) -> None:
        """The lane's own document, in the revision that the lane saw last."""
        anchors = self.client.collection("memory_anchors")
        seen = await anchors.get(f"c{lane}")
        assert seen is not None
        assert seen["n"] == number - 1, "an update was lost, or done twice"
        await anchors.update({**seen, "n": number})

    async def query(self, _lane: int, _number: int) -> None:
        """A query of one page."""
        text = "FOR a IN memory_anchors FILTER a._key == @key RETURN a.n"
        rows = await self.client.aql.execute(text, bind_vars={"key": "c0"})
        assert len([row async for row in rows]) == 1

    async def lane(self, kind: Callable[[int, int], Awaitable[None]], lane: int) -> None:
        """Go on until told to stop, or until something fails."""
        name, number = kind.__name__, 0
        while not self.stopping:
            number += 1
            try:
                await kind(lane, number)
            except MallkuError as error:
                self.errors.append(error)
                return
            self.done[name] = self.done.get(name, 0) + 1

    async def grown(self) -> None:
        """Wait until each kind has done so much more, or something failed."""
        wanted = {name: self.done.get(name, 0) + GROWTH for name in self.kinds}
        await until(
            f"{wanted}",
            lambda: (
                bool(self.errors)
                or all(self.done.get(name, 0) >= least for name, least in wanted.items())
            ),
            timeout_s=60,
        )

    @property
    def kinds(self) -> dict[str, Callable[[int, int], Awaitable[None]]]:
        """What is done, by its name."""
        every = (self.insert, self.read, self.count_up, self.query)
        return {kind.__name__: kind for kind in every}


async def test_a_rolling_restart_loses_no_request(own_world: World) -> None:
    """Two rounds over all workers: every call succeeds, every write is there once, all in time.

    The trail has one outcome for each intent, and verifies.
    """
    async with own_world.client(timeout_s=30.0) as client:
        anchors = client.collection("memory_anchors")
        await anchors.insert_many([{"_key": f"c{lane}", "n": 0} for lane in range(LANES)])
        load = Mixture(client)
        lanes = [
            asyncio.create_task(load.lane(kind, lane))
            for kind in load.kinds.values()
            for lane in range(LANES)
        ]
        await load.grown()
        for _ in range(ROUNDS):
            for place in sorted(own_world.workers):
                pid = await own_world.kill(place, signal.SIGTERM)
                assert (await own_world.replaced(pid)).reason == "ended with 0"
                await load.grown()
        load.stopping = True
        await asyncio.gather(*lanes)
        assert load.errors == []
        assert await anchors.count() == LANES + load.done["insert"]
        numbers = [(await anchors.get(f"c{lane}") or {})["n"] for lane in range(LANES)]
        assert sum(numbers) == load.done["count_up"]
    trail = await own_world.trail()
    assert trail.ids("intent") == trail.ids("done", "failed")
    assert (await own_world.verify()).findings.accusations == []
