"""`aql`: what a query reads, changes and says, page by page."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.errors import (
    CollectionNotFound,
    DeadlineExceeded,
    IdempotencyConflict,
    InvalidQuery,
    MallkuError,
    QueryFailed,
    ResourceLimit,
    UniqueViolation,
)
from mallku_workers.stores.base import Store
from tests.stores.asking import Asker, make_query
from tests.stores.calling import DATABASE, PATIENCE_MS, Caller, make_claim, now_ms, plain

ALL = "FOR p IN people SORT p.n RETURN p.n"


@pytest.fixture
def ask(store: Store) -> Asker:
    """Queries to the store."""
    return Asker(store)


@pytest.fixture
async def crowd(people: Caller) -> Caller:
    """Thirty people, `n` from 0, in two kinds."""
    documents = [{"_key": f"k{n:02}", "n": n, "kind": n % 2} for n in range(30)]
    await people("insert-many", documents=documents)
    return people


# Reading


async def test_a_query_reads(crowd: Caller, ask: Asker) -> None:
    """Documents as they are stored, values that were computed, and nothing at all."""
    assert await ask("FOR p IN people FILTER p.n == 3 RETURN p") == [
        await crowd("get", document="k03")
    ]
    assert await ask("FOR p IN people FILTER p.n < 3 SORT p.n DESC RETURN p.n * 2") == [4, 2, 0]
    assert await ask("FOR p IN people FILTER p.n < 0 RETURN p") == []
    assert await ask("RETURN {a: [1, null, 'x']}") == [{"a": [1, None, "x"]}]


async def test_values_go_in_by_bind_parameters(crowd: Caller, ask: Asker) -> None:
    """Also the name of a collection; a text stays a text, whatever it looks like."""
    text = "FOR p IN @@c FILTER p.kind == @k SORT p.n LIMIT @l RETURN p.n"
    assert await ask(text, {"@c": "people", "k": 1, "l": 3}) == [1, 3, 5]
    hostile = "' OR true RETURN p //"
    assert await ask("FOR p IN people FILTER p.n == @x RETURN p", {"x": hostile}) == []
    assert await ask("RETURN @x", {"x": hostile}) == [hostile]


async def test_a_reading_query_leaves_no_trace(crowd: Caller, ask: Asker) -> None:
    """No effects, no position, nothing replayed."""
    done = await ask.done(ALL)
    assert (tuple(done.effects), done.position, done.replayed) == ((), None, None)
    assert done.result["more"] is False
    assert done.cursor is None


async def test_groups_and_subqueries(crowd: Caller, ask: Asker) -> None:
    """What the embedded evaluator and ArangoDB both can."""
    grouped = await ask(
        "FOR p IN people COLLECT kind = p.kind AGGREGATE most = MAX(p.n), number = COUNT(1)"
        " SORT kind RETURN [kind, most, number]"
    )
    assert grouped == [[0, 28, 15], [1, 29, 15]]
    nested = "RETURN (FOR p IN people FILTER p.n IN @ns SORT p.n RETURN p.n)"
    assert await ask(nested, {"ns": [5, 2]}) == [[2, 5]]


# Cursors


@pytest.mark.parametrize("size", [1, 7, 10, 29, 30, 31])
async def test_pages_give_every_row_once(crowd: Caller, ask: Asker, size: int) -> None:
    """In order, whatever the size of a page; a cursor is there while rows are left."""
    done = await ask.done(ALL, batch_size=size)
    assert done.result["result"] == list(range(min(size, 30)))
    assert done.result["more"] is (size < 30)
    assert (done.cursor is not None) is (size < 30)
    if done.cursor is not None:
        await done.cursor.close()
    assert await ask(ALL, batch_size=size) == list(range(30))


async def test_a_cursor_sees_what_was_there_when_it_began(crowd: Caller, ask: Asker) -> None:
    """Inserts, changes and removals meanwhile are not in it, though they are done at once."""
    done = await ask.done("FOR p IN people SORT p.n RETURN [p.n, p.kind]", batch_size=10)
    await crowd("insert-many", documents=[{"n": n + 0.5, "kind": 9} for n in range(30)])
    await crowd("update-match", filters={"kind": 0}, body={"kind": 7})
    await crowd("delete-match", filters={"kind": 1})
    rows = list(done.result["result"])
    assert done.cursor is not None
    more = True
    while more:
        page, more = await done.cursor.fetch(now_ms() + PATIENCE_MS)
        rows += page
    await done.cursor.close()
    assert rows == [[n, n % 2] for n in range(30)]
    assert await crowd("count") == 45


async def test_a_cursor_is_given_back(crowd: Caller, ask: Asker) -> None:
    """Before its end, twice, and again and again: the store keeps nothing of it."""
    for _ in range(100):
        done = await ask.done(ALL, batch_size=1)
        assert done.cursor is not None
        await done.cursor.close()
        await done.cursor.close()
    assert len(await ask(ALL)) == 30


async def test_cursors_do_not_disturb_each_other(crowd: Caller, ask: Asker) -> None:
    """Several at once, and writes between them."""
    parts = await asyncio.gather(
        *(ask(ALL, batch_size=size) for size in (1, 3, 4, 9)),
        crowd("insert", document={"n": 30}),
    )
    for rows in parts[:4]:
        assert rows[:30] == list(range(30))


# What is said of a query


async def test_counts_are_made_where_they_are_asked_for(crowd: Caller, ask: Asker) -> None:
    """Of all rows, and of those before the last LIMIT; not in the answer otherwise."""
    text = "FOR p IN people FILTER p.kind == 1 SORT p.n LIMIT 2, 4 RETURN p.n"
    plain_answer = (await ask.done(text)).result
    assert {"count", "full_count"} & plain_answer.keys() == set()
    counted = (await ask.done(text, count=True, batch_size=10)).result
    assert (counted["count"], counted["result"]) == (4, [5, 7, 9, 11])
    full = (await ask.done(text, full_count=True)).result
    assert full["full_count"] == 15
    assert (await ask.done("RETURN 1", full_count=True)).result["full_count"] == 1


async def test_a_count_is_of_all_pages(crowd: Caller, ask: Asker) -> None:
    """Though only one of them was fetched."""
    done = await ask.done(ALL, count=True, batch_size=4)
    assert (done.result["count"], done.result["result"]) == (30, [0, 1, 2, 3])
    assert done.cursor is not None
    await done.cursor.close()


async def test_warnings_are_told(ask: Asker, people: Caller) -> None:
    """With ArangoDB's number; they fail the query when that was asked for."""
    answer = (await ask.done("RETURN 1 / 0")).result
    assert answer["result"] == [None]
    assert [warning["code"] for warning in answer["warnings"]] == [1562]
    with pytest.raises(QueryFailed) as failed:
        await ask("RETURN 1 / 0", fail_on_warning=True)
    assert failed.value.error_code == 1562


async def test_statistics_are_told(crowd: Caller, ask: Asker) -> None:
    """Under the names of the result's type."""
    statistics = (await ask.done("FOR p IN people FILTER p.kind == 1 RETURN p")).result[
        "statistics"
    ]
    assert statistics.keys() >= {
        "writes_executed",
        "writes_ignored",
        "scanned_full",
        "scanned_index",
        "filtered",
        "peak_memory",
    }
    changed = await ask.done("FOR p IN people FILTER p.n < 5 REMOVE p IN people")
    assert changed.result["statistics"]["writes_executed"] == 5


async def test_an_explanation_runs_nothing(crowd: Caller, ask: Asker) -> None:
    """It says how each loop gets at its documents, where the store's server plans at all."""
    done = await ask.done("FOR p IN people REMOVE p IN people", explain=True)
    assert (done.result["result"], done.result["more"]) == ([], False)
    assert await crowd("count") == 30
    profiled = await ask.done("FOR p IN people RETURN p", profile=True)
    assert len(profiled.result["result"]) == 30
    for plan in (done.result["plan"], profiled.result["plan"]):
        assert {(loop["collection"], loop["access"]) for loop in plan} <= {("people", "full")}
        assert plan or ask.store.name != "embedded"


# What cannot be run


@pytest.mark.parametrize(
    ("text", "binds", "number"),
    [
        ("FOR p IN", {}, 1501),
        ("RETURN 1 RETURN 2", {}, 1501),
        ("RETURN @a", {}, 1551),
        ("RETURN 1", {"a": 1}, 1552),
        ("RETURN NO_SUCH_FUNCTION(1)", {}, 1540),
        ("RETURN LENGTH()", {}, 1541),
        ("FOR a IN [] LET a = 1 RETURN a", {}, 1511),
    ],
)
def test_a_query_that_is_wrong_is_refused_before_a_store_sees_it(
    text: str, binds: dict[str, Any], number: int
) -> None:
    """With ArangoDB's number, line and column."""
    with pytest.raises(InvalidQuery) as refused:
        make_query(text, binds)
    assert refused.value.error_code == number
    assert refused.value.details["line"] == 1


@pytest.mark.parametrize("text", ["FOR p IN nobody RETURN p", "INSERT {} INTO nobody"])
async def test_an_unknown_collection(ask: Asker, people: Caller, text: str) -> None:
    """1203, reading or writing, and when it is asked what the query uses."""
    with pytest.raises(CollectionNotFound) as refused:
        await ask(text)
    assert refused.value.error_code == 1203


@pytest.mark.parametrize(
    ("text", "binds", "column"),
    [
        ("FOR p IN people\nFOR n IN nobody RETURN n", {}, 10),
        ("FOR p IN people\nFOR n IN @@c RETURN n", {"@c": "nobody"}, 10),
        ("FOR p IN people\nINSERT {} INTO nobody", {}, 16),
        ("RETURN\nLENGTH(nobody)", {}, 8),
        ("FOR v IN 1..2 ANY 'people/a'\nnobody RETURN v", {}, 1),
    ],
)
async def test_a_collection_that_is_not_there_is_told_with_its_place(
    people: Caller, ask: Asker, text: str, binds: dict[str, Any], column: int
) -> None:
    """Its name, and line and column in the text, whatever stands between."""
    with pytest.raises(
        CollectionNotFound, match=f"nobody.*, at line 2, column {column}"
    ) as refused:
        await ask(text, binds)
    details = refused.value.details
    assert (details["name"], details["line"], details["column"]) == ("nobody", 2, column)


async def test_the_collections_of_a_query_are_known(
    store: Store, knows: Caller, ask: Asker
) -> None:
    """Read and written ones, by name and by bind value."""
    work = make_query("FOR p IN people FOR k IN @@k INSERT {a: p.a} INTO people", {"@k": "knows"})
    assert work.query is not None
    used = await store.collections_of(DATABASE, work.query)
    assert {"people", "knows"} <= used.reads | used.writes.keys()
    assert dict(used.writes) == {"people": frozenset({"insert"})}


# Changing


async def test_a_query_changes_documents(crowd: Caller, ask: Asker) -> None:
    """OLD and NEW come back, and effects as other writes report them, in commit order."""
    before = await crowd("get", document="k01")
    done = await ask.done(
        "FOR p IN people FILTER p.n < 3 SORT p.n UPDATE p WITH {seen: true} IN people"
        " RETURN [OLD.seen, NEW.seen, NEW.n]"
    )
    assert done.result["result"] == [[None, True, n] for n in range(3)]
    assert [(effect.collection, effect.key) for effect in done.effects] == [
        ("people", f"k{n:02}") for n in range(3)
    ]
    after = await crowd("get", document="k01")
    assert (done.effects[1].old_rev, done.effects[1].new_rev) == (before["_rev"], after["_rev"])
    assert done.effects[1].new == after
    assert done.position is not None
    assert done.cursor is None


async def test_every_kind_of_change(people: Caller, ask: Asker) -> None:
    """INSERT, UPDATE, REPLACE, UPSERT and REMOVE."""
    await ask("FOR n IN 1..3 INSERT {_key: TO_STRING(n), n} INTO people")
    await ask("UPDATE '1' WITH {a: 1} IN people")
    await ask("REPLACE '2' WITH {b: 2} IN people")
    await ask("UPSERT {n: 3} INSERT {n: 3} UPDATE {c: 3} IN people")
    await ask("UPSERT {n: 4} INSERT {_key: '4', n: 4} UPDATE {c: 4} IN people")
    assert {key: await people.document(key) for key in "1234"} == {
        "1": {"n": 1, "a": 1},
        "2": {"b": 2},
        "3": {"n": 3, "c": 3},
        "4": {"n": 4},
    }
    done = await ask.done("REMOVE '4' IN people RETURN OLD.n")
    assert (done.result["result"], done.effects[0].new) == ([4], None)
    assert await people("count") == 3


async def test_a_query_changes_all_or_nothing(crowd: Caller, ask: Asker) -> None:
    """The tenth document's key is taken: none of the nine before it is there."""
    text = "FOR n IN 1..20 INSERT {_key: n == 10 ? 'k00' : CONCAT('new', n)} INTO people"
    with pytest.raises(UniqueViolation):
        await ask(text)
    assert await crowd("count") == 30
    with pytest.raises(MallkuError):
        await ask("FOR p IN people UPDATE p WITH {x: 1 / 0} IN people", fail_on_warning=True)
    assert await crowd("count", filters={"x": None}) == 30


async def test_a_query_changes_once(crowd: Caller, ask: Asker, store: Store) -> None:
    """A retry is answered from the ledger; another command with its key is a conflict."""
    text = "FOR p IN people FILTER p.n == 1 UPDATE p WITH {times: p.times + 1} IN people RETURN NEW"
    work = replace(make_query(text), claim=make_claim("key"))
    done = await store.execute(work)
    again = await store.execute(replace(work, claim=make_claim("key")))
    assert (again.result, again.replayed) == (done.result, work.claim and work.claim.id)
    assert (await crowd.document("k01") or {})["times"] == 1
    entry = await store.recall(DATABASE, work.claim.key) if work.claim else None
    assert entry is not None
    assert entry.result == done.result
    with pytest.raises(IdempotencyConflict):
        await store.execute(replace(work, claim=make_claim("key", fingerprint="other")))


async def test_a_refused_query_leaves_no_entry(crowd: Caller, store: Store) -> None:
    """Its key may be used again."""
    work = make_query("INSERT {_key: 'k00'} INTO people")
    with pytest.raises(UniqueViolation):
        await store.execute(work)
    assert work.claim is not None
    assert await store.recall(DATABASE, work.claim.key) is None


async def test_queries_and_commands_see_each_other(people: Caller, ask: Asker) -> None:
    """One order of commits for both."""
    first = await people.done("insert", document={"_key": "a", "n": 1})
    second = await ask.done("UPDATE 'a' WITH {n: 2} IN people")
    third = await people.done("update", document={"_key": "a", "n": 3})
    positions = [first.position or 0, second.position or 0, third.position or 0]
    assert positions == sorted(set(positions))
    assert plain(await people("get", document="a")) == {"n": 3}


# Limits


@pytest.mark.parametrize("size", [5, 10, 1_000])
async def test_rows_are_bounded(crowd: Caller, ask: Asker, size: int) -> None:
    """As many as allowed may come, and one more ends it, on whichever page."""
    assert len(await ask(ALL, max_rows=30, batch_size=size)) == 30
    with pytest.raises(ResourceLimit) as refused:
        await ask(ALL, max_rows=29, batch_size=size)
    assert refused.value.error_code == 32


async def test_a_change_that_returns_too_much_is_undone(crowd: Caller, ask: Asker) -> None:
    """It has one page: what does not fit is refused, and nothing was done."""
    with pytest.raises(ResourceLimit):
        await ask("FOR p IN people UPDATE p WITH {x: 1} IN people RETURN NEW", max_rows=29)
    assert await crowd("count", filters={"x": 1}) == 0


async def test_nothing_begins_after_the_deadline(crowd: Caller, store: Store) -> None:
    """Neither a reading query nor one that changes."""
    for text in (ALL, "FOR p IN people REMOVE p IN people"):
        late = replace(make_query(text), deadline_ms=now_ms() - 1)
        with pytest.raises(DeadlineExceeded):
            await store.execute(late)
    assert await crowd("count") == 30
