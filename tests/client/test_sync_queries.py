"""Queries without `await`: the same rows."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import mallku_client
from mallku_client import sync
from tests.client.querying import STATISTICS, Query
from tests.client.world import World


@pytest.fixture
def query(world: World) -> Query:
    """Ten rows in pages of three."""
    made = Query([{"n": n} for n in range(10)])
    world.gateway.script = [made]
    return made


@pytest.fixture
def blocking(world: World) -> Iterator[sync.SecuredDatabaseInterface]:
    """A blocking client of the gateway in memory."""
    with sync.SecuredDatabaseInterface.connect(
        settings=world.settings, transport=world.transport
    ) as db:
        yield db


@pytest.mark.parametrize(
    ("awaited", "blocking"),
    [
        (mallku_client.QueryCursor, sync.QueryCursor),
        (mallku_client.Transaction, sync.Transaction),
    ],
)
def test_every_name_is_there_without_await(awaited: type, blocking: type) -> None:
    """With the same arguments; `aclose` has no meaning there."""
    for name, member in inspect.getmembers(awaited, inspect.isfunction):
        if not name.startswith("_") and name != "aclose":
            assert inspect.signature(getattr(blocking, name)) == inspect.signature(member), name


def test_blocking_rows(query: Query, blocking: sync.SecuredDatabaseInterface) -> None:
    """`for`, `list`, `next`, `batch` and `all` give the same rows."""
    assert [row["n"] for row in blocking.aql.execute("RETURN 1")] == list(range(10))
    cursor = blocking.aql.execute("RETURN 1")
    assert (next(cursor)["n"], cursor.next()["n"]) == (0, 1)
    assert [row["n"] for row in cursor.batch()] == [2]
    assert [row["n"] for row in cursor.fetch()] == [3, 4, 5]
    assert [row["n"] for row in cursor.take()] == [2]
    assert [row["n"] for row in cursor.all()] == list(range(3, 10))
    with pytest.raises(StopIteration):
        cursor.next()
    assert (cursor.has_more(), cursor.empty(), cursor.id) == (False, True, None)


def test_blocking_close(query: Query, blocking: sync.SecuredDatabaseInterface) -> None:
    """`with` gives the rest back; what was known of the query stays known."""
    query.extra = {"count": 10}
    with blocking.aql.execute("RETURN 1", count=True) as cursor:
        for _ in cursor:
            break
        assert cursor.count() == 10
    assert query.asked == [0]
    assert list(cursor) == []
    assert cursor.close() is False
    assert cursor.statistics() == STATISTICS
    assert (cursor.warnings(), cursor.plan(), cursor.full_count()) == ([], None, None)


def test_blocking_explain(query: Query, blocking: sync.SecuredDatabaseInterface) -> None:
    """As awaited."""
    query.rows, query.extra = [], {"plan": []}
    assert blocking.aql.explain("RETURN 1") == []


def _read_by_threads(cursor: Any) -> list[Any]:
    """What several threads get of one cursor, by `for`, and what one gets by `all` behind them."""
    began = threading.Barrier(4)

    def read(_number: int) -> list[Any]:
        began.wait(10)
        return list(cursor)

    with ThreadPoolExecutor(4) as pool:
        read_there = [row for part in pool.map(read, range(4)) for row in part]
    return [*read_there, *cursor.all()]


def test_threads_share_the_rows_of_a_query(
    world: World, blocking: sync.SecuredDatabaseInterface
) -> None:
    """Each row is given to one of them; none is left out."""
    world.gateway.script = [Query(list(range(500)))]
    assert sorted(_read_by_threads(blocking.aql.execute("RETURN 1"))) == list(range(500))


def test_threads_share_the_documents_of_a_find(blocking: sync.SecuredDatabaseInterface) -> None:
    """As the rows of a query."""
    anchors = blocking.collection("anchors")
    anchors.insert_many([{"_key": f"{n:03}"} for n in range(500)])
    read = _read_by_threads(anchors.find({}, batch_size=3))
    assert sorted(int(each["_key"]) for each in read) == list(range(500))


def test_a_page_that_came_to_another_reader_meanwhile_is_kept(
    blocking: sync.SecuredDatabaseInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader has its page, and before it looks at it another one fetches the next."""
    anchors = blocking.collection("anchors")
    anchors.insert_many([{"_key": f"{n:03}"} for n in range(12)])
    cursor = anchors.find({}, batch_size=3)
    fetch = cursor._fetch
    read: list[Any] = []

    def fetch_and_be_overtaken(method: Any) -> list[Any]:
        page = fetch(method)
        if not read:
            read.append(None)
            read[0] = next(cursor)
        return page

    monkeypatch.setattr(cursor, "_fetch", fetch_and_be_overtaken)
    read += [next(cursor), *cursor]
    assert sorted(int(each["_key"]) for each in read) == list(range(12))
