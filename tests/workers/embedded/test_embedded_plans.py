"""Searches really use the indexes, and reading is one step however many documents come."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import DeadlineExceeded
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded.catalog import load_catalog
from mallku_workers.stores.embedded.matching import make_plan
from tests.stores.calling import Caller, make_work, now_ms
from tests.stores.ruled import make_rules


@pytest.fixture
async def connection(people: Caller, directory: Path) -> AsyncIterator[sqlite3.Connection]:
    """A look at the file of a store whose collections have indexes."""
    await people("create-index", fields=["a", "b.c"])
    await people("create-index", fields=["u"], unique=True, sparse=True)
    await people.on("knows")("create-collection", edge=True)
    opened = sqlite3.connect(directory / "mallku.sqlite")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("collection", "filters", "index", "residual"),
    [
        ("people", {"a": 1, "b.c": [1]}, "x", 0),
        ("people", {"b.c": None, "a": None}, "x", 0),
        ("people", {"a": "x"}, "x", 0),
        ("people", {"a": "x", "other": 1}, "x", 1),
        ("people", {"u": 1}, "x", 0),
        ("people", {"u": None}, None, 1),
        ("people", {"b.c": 1}, None, 1),
        ("people", {"_key": "k", "a": 1}, "key=?", 1),
        ("people", {"_id": "people/k"}, "key=?", 0),
        ("knows", {"_from": "people/a"}, "x1=?", 0),
        ("knows", {"_to": "people/a", "w": 1}, "x2=?", 1),
    ],
)
def test_the_query_plan_shows_the_index(
    connection: sqlite3.Connection,
    collection: str,
    filters: dict[str, Any],
    index: str | None,
    residual: int,
) -> None:
    """EXPLAIN QUERY PLAN says SEARCH with the index, or SCAN where there is none to use."""
    plan = make_plan(load_catalog(connection).collection(collection), filters)
    assert len(plan.residual) == residual
    for sql, parameters in (
        (plan.page_sql, (*plan.parameters, "", 10)),
        (plan.count_sql, tuple(plan.parameters)),
    ):
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        [step] = [row[3] for row in rows if plan.collection.table in row[3]]
        if index is None:
            assert step.startswith("SCAN") or "autoindex" in step
        elif index.startswith("key"):
            assert step.startswith("SEARCH")
            assert f"_autoindex_{plan.collection.table}_1 ({index}" in step
        else:
            assert step.startswith("SEARCH")
            assert plan.index is not None
            assert plan.collection.index_name(plan.index) in step
            assert index in step


@pytest.mark.parametrize(
    ("where", "filters", "column"),
    [
        ({"n": {"<": 1}}, {"u": 1}, "u"),
        ({"u": "me"}, {}, "u"),
        ({"all": [{"n": 1}, {"u": "me"}]}, {"other": 1}, "u"),
        ({"u": "me"}, {"_key": "k"}, None),
        ({"any": [{"u": "me"}, {"u": "you"}]}, {}, None),
        ({"u": {"!=": "me"}}, {}, None),
        ({"not": {"u": "me"}}, {}, None),
    ],
)
def test_a_rule_leaves_a_filter_its_index_and_may_lend_its_own(
    connection: sqlite3.Connection,
    where: dict[str, Any],
    filters: dict[str, Any],
    column: str | None,
) -> None:
    """What a filter or a rule says must be equal is looked up; the rule decides in the end."""
    collection = load_catalog(connection).collection("people")
    plan = make_plan(collection, filters, make_rules(where))
    assert (plan.index and plan.index.fields) == (column and (column,))
    assert not plan.exact
    shown = make_rules(where).where
    for document in ({"n": 1, "u": "me"}, {"n": 0, "u": "you"}, {}):
        assert shown is None or not plan.matches(document) or shown.matches(document)


async def test_no_text_of_a_caller_becomes_sql(people: Caller, directory: Path) -> None:
    """Names travel as parameters: the statements hold nothing but letters, numbers and marks."""
    name = "a\"]') OR 1=1 --"
    await people("create-index", fields=[name, "plain"])
    connection = sqlite3.connect(directory / "mallku.sqlite")
    collection = load_catalog(connection).collection("people")
    plan = make_plan(collection, {name: "x'; DROP TABLE c1", f"{name}.deep": "y'", "plain": "z"})
    texts = [plan.page_sql, plan.count_sql, plan.skip_sql, collection.put_sql(2, fresh=False)]
    texts += [row[0] for row in connection.execute("SELECT sql FROM sqlite_schema") if row[0]]
    connection.close()
    for text in texts:
        assert "OR 1=1" not in text
        assert "DROP" not in text
        assert "plain" not in text


async def search_until_refused(people: Caller, work: Work) -> None:
    """Search again and again; the deadline passes meanwhile."""
    while True:
        await people.store.execute(work)


async def test_a_long_search_ends_with_its_deadline(people: Caller) -> None:
    """A search through everything is interrupted; look-ups are answered meanwhile."""
    documents = [{"_key": f"k{n}", "text": "ab" * 20_000} for n in range(60)]
    for start in range(0, 60, 20):
        await people("insert-many", documents=documents[start : start + 20])
    work = make_work("find", "people", {"filters": {"text": "z"}}, deadline_ms=now_ms() + 1)
    with pytest.raises(DeadlineExceeded):
        await search_until_refused(people, work)
    assert await people("exists", document="k1")
