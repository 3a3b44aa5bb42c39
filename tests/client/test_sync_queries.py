"""Queries without `await`: the same rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

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
