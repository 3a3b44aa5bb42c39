"""AQL of callers on ArangoDB: pages, ends, and changes that say what they did."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import (
    CollectionNotFound,
    CursorLost,
    DeadlineExceeded,
    NotSupported,
    QueryFailed,
    ResourceLimit,
    Unavailable,
)
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.arango.rewriting import rewrite
from mallku_workers.stores.base import Done, LedgerClaim, RunnableQuery, Step, Work
from tests.stores.calling import DATABASE, Caller, make_claim, now_ms, plain
from tests.support.simulated_arango import SimulatedArango
from tests.workers.arango.watching import said


def runnable(text: str, max_rows: int = 100_000, **arguments: Any) -> RunnableQuery:
    """A query as the pipeline hands it over."""
    asked: Any = read_arguments(OPERATIONS["aql"].arguments, {"query": text, **arguments})
    tree = parse(text)
    modifies = analyse(tree).modifies and not asked.explain
    return RunnableQuery(tree, asked.bind_vars, asked, modifies, max_rows)


async def run(
    people: Caller,
    query: RunnableQuery,
    *,
    claim: LedgerClaim | None = None,
    deadline_ms: int | None = None,
) -> Done:
    """Run it."""
    ends_ms = now_ms() + 30_000 if deadline_ms is None else deadline_ms
    operation = OPERATIONS["aql"]
    work = Work(operation, DATABASE, "@", query.arguments, ends_ms, claim, query=query)
    return await people.store.execute(work)


@pytest.fixture
async def numbers(people: Caller) -> Caller:
    """People with the numbers from 0 to 9."""
    documents = [{"_key": f"k{n}", "n": n, "g": n % 2} for n in range(10)]
    await people("insert-many", documents=documents)
    return people


async def test_rows_come_page_by_page_and_once(numbers: Caller, server: SimulatedArango) -> None:
    """Every row, in order; at the end nothing is left open in ArangoDB."""
    done = await run(numbers, runnable("FOR p IN people SORT p.n RETURN p.n", batch_size=3))
    rows = list(done.result["result"])
    assert (rows, done.result["more"]) == ([0, 1, 2], True)
    assert done.cursor is not None
    more = True
    while more:
        page = await done.cursor.fetch(now_ms() + 30_000)
        rows += page.rows
        more = page.more
    assert rows == list(range(10))
    assert not server.cursors
    assert (tuple(done.effects), done.position) == ((), None)


async def test_a_cursor_that_is_given_back_is_forgotten(
    numbers: Caller, server: SimulatedArango
) -> None:
    """In ArangoDB too, and one that ArangoDB lost is told as lost."""
    query = runnable("FOR p IN people RETURN p", batch_size=2)
    done = await run(numbers, query)
    assert done.cursor is not None
    assert len(server.cursors) == 1
    await done.cursor.close()
    assert not server.cursors
    await done.cursor.close()
    done = await run(numbers, query)
    server.cursors.clear()
    assert done.cursor is not None
    with pytest.raises(CursorLost):
        await done.cursor.fetch(now_ms() + 30_000)


async def test_more_rows_than_allowed_are_refused(numbers: Caller) -> None:
    """The cap counts over all pages."""
    with pytest.raises(ResourceLimit):
        await run(numbers, runnable("FOR p IN people RETURN p", max_rows=4))
    done = await run(numbers, runnable("FOR p IN people RETURN p", max_rows=4, batch_size=3))
    assert done.cursor is not None
    with pytest.raises(ResourceLimit):
        await done.cursor.fetch(now_ms() + 30_000)


async def test_counts_and_warnings_are_told(numbers: Caller) -> None:
    """`count`, `full_count`, warnings by number, and the end at the first where that is asked."""
    query = runnable("FOR p IN people LIMIT 3 RETURN p.n / 0", count=True, full_count=True)
    result = (await run(numbers, query)).result
    assert (result["count"], result["full_count"]) == (3, 10)
    assert {one["code"] for one in result["warnings"]} == {1562}
    with pytest.raises(QueryFailed) as refusal:
        await run(numbers, runnable("RETURN 1 / 0", fail_on_warning=True))
    assert refusal.value.error_code == 1562


async def test_an_explanation_runs_nothing(numbers: Caller, server: SimulatedArango) -> None:
    """A plan instead of rows."""
    server.asked.clear()
    result = (await run(numbers, runnable("FOR p IN people RETURN p", explain=True))).result
    assert (result["result"], result["more"]) == ([], False)
    assert said(server) == ["POST /_api/explain"]


async def test_an_explanation_says_how_documents_are_got_at(numbers: Caller) -> None:
    """All of them, by key, or by an index; also beside the rows, as a profile."""
    await numbers("create-index", fields=["n"], name="numbers")
    ways = {
        "FOR p IN people RETURN p": "full",
        "FOR p IN people FILTER p._key == 'k1' RETURN p": "primary",
        "FOR p IN people FILTER p.n > 3 RETURN p": "numbers",
    }
    for text, way in ways.items():
        plan = [{"collection": "people", "access": way}]
        assert (await run(numbers, runnable(text, explain=True))).result["plan"] == plan
        assert (await run(numbers, runnable(text, profile=True))).result["plan"] == plan


async def test_the_collections_of_a_query_are_what_the_database_says(numbers: Caller) -> None:
    """Reads, writes with their operations, and a graph's members."""
    await numbers(
        "create-graph",
        name="g",
        edge_definitions=[
            {
                "edge_collection": "knows",
                "from_vertex_collections": ["people"],
                "to_vertex_collections": ["people"],
            }
        ],
    )
    ask = numbers.store.collections_of
    used = await ask(DATABASE, runnable("FOR v IN 1..1 ANY 'people/k1' GRAPH 'g' RETURN v"))
    assert (set(used.reads), dict(used.writes)) == ({"knows", "people"}, {})
    used = await ask(DATABASE, runnable("FOR p IN people INSERT {} INTO knows"))
    assert set(used.reads) == {"people"}
    assert dict(used.writes) == {"knows": frozenset({"insert"})}
    with pytest.raises(CollectionNotFound):
        await ask(DATABASE, runnable("FOR p IN nobody RETURN p"))


CHANGING = [
    ("INSERT {_key: 'new', n: 1} INTO people", [], [(None, {"n": 1})]),
    ("INSERT {_key: 'new'} INTO people RETURN NEW._key", ["new"], [(None, {})]),
    (
        (
            "FOR p IN people FILTER p.n < 2 SORT p.n UPDATE p WITH {m: 1} IN people"
            " LET o = OLD.n RETURN [o, NEW.m]"
        ),
        [[0, 1], [1, 1]],
        [("k0", {"n": 0, "g": 0, "m": 1}), ("k1", {"n": 1, "g": 1, "m": 1})],
    ),
    ("REPLACE 'k3' WITH {r: 1} IN people RETURN OLD.n", [3], [("k3", {"r": 1})]),
    ("REMOVE 'k4' IN people RETURN OLD.n", [4], [("k4", None)]),
    (
        "UPSERT {n: 5} INSERT {} UPDATE {m: 2} IN people RETURN NEW.m",
        [2],
        [("k5", {"n": 5, "g": 1, "m": 2})],
    ),
    ("UPSERT {n: 50} INSERT {n: 50} UPDATE {} IN people", [], [(None, {"n": 50})]),
    ("FOR p IN people FILTER p.n > 99 REMOVE p IN people", [], []),
]


@pytest.mark.parametrize(("text", "rows", "effects"), CHANGING)
async def test_a_change_says_what_it_did_and_is_done_once(
    numbers: Caller, text: str, rows: list[Any], effects: list[Any]
) -> None:
    """Its rows are what it asked for; effects, position and ledger entry as for every mutation."""
    claim = make_claim()
    done = await run(numbers, runnable(text), claim=claim)
    assert done.result["result"] == rows
    assert done.position is not None
    for effect, (old_key, new) in zip(done.effects, effects, strict=True):
        assert effect.collection == "people"
        assert (effect.old_rev is None) == (old_key is None)
        assert old_key in (None, effect.key)
        assert (None if effect.new is None else plain(effect.new)) == new
    again = await run(numbers, runnable(text), claim=claim)
    assert (again.result["result"], again.replayed) == (rows, claim.id)
    assert not again.effects


@pytest.mark.parametrize(
    "text",
    [
        "FOR p IN people UPDATE p WITH {m: 1} IN people LIMIT 1 RETURN NEW",
        "FOR p IN people UPDATE p WITH {m: 1} IN people FILTER NEW.n > 3 RETURN NEW",
        "FOR p IN people REMOVE p IN people RETURN DISTINCT OLD.g",
        "FOR p IN people REMOVE p IN people COLLECT g = OLD.g RETURN g",
        "LET x = (INSERT {} INTO people RETURN NEW) RETURN x",
        "INSERT {} INTO people INSERT {} INTO people",
        "INSERT {} INTO people FILTER NEW.n > 3 INSERT {} INTO other",
        "INSERT {} INTO people LET x = (INSERT {} INTO other RETURN NEW) RETURN x",
        "FOR p IN people REMOVE p IN people FOR i IN 1..2 RETURN i",
    ],
)
def test_a_change_whose_effects_could_not_be_told_is_refused(text: str) -> None:
    """By name, before anything is run."""
    with pytest.raises(NotSupported):
        rewrite(parse(text), {})


async def test_several_changes_say_each_what_it_did(numbers: Caller) -> None:
    """Of one collection each, in one commit; OLD and NEW are those of the change before."""
    for name in ("archive", "log"):
        await numbers.on(name)("create-collection")
    text = (
        "FOR p IN people FILTER p.n < 2 SORT p.n REMOVE p IN people LET gone = OLD"
        " INSERT {_key: gone._key, n: gone.n} INTO @@where"
        " INSERT {_key: NEW._key, what: 'moved'} INTO log RETURN [gone.n, NEW.what]"
    )
    claim = make_claim()
    query = runnable(text, bind_vars={"@where": "archive"})
    done = await run(numbers, query, claim=claim)
    assert done.result["result"] == [[0, "moved"], [1, "moved"]]
    assert [(e.collection, e.key, e.new is None) for e in done.effects] == [
        ("people", "k0", True),
        ("people", "k1", True),
        ("archive", "k0", False),
        ("archive", "k1", False),
        ("log", "k0", False),
        ("log", "k1", False),
    ]
    assert done.position is not None
    assert await numbers("count") == 8
    again = await run(numbers, query, claim=claim)
    assert (again.result["result"], again.replayed) == (done.result["result"], claim.id)
    failing = "FOR p IN people REMOVE p IN people INSERT {_key: 'k0'} INTO archive"
    with pytest.raises(Exception, match="exists already"):
        await run(numbers, runnable(failing))
    assert await numbers("count") == 8


async def test_a_failing_change_leaves_nothing(numbers: Caller) -> None:
    """Neither documents nor an entry."""
    claim = make_claim()
    text = "FOR p IN people SORT p.n INSERT {_key: p.n == 7 ? 'k1' : CONCAT('c', p.n)} INTO people"
    with pytest.raises(Exception, match="exists already"):
        await run(numbers, runnable(text), claim=claim)
    assert await numbers("count") == 10
    assert await numbers.store.recall(DATABASE, claim.key) is None


async def test_a_query_whose_caller_has_gone_is_killed(
    numbers: Caller, server: SimulatedArango
) -> None:
    """Found by its mark among the running ones; closing the connection would not end it."""
    server.hold = threading.Event()
    try:
        with pytest.raises(Unavailable):
            await run(numbers, runnable("FOR p IN people RETURN p"), deadline_ms=now_ms() + 200)
        assert "GET /_api/query/current" in said(server)
        assert any(one.startswith("DELETE /_api/query/") for one in said(server))

        def ended() -> bool:
            while server.running:
                threading.Event().wait(0.005)
            return True

        assert await asyncio.wait_for(asyncio.to_thread(ended), 10)
    finally:
        server.hold.set()
        server.hold = None


async def test_a_query_that_the_database_ended_was_not_done(
    numbers: Caller, server: SimulatedArango
) -> None:
    """ArangoDB's 1500."""
    server.hold = threading.Event()
    running = asyncio.ensure_future(run(numbers, runnable("FOR p IN people RETURN p")))

    def kill() -> None:
        while not server.running:
            threading.Event().wait(0.005)
        for one in list(server.running.values()):
            one.killed.set()

    await asyncio.to_thread(kill)
    with pytest.raises(DeadlineExceeded):
        await running
    server.hold = None


@pytest.mark.parametrize(
    "text",
    [
        "FOR v IN OUTBOUND SHORTEST_PATH 'people/a' TO 'people/b' knows RETURN v",
        "FOR p IN OUTBOUND K_SHORTEST_PATHS 'people/a' TO 'people/b' knows RETURN p",
        "RETURN document(CONCAT('mallku_', 'ledger/', 1))",
        "RETURN CALL('DOCUMENT', 'mallku_ledger/1')",
        "FOR n IN 1..1 LET d = DOCUMENT('mallku_ledger/1') INSERT {d} INTO people",
    ],
)
async def test_what_a_restricted_query_may_meet_on_the_way_is_refused(
    people: Caller, text: str
) -> None:
    """ArangoDB cannot be told where documents may come from; an approved query may have them."""
    query = runnable(text)
    restricted = RunnableQuery(
        query.tree, query.binds, query.arguments, modifies=False, max_rows=9, may_read=bool
    )
    with pytest.raises(NotSupported, match="named query"):
        await run(people, restricted)


async def test_several_writes_are_one_commit(people: Caller) -> None:
    """All steps, or none; the place of the one that failed is told."""
    await people.on("places")("create-collection")

    def step(operation: str, collection: str, **arguments: Any) -> Step:
        known = OPERATIONS[operation]
        return Step(known, collection, read_arguments(known.arguments, arguments))

    async def transact(claim: LedgerClaim, *steps: Step) -> Done:
        operation = OPERATIONS["transaction"]
        named = [
            {"operation": one.operation.name, "collection": one.collection, "arguments": {}}
            for one in steps
        ]
        arguments = read_arguments(operation.arguments, {"steps": named})
        work = Work(operation, DATABASE, "@", arguments, now_ms() + 30_000, claim, steps=steps)
        return await people.store.execute(work)

    claim = make_claim()
    good = (
        step("insert", "people", document={"_key": "a", "n": 1}),
        step("update", "people", document={"_key": "a", "m": 1}),
        step("insert-many", "places", documents=[{"_key": "x"}, {"_key": "y"}]),
        step("delete-match", "places", filters={"_key": "y"}),
    )
    done = await transact(claim, *good)
    assert [type(one) for one in done.result] == [dict, dict, list, int]
    assert [effect.key for effect in done.effects] == ["a", "a", "x", "y", "y"]
    assert (await transact(claim, *good)).replayed == claim.id
    with pytest.raises(Exception, match="exists already") as refusal:
        await transact(
            make_claim(),
            step("insert", "people", document={"_key": "b"}),
            step("insert-many", "places", documents=[{"_key": "z"}, {"_key": "x"}]),
        )
    assert refusal.value.details["step"] == 1  # type: ignore[attr-defined]
    assert await people("count") == 1
    assert await people.on("places")("count") == 1
