"""Writes: combined where they wait together, alone where one fails, and never half done."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    InvalidDocument,
    OutcomeUnknown,
    Unavailable,
    UniqueViolation,
)
from mallku_contracts.limits import MAX_EFFECT_BYTES
from mallku_workers import recipes
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.arango.ledger import position
from tests.stores.calling import DATABASE, Caller, make_claim, make_work, now_ms, plain
from tests.support.simulated_arango import Answer, Asked, SimulatedArango
from tests.workers.arango.watching import (
    answering,
    combined,
    dropping,
    once,
    path_is,
    query_has,
    said,
)


async def insert_together(people: Caller, documents: list[dict[str, Any]]) -> list[Any]:
    """Insert all at the same moment; what each came to."""
    return await asyncio.gather(
        *(people("insert", document=document) for document in documents), return_exceptions=True
    )


async def test_a_write_that_meets_nobody_is_one_request(
    people: Caller, server: SimulatedArango
) -> None:
    """Effect and ledger in one query; nothing is asked before or after."""
    for operation, document in (
        ("insert", {"_key": "a", "n": 1}),
        ("update", {"_key": "a", "m": 1}),
        ("replace", {"_key": "a", "r": 1}),
        ("delete", "a"),
    ):
        server.asked.clear()
        await people(operation, document=document)
        assert said(server) == ["POST /_api/cursor"]


async def test_writes_that_wait_together_go_together(
    people: Caller, server: SimulatedArango
) -> None:
    """Sixty inserts at once are a few queries, and each has its own result and ledger entry."""
    claims = [make_claim() for _ in range(60)]
    works = [
        make_work("insert", "people", {"document": {"_key": f"k{n}", "n": n}}, claim=claim)
        for n, claim in enumerate(claims)
    ]
    done = await asyncio.gather(*map(people.store.execute, works))
    assert [one.result["_key"] for one in done] == [f"k{n}" for n in range(60)]
    assert len({one.position for one in done}) == 60
    assert sum(combined(server)) == 60
    assert len(combined(server)) <= 6
    for claim, one in zip(claims, done, strict=True):
        entry = await people.store.recall(DATABASE, claim.key)
        assert entry is not None
        assert entry.result == one.result
    assert await people("count") == 60


async def test_one_bad_write_of_a_group_fails_alone(
    people: Caller, server: SimulatedArango
) -> None:
    """The group is done again in a transaction, which finds out which one it was."""
    await people("create-index", fields=["n"], unique=True)
    await people("insert", document={"_key": "taken", "n": -1})
    documents = [{"_key": f"k{n}", "n": n} for n in range(20)]
    documents[7] = {"_key": "taken", "n": 100}
    documents[11] = {"_key": "eleven", "n": -1}
    server.asked.clear()
    outcomes = await insert_together(people, documents)
    failed = [n for n, one in enumerate(outcomes) if isinstance(one, Exception)]
    assert failed == [7, 11]
    assert all(isinstance(outcomes[n], UniqueViolation) for n in failed)
    assert outcomes[11].details["fields"] == ["n"]
    assert await people("count") == 19
    assert "POST /_api/transaction/begin" in said(server)
    assert any(size > 5 for size in combined(server))


async def test_the_same_document_never_comes_twice_in_a_group(
    people: Caller, server: SimulatedArango
) -> None:
    """Every one of many updates of one document counts."""
    await people("insert", document={"_key": "a"})
    await asyncio.gather(*(people("update", document={"_key": "a", f"n{n}": n}) for n in range(20)))
    assert await people.document("a") == {f"n{n}": n for n in range(20)}


async def test_a_work_that_is_late_by_the_databases_clock_leaves_no_trace(
    people: Caller, server: SimulatedArango
) -> None:
    """Alone, in a group and in a transaction: the statement itself refuses."""
    server.offset_ms = 60_000
    soon = now_ms() + 20_000
    for operation, arguments in (
        ("insert", {"document": {}}),
        ("insert-many", {"documents": [{}, {}]}),
        ("upsert", {"filters": {"n": 1}, "insert": {"n": 1}, "update": {}}),
        ("create-index", {"fields": ["n"]}),
    ):
        claim = make_claim()
        work = make_work(operation, "people", arguments, claim=claim, deadline_ms=soon)
        with pytest.raises(DeadlineExceeded):
            await people.store.execute(work)
        server.offset_ms = 0
        assert await people.store.recall(DATABASE, claim.key) is None
        server.offset_ms = 60_000
    server.offset_ms = 0
    assert await people("count") == 0
    assert len(await people("list-indexes")) == 1


async def test_only_the_late_work_of_a_group_is_refused(
    people: Caller, server: SimulatedArango
) -> None:
    """The others of the same query are done."""
    server.offset_ms = 10_000
    works = [
        make_work(
            "insert",
            "people",
            {"document": {"_key": f"k{n}"}},
            claim=make_claim(),
            deadline_ms=now_ms() + (5_000 if n % 2 else 30_000),
        )
        for n in range(10)
    ]
    done = await asyncio.gather(*map(people.store.execute, works), return_exceptions=True)
    assert [isinstance(one, DeadlineExceeded) for one in done] == [bool(n % 2) for n in range(10)]
    server.offset_ms = 0
    assert await people("count") == 5


@pytest.mark.parametrize(
    "place",
    [
        path_is("POST", "/_api/transaction/begin"),
        path_is("POST", "/_api/document/"),
        query_has("INSERT w.entry"),
    ],
)
async def test_what_is_lost_before_the_commit_was_not_done(
    people: Caller, server: SimulatedArango, place: Any
) -> None:
    """A connection that breaks inside a transaction says "unavailable", and nothing is kept."""
    server.before = once(place, dropping)
    claim = make_claim()
    arguments = {"documents": [{"_key": "a"}, {"_key": "b"}]}
    with pytest.raises(Unavailable):
        await people.store.execute(make_work("insert-many", "people", arguments, claim=claim))
    assert await people("count") == 0
    again = await people.store.execute(make_work("insert-many", "people", arguments, claim=claim))
    assert again.replayed is None
    assert await people("count") == 2


async def test_a_commit_whose_answer_is_lost_is_unknown_and_done_once(
    people: Caller, server: SimulatedArango
) -> None:
    """The retry finds the ledger entry and does nothing."""
    commit = path_is("PUT", "/_api/transaction/")
    server.after = lambda asked, answer: dropping(asked) if commit(asked) else answer
    claim = make_claim()
    work = make_work("insert-many", "people", {"documents": [{"n": 1}]}, claim=claim)
    with pytest.raises(OutcomeUnknown):
        await people.store.execute(work)
    server.after = lambda _asked, answer: answer
    again = await people.store.execute(work)
    assert again.replayed == claim.id
    assert await people("count") == 1


async def test_a_conflict_with_another_writer_is_tried_again(
    people: Caller, server: SimulatedArango
) -> None:
    """ArangoDB undid it, so that it can simply be done again."""
    server.before = once(query_has("INSERT w.document"), answering(1200, 409))
    await people("insert", document={"_key": "a"})
    server.before = once(path_is("POST", "/_api/document/"), answering(1200, 409))
    await people("insert-many", documents=[{"_key": "b"}])
    assert await people("count") == 2


async def test_conflicts_without_end_are_unavailable(
    people: Caller, server: SimulatedArango
) -> None:
    """A bounded number of tries, then the caller decides."""
    tries: list[str] = []

    def conflict(asked: Asked) -> Answer | None:
        if asked.method == "POST" and asked.path.startswith("/_api/document/"):
            tries.append(asked.path)
            return answering(1200, 409)(asked)
        return None

    server.before = conflict
    with pytest.raises(Unavailable):
        await people("insert-many", documents=[{"_key": "b"}])
    assert len(tries) == 5
    server.before = lambda _asked: None
    assert await people("count") == 0


async def test_a_document_that_changed_after_it_was_read_is_read_again(
    people: Caller, store: ArangoStore, server: SimulatedArango
) -> None:
    """A change by filters never overwrites what came in between."""
    meta = await people("insert", document={"_key": "a", "g": 1, "n": 0})
    expected: list[Any] = []

    def overtaken(asked: Asked) -> Answer | None:
        expected.extend([asked.body[0]["_rev"], asked.params["ignoreRevs"]])
        asked.body[0]["_rev"] = "_an-older--"
        return None

    server.asked.clear()
    server.before = once(path_is("PUT", "/_api/document/people"), overtaken)
    assert await people("update-match", filters={"g": 1}, body={"n": 1}) == 1
    assert await people.document("a") == {"g": 1, "n": 1}
    assert expected == [meta["_rev"], "0"]
    assert said(server).count("POST /_api/transaction/begin") == 2


async def test_an_update_that_makes_a_document_too_large_is_undone(people: Caller) -> None:
    """Only the database knows how large it becomes; the statement refuses there."""
    half = "ü" * (MAX_EFFECT_BYTES // 4 + 100)
    await people("insert", document={"_key": "a", "one": half})
    with pytest.raises(InvalidDocument, match=str(MAX_EFFECT_BYTES)):
        await people("update", document={"_key": "a", "two": half})
    assert set(await people.document("a") or {}) == {"one"}


async def test_large_integers_do_not_travel_as_bind_parameters(
    people: Caller, server: SimulatedArango
) -> None:
    """The document API keeps all their digits."""
    server.asked.clear()
    await people("insert", document={"_key": "a", "n": 2**63 - 1})
    assert "POST /_api/document/people" in said(server)
    server.asked.clear()
    await people("insert", document={"_key": "b", "n": 0.1 + 0.2, "m": 123456789})
    assert said(server) == ["POST /_api/cursor"]
    assert await people.document("a") == {"n": 2**63 - 1}


async def test_a_settled_look_waits_for_what_is_under_way(
    people: Caller, server: SimulatedArango
) -> None:
    """It does not say "none" while a transaction is left that could still commit."""
    claim = make_claim()
    begun, second, gate = threading.Event(), threading.Event(), threading.Event()

    def pause(asked: Asked) -> Answer | None:
        if asked.path == "/_api/transaction/begin" and "mallku_ledger" in str(
            asked.body["collections"]["exclusive"]
        ):
            second.set()
        if asked.path == "/_api/document/people":
            begun.set()
            gate.wait(20)
        return None

    server.before = pause
    work = make_work("insert-many", "people", {"documents": [{}]}, claim=claim)
    writing = asyncio.ensure_future(people.store.execute(work))
    await asyncio.to_thread(begun.wait, 20)
    looking = asyncio.ensure_future(people.store.recall(DATABASE, claim.key, settled=True))
    await asyncio.to_thread(second.wait, 20)
    assert not looking.done()
    gate.set()
    entry = await looking
    await writing
    assert entry is not None
    begin = [one for one in server.asked if one.path == "/_api/transaction/begin"][-1]
    assert begin.body["collections"]["exclusive"] == ["mallku_ledger"]


async def test_two_upserts_at_once_insert_once(people: Caller) -> None:
    """They take turns at the collection."""
    arguments = {"filters": {"name": "inti"}, "insert": {"name": "inti"}, "update": {"seen": True}}
    done = await asyncio.gather(*(people("upsert", **arguments) for _ in range(6)))
    assert sorted(one["type"] for one in done) == ["insert", *["update"] * 5]
    assert await people("count") == 1


async def test_a_full_queue_is_told_at_once(server: SimulatedArango, people: Caller) -> None:
    """Nothing waits without a bound."""
    store: Any = people.store
    store._under_way = store._settings.queue_works
    with pytest.raises(Unavailable, match="wait already"):
        await people("count")
    store._under_way = 0


async def test_a_mutation_reports_what_the_database_stored(people: Caller) -> None:
    """Effects hold the new version as it came back, results what was asked for."""
    done = await people.done("update", document=(await people("insert", document={"a": 1})))
    [effect] = done.effects
    assert effect.new is not None
    assert plain(effect.new) == {"a": 1}


@pytest.mark.parametrize(
    ("revision", "number"), [("-", 0), ("_", 1), ("_-", 64), ("_meiqyLy---", None)]
)
def test_a_position_is_the_number_of_a_revision(revision: str, number: int | None) -> None:
    """64 digits in ArangoDB's order; a real one is a time in milliseconds and a counter."""
    if number is not None:
        assert position(revision) == number
    else:
        assert 1_400_000_000_000 < position(revision) >> 20 < 2_000_000_000_000
        assert position(revision) < position("_meiqyLz---") < position("_meiqyM----")


async def test_a_key_that_was_taken_after_it_was_read_is_read_again(
    people: Caller, server: SimulatedArango
) -> None:
    """An upsert by key whose document somebody else inserts meanwhile changes that one."""

    def overtaken(asked: Asked) -> Answer | None:
        entry = {
            "error": True,
            "errorNum": 1210,
            "errorMessage": "unique constraint violated - in index primary of type primary over"
            " '_key'; conflicting key: a",
        }
        return Answer(202, [entry])

    server.asked.clear()
    server.before = once(path_is("POST", "/_api/document/people"), overtaken)
    arguments = {"filters": {"_key": "a"}, "insert": {"_key": "a"}, "update": {"n": 1}}
    assert (await people("upsert", **arguments))["type"] == "insert"
    assert said(server).count("POST /_api/transaction/begin") == 2


async def test_a_store_that_stops_finishes_what_it_accepted(server: SimulatedArango) -> None:
    """What waits for its group is done; what comes later is refused."""
    store = ArangoStore(ArangoSettings(url=server.url, group_lanes=1, group_works=4))
    await store.start()
    people = Caller(store, "people")
    await people("create-collection")
    waiting = [asyncio.ensure_future(people("insert", document={"n": n})) for n in range(20)]
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(store.stop())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await people("insert", document={})
    results = await asyncio.gather(*waiting)
    await stopping
    assert len({one["_key"] for one in results}) == 20


def test_a_worker_chooses_the_store_by_its_settings() -> None:
    """`MALLKU_WORKER_STORE=arango`, the rest from `MALLKU_WORKER_ARANGO_*`."""
    settings = WorkerSettings.model_construct(store="arango", databases="mallku, other")
    chosen = recipes.store(settings)
    assert isinstance(chosen, ArangoStore)
    assert "'other'" in repr(chosen)
