"""Queries as a client has them: pages, what is asked again, what is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_client import QueryCursor, SecuredDatabaseInterface
from mallku_contracts.errors import (
    Busy,
    CursorLost,
    DeadlineExceeded,
    InvalidArguments,
    InvalidQuery,
    OutcomeUnknown,
    UnverifiedReply,
)
from tests.client.querying import CURSOR, STATISTICS, Query
from tests.client.world import MemoryGateway, Opened, World

SHORT_S = 0.3


@pytest.fixture
def query(world: World) -> Query:
    """Ten rows in pages of three."""
    made = Query([{"n": n} for n in range(10)])
    world.gateway.script = [made]
    return made


async def execute(db: SecuredDatabaseInterface, **arguments: Any) -> QueryCursor:
    """Run the query."""
    return await db.aql.execute("FOR a IN b RETURN a", **arguments)


async def test_rows_come_once_and_in_order(query: Query, db: SecuredDatabaseInterface) -> None:
    """Over all pages, each of which is asked for once, when it is reached."""
    cursor = await execute(db)
    assert query.asked == []
    assert [row["n"] async for row in cursor] == list(range(10))
    assert query.asked == [2, 3, 4]
    assert [row async for row in cursor] == []
    assert await cursor.all() == []


async def test_what_is_asked_is_sent(
    world: World, query: Query, db: SecuredDatabaseInterface
) -> None:
    """python-arango's arguments under their names, and nothing that was left out."""
    await execute(db, count=True, batch_size=5, bind_vars={"x": 1}, fail_on_warning=True)
    assert world.gateway.seen[-1].body == {
        "query": "FOR a IN b RETURN a",
        "count": True,
        "batch_size": 5,
        "bind_vars": {"x": 1},
        "fail_on_warning": True,
    }
    assert str(world.gateway.seen[-1].subject) == "mallku.v1.cmd.mallku.mallku.@.aql"


async def test_what_is_known_of_a_query_is_at_hand(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """Count, statistics, warnings and plan, with the first page and without asking again."""
    plan = [{"collection": "b", "access": "full"}]
    warnings = [{"code": 1562, "message": "division by zero"}]
    query.extra = {"count": 10, "full_count": 20, "plan": plan, "warnings": warnings}
    cursor = await execute(db, count=True, full_count=True, profile=True)
    assert (cursor.count(), cursor.full_count(), cursor.plan()) == (10, 20, plan)
    assert (cursor.statistics(), cursor.warnings()) == (STATISTICS, warnings)
    assert (cursor.id, cursor.has_more(), cursor.empty()) == (CURSOR, True, False)
    query.extra = {}
    other = await execute(db)
    assert (other.count(), other.full_count(), other.plan()) == (None, None, None)


async def test_the_ways_to_have_rows(query: Query, db: SecuredDatabaseInterface) -> None:
    """`batch`, `next`, `fetch`, `take` and `all` go on where the one before stopped."""
    cursor = await execute(db)
    assert [row["n"] for row in cursor.batch()] == [0, 1, 2]
    assert (await cursor.next())["n"] == 0
    assert [row["n"] for row in await cursor.fetch()] == [3, 4, 5]
    assert [row["n"] for row in cursor.batch()] == [1, 2, 3, 4, 5]
    assert [row["n"] for row in await cursor.take()] == [1, 2, 3, 4, 5]
    assert cursor.empty()
    assert [row["n"] for row in await cursor.all()] == [6, 7, 8, 9]
    assert (cursor.has_more(), cursor.id, await cursor.fetch(), await cursor.take()) == (
        False,
        None,
        [],
        [],
    )
    with pytest.raises(StopAsyncIteration):
        await cursor.next()


async def test_one_page_is_held_at_a_time(query: Query, db: SecuredDatabaseInterface) -> None:
    """While rows are taken one by one, no more than a page of them is here."""
    cursor = await execute(db)
    most = 0
    async for _ in cursor:
        most = max(most, len(cursor.batch()))
    assert most == query.size - 1


async def test_a_lost_page_is_asked_for_again(query: Query, db: SecuredDatabaseInterface) -> None:
    """The same number, until it comes; no row is left out and none comes twice."""
    query.faults = [None, Busy("full", retry_after=0.01), None]
    cursor = await execute(db, timeout=2.0)
    assert [row["n"] async for row in cursor] == list(range(10))
    assert query.asked == [2, 2, 2, 2, 3, 4]


async def test_a_page_that_did_not_come_in_time_can_be_had_later(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """The call ends with `DeadlineExceeded`; the next one goes on with the page that is missing."""
    query.faults = [None] * 20
    cursor = await execute(db, timeout=SHORT_S)
    seen = [(await cursor.next())["n"] for _ in range(3)]
    with pytest.raises(DeadlineExceeded):
        await cursor.next()
    query.faults = []
    assert seen + [row["n"] async for row in cursor] == list(range(10))


@pytest.mark.parametrize("gone", ["worker", "cursor"])
async def test_a_lost_cursor_ends_at_once(
    query: Query, db: SecuredDatabaseInterface, gone: str
) -> None:
    """`CursorLost`, retryable for the query alone: the page is asked for once, then never again."""
    cursor = await execute(db)
    query.alive, query.present = gone != "cursor", gone != "worker"
    rows: list[int] = []

    async def read() -> None:
        async for row in cursor:
            rows.append(row["n"])  # noqa: PERF401 - it raises

    with pytest.raises(CursorLost) as lost:
        await read()
    assert rows == [0, 1, 2]
    assert lost.value.retryable
    assert query.asked == ([2] if gone == "cursor" else [])
    with pytest.raises(CursorLost):
        await cursor.all()
    assert await cursor.close() is False
    assert query.asked == ([2] if gone == "cursor" else [])
    query.alive = query.present = True
    assert len(await (await execute(db)).all()) == 10


async def test_tasks_may_share_a_cursor(query: Query, db: SecuredDatabaseInterface) -> None:
    """Each row goes to one of them."""
    cursor = await execute(db)

    async def read() -> list[int]:
        return [row["n"] async for row in cursor]

    parts = await asyncio.gather(*(read() for _ in range(4)))
    assert sorted(n for part in parts for n in part) == list(range(10))


async def test_who_stops_early_gives_the_rest_back(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """By `async with`, also through an error; and by `close`, once."""
    async with await execute(db) as cursor:
        async for _ in cursor:
            break
    assert (query.asked, cursor.has_more(), cursor.empty()) == ([0], False, True)
    query.alive = True
    with pytest.raises(KeyError):
        async with await execute(db):
            raise KeyError
    assert query.asked == [0, 0]
    query.alive = True
    cursor = await execute(db)
    assert (await cursor.close(), await cursor.aclose()) == (True, False)
    assert [row async for row in cursor] == []
    assert query.asked == [0, 0, 0]


async def test_who_is_cancelled_gives_the_rest_back(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """Also in the middle of waiting for a page; the cancellation goes on."""
    query.faults = [None]
    waiting = asyncio.Event()

    async def read() -> None:
        async with await execute(db) as cursor:
            await cursor.take()
            waiting.set()
            await cursor.take()

    task = asyncio.create_task(read())
    await waiting.wait()
    while not query.asked:  # noqa: ASYNC110 - the gateway sets no event
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert query.asked == [2, 0]


async def test_nothing_is_given_back_that_is_not_held(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """A cursor that was read to its end, or that never had a second page, costs no command."""
    async with await execute(db) as cursor:
        await cursor.all()
    query.size = 20
    async with await execute(db):
        pass
    assert query.asked == [2, 3, 4]


async def test_closing_what_is_gone_is_no_error_unless_asked(
    query: Query, db: SecuredDatabaseInterface
) -> None:
    """The worker gives it back by itself, so that only who wants to know is told."""
    cursor, other = await execute(db), await execute(db)
    query.alive = False
    assert await cursor.close() is False
    with pytest.raises(CursorLost):
        await other.close(ignore_missing=False)


async def test_a_query_is_sent_again_as_a_mutation_is(
    world: World, query: Query, db: SecuredDatabaseInterface
) -> None:
    """It may change documents: same key, same bytes; and without any answer, its fate is unknown.

    An unsigned answer is none.
    """

    async def lost(_gateway: MemoryGateway, _command: Opened) -> bytes | None:
        return None

    async def unsigned(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"result": {"result": [], "more": False}}, signed=False)

    world.gateway.script = [lost, unsigned, query]
    assert len(await (await execute(db, timeout=3.0)).all()) == 10
    first, second, third = world.gateway.seen[:3]
    assert first.header.idem == second.header.idem == third.header.idem
    assert first.raw_body == third.raw_body
    world.gateway.script = [lost] * 9
    with pytest.raises(OutcomeUnknown):
        await execute(db, timeout=SHORT_S)


async def test_pages_are_signed_as_reads_are(world: World, query: Query) -> None:
    """Only who believes unsigned reads believes an unsigned page; a query's answer is no read."""

    async def unsigned(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"result": {"result": [7], "more": False}}, signed=False)

    for require, believed in ((False, True), (True, False)):
        async with await world.connect(require_signed_reads=require, timeout_s=SHORT_S) as db:
            world.gateway.script = [query]
            cursor = await execute(db)
            world.gateway.script = [unsigned]
            if believed:
                assert (await cursor.all())[-1] == 7
            else:
                with pytest.raises(UnverifiedReply):
                    await cursor.all()
            world.gateway.script = [unsigned] * 9
            with pytest.raises(OutcomeUnknown):
                await execute(db)


async def test_a_query_that_is_wrong_is_told_with_its_place(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """python-arango's number, line and column."""

    async def refuse(gateway: MemoryGateway, command: Opened) -> bytes | None:
        wrong = InvalidQuery("no", error_code=1501, line=1, column=5)
        return gateway.reply(command, {"error": wrong.to_wire()})

    world.gateway.script = [refuse]
    with pytest.raises(InvalidQuery) as refused:
        await execute(db)
    assert (refused.value.error_code, refused.value.details["column"]) == (1501, 5)


async def test_explain_runs_nothing(
    world: World, query: Query, db: SecuredDatabaseInterface
) -> None:
    """The plan alone comes back."""
    query.rows, query.extra = [], {"plan": [{"collection": "b", "access": "full"}]}
    assert await db.aql.explain("FOR a IN b RETURN a") == query.extra["plan"]
    assert world.gateway.seen[-1].body["explain"] is True


async def test_pages_are_asked_through_cursors_alone(db: SecuredDatabaseInterface) -> None:
    """`next` names no worker as a command, so it is refused before it is sent."""
    with pytest.raises(InvalidArguments, match="worker that holds a cursor"):
        await db.command("next", None, {"cursor": "c"})


async def test_rows_belong_to_the_caller(query: Query, db: SecuredDatabaseInterface) -> None:
    """What a caller does to a row changes nothing for the next one."""
    query.rows = [{"n": 1}] * 4
    rows = [row async for row in await execute(db)]
    rows[0]["n"] = 2
    assert [row["n"] for row in rows] == [2, 1, 1, 1]
