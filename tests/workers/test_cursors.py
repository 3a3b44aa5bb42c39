"""Cursors between their pages: whose they are, how long they stay, which page may be asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from mallku_contracts.arguments import Next
from mallku_contracts.errors import (
    Busy,
    CursorLost,
    DeadlineExceeded,
    InvalidArguments,
    Unavailable,
)
from mallku_workers.queries.cursors import MAX_ENDED, MAX_HELD, Cursors, Owner
from mallku_workers.stores.base import Done, QueryPage

OWNER = Owner("mallku", "mallku", frozenset({"service"}), 7)
IDLE_S, LIFE_S = 30.0, 100.0


@dataclass
class Rows:
    """Pages that a store still has.

    Attributes:
        fault: Raised by the next fetch.
        gate: Fetches wait for it.
    """

    pages: list[list[Any]]
    fault: BaseException | None = None
    closed: int = 0
    deadlines: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def fetch(self, deadline_ms: int) -> QueryPage:
        """The next page."""
        self.deadlines.append(deadline_ms)
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        rows = self.pages.pop(0)
        return QueryPage(rows, more=bool(self.pages))

    async def close(self) -> None:
        """Count it."""
        self.closed += 1


@dataclass
class World:
    """Cursors with a clock that tests set."""

    now: float = 1_000.0
    cursors: Cursors = field(init=False)

    def __post_init__(self) -> None:
        self.cursors = Cursors("w1", idle_s=IDLE_S, life_s=LIFE_S, clock=lambda: self.now)

    async def keep(self, rows: Rows, owner: Owner = OWNER) -> str:
        """Keep the rest of a query whose first page was `[0]`; the cursor's name."""
        done = await self.cursors.keep(Done({"result": [0], "more": True}, cursor=rows), owner)
        assert done.cursor is None
        assert done.result["cursor"]["worker"] == "w1"
        return str(done.result["cursor"]["id"])

    async def next(
        self,
        name: str,
        page: int = 2,
        *,
        close: bool = False,
        owner: Owner = OWNER,
    ) -> Any:
        """What is answered to `next`."""
        arguments = Next(cursor=name, page=page, close=close)
        return (await self.cursors.next(owner, arguments, 5_000)).result


@pytest.fixture
async def world() -> World:
    """No cursor yet."""
    return World()


async def test_pages_come_in_their_order(world: World) -> None:
    """Each once when asked for by its number; the store is told the deadline of each."""
    rows = Rows([[1], [2], [3]])
    name = await world.keep(rows)
    answers = [await world.next(name, page) for page in (2, 3, 4)]
    assert answers == [
        {"result": [1], "more": True},
        {"result": [2], "more": True},
        {"result": [3], "more": False},
    ]
    assert (rows.closed, rows.deadlines) == (1, [5_000] * 3)


async def test_a_query_that_is_at_its_end_has_no_cursor(world: World) -> None:
    """Its answer stays as it is."""
    done = Done({"result": [0], "more": False})
    assert await world.cursors.keep(done, OWNER) is done
    assert len(world.cursors) == 0


async def test_the_last_page_comes_again(world: World) -> None:
    """However often it is asked for, the first and the final one too; the store is asked once."""
    rows = Rows([[1], [2]])
    name = await world.keep(rows)
    assert [await world.next(name, 1) for _ in range(2)] == [{"result": [0], "more": True}] * 2
    assert [await world.next(name, 2) for _ in range(3)] == [{"result": [1], "more": True}] * 3
    assert [await world.next(name, 3) for _ in range(3)] == [{"result": [2], "more": False}] * 3
    assert len(rows.deadlines) == 2


@pytest.mark.parametrize("page", [1, 4, 99])
async def test_other_pages_are_refused(world: World, page: int) -> None:
    """One that was left behind or is not reached: the cursor stays where it is."""
    name = await world.keep(Rows([[1], [2], [3]]))
    await world.next(name, 2)
    with pytest.raises(InvalidArguments, match=f"page: {page}"):
        await world.next(name, page)
    assert await world.next(name, 3) == {"result": [2], "more": True}


async def test_there_is_nothing_behind_the_end(world: World) -> None:
    """A page after the one that said so is lost, and not an empty page or the last one."""
    name = await world.keep(Rows([[1]]))
    await world.next(name, 2)
    with pytest.raises(CursorLost):
        await world.next(name, 3)


@pytest.mark.parametrize(
    "foreign",
    [
        {"principal": "mallory"},
        {"database": "other"},
        {"roles": frozenset()},
        {"roles": frozenset({"service", "admin"})},
        {"roles": frozenset({"admin"})},
        {"policy_version": OWNER.policy_version + 1},
        {"policy_version": OWNER.policy_version - 1},
    ],
)
@pytest.mark.parametrize("close", [False, True])
async def test_a_cursor_belongs_to_who_asked_in_which_roles_under_which_policy(
    world: World, foreign: dict[str, Any], close: bool
) -> None:
    """Others are told what they are told of a name that never was, and cannot close it."""
    rows = Rows([[1]])
    name = await world.keep(rows)
    with pytest.raises(CursorLost) as refused:
        await world.next(name, 2, close=close, owner=OWNER._replace(**foreign))
    with pytest.raises(CursorLost) as unknown:
        await world.next("0" * 32)
    assert str(refused.value) == str(unknown.value)
    assert rows.closed == 0
    assert (await world.next(name))["result"] == [1]


async def test_a_cursor_is_given_back(world: World) -> None:
    """At once and once; it is lost afterwards."""
    rows = Rows([[1]])
    name = await world.keep(rows)
    assert await world.next(name, close=True) == {"result": [], "more": False}
    assert (rows.closed, len(world.cursors)) == (1, 0)
    for close in (False, True):
        with pytest.raises(CursorLost):
            await world.next(name, close=close)


@pytest.mark.parametrize(
    "fault", [Unavailable("gone"), DeadlineExceeded("late"), asyncio.CancelledError()]
)
async def test_an_error_while_fetching_ends_the_cursor(world: World, fault: BaseException) -> None:
    """A page that was made and not given would leave a gap, so there are no more pages."""
    rows = Rows([[1], [2]], fault=fault)
    name = await world.keep(rows)
    with pytest.raises(type(fault)):
        await world.next(name)
    assert (rows.closed, len(world.cursors)) == (1, 0)
    for page in (1, 2, 3):
        with pytest.raises(CursorLost):
            await world.next(name, page)


async def test_two_who_ask_at_once_get_the_same_page(world: World) -> None:
    """A retry that overtakes its first attempt waits for it, and moves nothing."""
    rows = Rows([[1], [2]])
    rows.gate.clear()
    name = await world.keep(rows)
    asked = [asyncio.ensure_future(world.next(name, 2)) for _ in range(3)]
    await asyncio.sleep(0)
    rows.gate.set()
    assert await asyncio.gather(*asked) == [{"result": [1], "more": True}] * 3
    assert len(rows.deadlines) == 1


async def test_what_nobody_asks_for_is_given_back(world: World) -> None:
    """After the idle time; each page that is asked for begins it anew."""
    rows = Rows([[1], [2], [3]])
    name = await world.keep(rows)
    world.now += IDLE_S - 1
    await world.next(name, 2)
    world.now += IDLE_S - 1
    await world.cursors.sweep()
    assert len(world.cursors) == 1
    world.now += 2
    await world.cursors.sweep()
    assert (rows.closed, len(world.cursors)) == (1, 0)
    with pytest.raises(CursorLost):
        await world.next(name, 3)


async def test_every_cursor_has_an_end(world: World) -> None:
    """Also one that is asked for again and again."""
    name = await world.keep(Rows([[n] for n in range(100)]))
    for page in range(2, 6):
        world.now += IDLE_S - 1
        await world.cursors.sweep()
        if world.now - 1_000 > LIFE_S:
            break
        await world.next(name, page)
    assert len(world.cursors) == 0


async def test_a_cursor_at_work_is_not_swept(world: World) -> None:
    """Its time may be over while the store makes a page; the page is given."""
    rows = Rows([[1], [2]])
    rows.gate.clear()
    name = await world.keep(rows)
    asked = asyncio.ensure_future(world.next(name))
    await asyncio.sleep(0)
    world.now += IDLE_S + 1
    await world.cursors.sweep()
    rows.gate.set()
    assert (await asked)["result"] == [1]
    assert rows.closed == 0


async def test_all_are_given_back_at_the_end(world: World) -> None:
    """Though one of them cannot be."""
    rows = [Rows([[1]]) for _ in range(3)]

    async def fail() -> None:
        raise Unavailable("gone")

    rows[0].close = fail  # type: ignore[method-assign]
    for one in rows:
        await world.keep(one)
    await world.cursors.close()
    assert len(world.cursors) == 0
    assert [one.closed for one in rows[1:]] == [1, 1]


async def test_nobody_holds_more_than_are_free(world: World) -> None:
    """One alone holds half; whoever comes next still finds room; what was refused is given back."""
    for _ in range(MAX_HELD // 2):
        await world.keep(Rows([[1]]))
    refused = Rows([[1]])
    with pytest.raises(Busy) as busy:
        await world.keep(refused)
    assert busy.value.retry_after
    assert (refused.closed, len(world.cursors)) == (1, MAX_HELD // 2)
    await world.keep(Rows([[1]]), OWNER._replace(principal="other"))


async def test_last_pages_are_bounded(world: World) -> None:
    """Cursors at their end take no room of others, and only so many last pages are kept."""
    names = [await world.keep(Rows([[1]])) for _ in range(MAX_HELD // 2)]
    for name in names:
        await world.next(name)
    names += [await world.keep(Rows([[1]])) for _ in range(MAX_HELD // 2)]
    for name in names[MAX_HELD // 2 :]:
        await world.next(name)
    assert len(world.cursors) == MAX_ENDED
    assert (await world.next(names[-1]))["result"] == [1]
    with pytest.raises(CursorLost):
        await world.next(names[0])


async def test_names_tell_nothing(world: World) -> None:
    """128 random bits each."""
    names = {await world.keep(Rows([[1]])) for _ in range(20)}
    assert len(names) == 20
    assert all(len(bytes.fromhex(name)) == 16 for name in names)
