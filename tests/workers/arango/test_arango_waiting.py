"""Where writes wait for each other, nobody is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mallku_contracts.errors import MallkuError, StoreFailure
from mallku_workers.stores.arango import ArangoSettings
from mallku_workers.stores.arango.combining import Prepared, prepare
from mallku_workers.stores.arango.waiting import CarryOut, WaitingRoom
from mallku_workers.stores.arango.writing import Outcome
from mallku_workers.stores.base import Done
from tests.stores.calling import make_claim, make_work, now_ms
from tests.support.nats import until

SETTINGS = ArangoSettings(group_lanes=1)


def prepared(key: str) -> Prepared:
    """An insert of this key, fit to be combined."""
    work = make_work("insert", "people", {"document": {"_key": key}}, claim=make_claim())
    made = prepare(work, SETTINGS, now_ms())
    assert made is not None
    return made


class Database:
    """Carries out groups, the first of them when it is let, as it is told."""

    def __init__(self, *ends: Exception | list[Outcome]) -> None:
        self.ends = list(ends)
        self.groups: list[int] = []
        self.may_begin = asyncio.Event()

    async def __call__(self, group: Sequence[Prepared]) -> list[Outcome]:
        """Carry out a group."""
        self.groups.append(len(group))
        await self.may_begin.wait()
        plain: list[Outcome] = [Done(one.key) for one in group]
        end = self.ends.pop(0) if self.ends else plain
        if isinstance(end, Exception):
            raise end
        return end


async def submitted(database: CarryOut, keys: str) -> list[asyncio.Future[Done]]:
    """Works that wait in one room, in this order."""
    room = WaitingRoom(database, SETTINGS)
    tasks: list[asyncio.Future[Done]] = []
    for key in keys:
        tasks.append(asyncio.ensure_future(room.submit(prepared(key))))
        await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("error", [StoreFailure("gone"), ZeroDivisionError("a mistake of ours")])
async def test_an_error_reaches_its_group_and_nobody_else(error: Exception) -> None:
    """Coded or not, as it is; those who wait behind it are carried out, and nobody hangs."""
    database = Database(error)
    first, *others = await submitted(database, "abc")
    database.may_begin.set()
    async with asyncio.timeout(5):
        with pytest.raises(type(error)) as raised:
            await first
        assert raised.value is error
        assert [(await one).result for one in others] == ["b", "c"]
    assert database.groups == [1, 2]


async def test_an_answer_for_too_few_is_an_error_for_all() -> None:
    """Nobody gets the outcome of somebody else, or none."""
    database = Database([Done("a")], [Done("only one")])
    first, *others = await submitted(database, "abc")
    database.may_begin.set()
    async with asyncio.timeout(5):
        assert (await first).result == "a"
        for one in others:
            with pytest.raises(ValueError, match="shorter"):
                await one


async def test_each_gets_its_own_outcome() -> None:
    """An error of one is nothing to the others."""
    refused = MallkuError("no")
    database = Database([Done("a")], [refused, Done("c")])
    first, second, third = await submitted(database, "abc")
    database.may_begin.set()
    assert (await first).result == "a"
    with pytest.raises(MallkuError) as raised:
        await second
    assert raised.value is refused
    assert (await third).result == "c"


async def test_a_lane_that_is_ended_ends_those_it_served() -> None:
    """They are cancelled with it, rather than left."""
    database = Database()
    [first] = await submitted(database, "a")
    await until(lambda: database.groups == [1])
    [lane] = [task for task in asyncio.all_tasks() if "WaitingRoom._serve" in repr(task)]
    lane.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await first
