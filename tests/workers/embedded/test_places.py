"""Places that are shared out: one for the next, and turns for those who wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from mallku_contracts.errors import DeadlineExceeded
from mallku_workers.stores.embedded.places import Places

PATIENCE_S = 30.0


async def settled() -> None:
    """Whoever was let in goes on."""
    for _ in range(5):
        await asyncio.sleep(0)


class Row:
    """Takers of places in the order in which they were let in."""

    def __init__(self, places: int) -> None:
        self.places = Places(places)
        self.inside: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *owners: str) -> None:
        """They come one after the other."""
        for owner in owners:
            self.tasks.append(asyncio.ensure_future(self._take(owner)))
            await settled()

    async def _take(self, owner: str) -> None:
        await self.places.take(owner, PATIENCE_S)
        self.inside.append(owner)

    async def go(self, owner: str) -> None:
        """One of the owner's is done."""
        self.places.give_back(owner)
        await settled()


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 1), (3, 2), (8, 4)])
async def test_one_alone_leaves_a_place_for_the_next(places: int, most: int) -> None:
    """Half of them; of a single one all there is."""
    row = Row(places)
    await row.come(*["a"] * 9)
    assert row.inside == ["a"] * most
    await row.come("b")
    assert row.inside[most:] == (["b"] if places > 1 else [])


async def test_owners_take_turns() -> None:
    """Whoever has many waiting is let in as often as whoever has few."""
    row = Row(1)
    await row.come(*["a"] * 4, *["b"] * 2, "c")
    for _ in range(6):
        await row.go(row.inside[-1])
    assert row.inside == ["a", "a", "b", "c", "a", "b", "a"]


async def test_what_is_the_gateways_own_has_no_share() -> None:
    """It may take every place."""
    places = Places(3)
    for _ in range(3):
        await places.take(None, 0)
    with pytest.raises(DeadlineExceeded):
        await places.take("a", 0.01)


async def test_whoever_gives_up_holds_nothing_up() -> None:
    """Too late, or cancelled, before the place came or in the same moment."""
    row = Row(1)
    await row.come("a", "b", "c", "d")
    row.tasks[1].cancel()
    await settled()
    row.places.give_back("a")
    row.tasks[2].cancel()  # the place has come, and was not taken yet
    await settled()
    assert row.inside == ["a", "d"]
    with pytest.raises(DeadlineExceeded):
        await row.places.take("e", 0.01)
    await row.go("d")
    await row.come("f")
    assert row.inside[-1] == "f"


async def test_no_place_is_lost_or_made() -> None:
    """Whatever comes, goes and gives up: never too many inside, and in the end all are free."""
    chance, places, inside = random.Random(7), Places(4), Counter[str]()

    async def one(owner: str) -> None:
        try:
            await places.take(owner, chance.choice([0.001, PATIENCE_S]))
        except DeadlineExceeded:
            return
        inside[owner] += 1
        assert inside.total() <= 4
        try:
            await asyncio.sleep(chance.random() / 1_000)
        finally:
            inside[owner] -= 1
            places.give_back(owner)

    tasks = [asyncio.ensure_future(one(chance.choice("abc"))) for _ in range(300)]
    for task in tasks[::7]:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(4):
        await asyncio.wait_for(places.take(None, 0.01), 1)
