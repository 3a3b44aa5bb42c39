from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_client.cursor import Cursor, PageRequest
from mallku_contracts.errors import CollectionNotFound
from tests.client.world import MemoryGateway, Opened, World

Documents = list[dict[str, Any]]


def _page(count: int, *, more: bool, after: str | None) -> Any:
    return {"documents": [{"_key": str(n)} for n in range(count)], "more": more, "after": after}


def test_pages_continue_behind_a_key() -> None:
    """With a key to continue from, a skip has been served and the limit shrinks."""
    first = PageRequest(filters={"a": 1}, skip=5, limit=10, batch_size=4)
    second = first.following(_page(4, more=True, after="k"))
    assert second is not None
    assert second.arguments() == {
        "filters": {"a": 1},
        "limit": 6,
        "batch_size": 4,
        "after": "k",
    }


def test_sorted_pages_continue_by_number() -> None:
    """Where a sort forbids to continue by key, the next page skips what was given."""
    sort = [{"sort_by": "a"}]
    first = PageRequest(skip=5, sort=sort, batch_size=4)
    second = first.following(_page(4, more=True, after=None))
    assert second is not None
    assert second.arguments() == {"skip": 9, "sort": sort, "batch_size": 4}


@pytest.mark.parametrize("page", [_page(4, more=False, after=None), _page(0, more=True, after="k")])
def test_the_last_page_ends_it(page: Any) -> None:
    """No more, or nothing in it: a gateway that errs cannot make a client ask for ever."""
    assert PageRequest().following(page) is None
    assert PageRequest(limit=4).following(_page(4, more=True, after="k")) is None


async def _fill(db: SecuredDatabaseInterface, count: int) -> Documents:
    documents = [{"_key": f"{n:03}", "parity": n % 2} for n in range(count)]
    await db.collection("anchors").insert_many(documents)
    return documents


@pytest.mark.parametrize("sort", [None, [{"sort_by": "_key"}]])
@pytest.mark.parametrize(("skip", "limit"), [(None, None), (3, None), (None, 7), (3, 7), (20, 5)])
async def test_a_cursor_gives_every_document_once(
    db: SecuredDatabaseInterface,
    skip: int | None,
    limit: int | None,
    sort: list[dict[str, str]] | None,
) -> None:
    """In order, over pages of any size, with skip, limit and sort."""
    documents = await _fill(db, 10)
    begin = skip or 0
    wanted = [d["_key"] for d in documents[begin : None if limit is None else begin + limit]]
    for size in (1, 2, 3, 10, 11):
        cursor = db.collection("anchors").find({}, skip, limit, sort=sort, batch_size=size)
        assert [document["_key"] async for document in cursor] == wanted


async def test_a_cursor_can_be_had_in_three_ways(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Iterated, as a list, and awaited first; nothing is sent before, each page is one command."""
    await _fill(db, 5)
    anchors = db.collection("anchors")
    cursor = anchors.find({"parity": 1}, batch_size=1)
    assert len(world.gateway.seen) == 1
    assert [document["_key"] async for document in cursor] == ["001", "003"]
    assert len(await anchors.all(limit=3, batch_size=2).all()) == 3
    before = len(world.gateway.seen)
    awaited = await anchors.all()
    assert isinstance(awaited, Cursor)
    assert (await anchors.all()) is not awaited
    assert (await awaited) is awaited
    assert len(world.gateway.seen) == before + 2
    first = await anext(awaited)
    assert [first, *await awaited.all()] == await anchors.all().all()
    assert await awaited.all() == []


async def test_errors_come_where_a_page_is_fetched(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Awaiting a cursor of a missing collection raises, and so does iterating it."""

    async def missing(gateway: MemoryGateway, command: Opened) -> bytes | None:
        return gateway.reply(command, {"error": CollectionNotFound("no such").to_wire()})

    world.gateway.script = [missing, missing]
    with pytest.raises(CollectionNotFound):
        await db.collection("nobody").find({})
    with pytest.raises(CollectionNotFound):
        await anext(db.collection("nobody").find({}))


async def _by_one(cursor: Cursor) -> Documents:
    return [document async for document in cursor]


async def _by_page(cursor: Cursor) -> Documents:
    return await cursor.all()


@pytest.mark.parametrize(
    "readers", [[_by_one] * 3, [_by_page] * 3, [_by_one, _by_page, _by_one, _by_page]]
)
async def test_readers_of_one_cursor_share_its_documents(readers: list[Any]) -> None:
    """Each document is given to one of them, and each page is asked for once."""
    asked: Documents = []

    async def fetch(arguments: dict[str, Any]) -> Any:
        asked.append(arguments)
        begin = int(arguments.get("after", 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        documents = [{"_key": str(n)} for n in range(begin, begin + 3)]
        return {"documents": documents, "more": begin < 12, "after": str(begin + 3)}

    cursor = Cursor(fetch, PageRequest(batch_size=3))
    await asyncio.gather(cursor, cursor)
    assert len(asked) == 1
    read = await asyncio.gather(*(reader(cursor) for reader in readers))
    keys = [int(document["_key"]) for part in read for document in part]
    assert sorted(keys) == list(range(15))
    assert len(asked) == 5
