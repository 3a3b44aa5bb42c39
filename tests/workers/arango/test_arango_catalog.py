"""Collections, indexes and graphs: repeatable under their claim; what the store needs itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    ConfigurationError,
    OutcomeUnknown,
    Unavailable,
)
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.arango.preparation import durability
from mallku_workers.stores.base import Done
from tests.stores.calling import DATABASE, Caller, make_claim, make_work
from tests.support.simulated_arango import Answer, Asked, SimulatedArango
from tests.workers.arango.watching import answering, dropping, once, path_is, query_has, said

CHANGES: list[tuple[str, dict[str, Any], Any]] = [
    ("create-collection", {"edge": True}, {"name": "new", "type": "edge"}),
    ("drop-collection", {}, True),
    ("truncate", {}, 0),
    ("drop-index", {"index": "mine"}, True),
    (
        "create-graph",
        {"name": "g", "edge_definitions": []},
        {"name": "g", "edge_definitions": [], "orphan_collections": []},
    ),
    ("drop-graph", {"name": "g"}, True),
]


async def made_before(people: Caller, operation: str) -> str:
    """What the change needs to find; the collection that it is about."""
    if operation == "create-collection":
        return "new"
    if operation == "drop-index":
        await people("create-index", fields=["n"], name="mine")
    elif operation == "drop-graph":
        await people("create-graph", name="g", edge_definitions=[])
    return "people"


@pytest.mark.parametrize(("operation", "arguments", "answer"), CHANGES)
async def test_a_change_whose_answer_was_lost_is_finished_by_its_retry(
    people: Caller, server: SimulatedArango, operation: str, arguments: dict[str, Any], answer: Any
) -> None:
    """The state that was asked for is there already: done, and remembered from then on."""
    name = await made_before(people, operation)
    changing = ("/_api/collection", "/_api/index", "/_api/gharial")

    def lost(asked: Asked, given: Answer) -> Answer:
        if asked.method != "GET" and asked.path.startswith(changing):
            dropping(asked)
        return given

    server.after = lost
    claim = make_claim()
    work = make_work(operation, name, arguments, claim=claim)
    with pytest.raises(OutcomeUnknown):
        await people.store.execute(work)
    server.after = lambda _asked, given: given
    assert await people.store.recall(DATABASE, claim.key) is None
    second = await people.store.execute(work)
    assert (second.result, second.replayed) == (answer, None)
    third = await people.store.execute(work)
    assert (third.result, third.replayed) == (answer, claim.id)


async def test_a_change_that_was_refused_leaves_no_entry(
    people: Caller, server: SimulatedArango
) -> None:
    """A taken name stays refused, and the key may be used again."""
    claim = make_claim()
    work = make_work("create-collection", "people", {}, claim=claim)
    for _ in range(2):
        with pytest.raises(CollectionExists):
            await people.store.execute(work)
    await people("drop-collection")
    assert (await people.store.execute(work)).replayed is None


async def test_an_unfinished_entry_is_finished_or_told_unknown(
    people: Caller, server: SimulatedArango
) -> None:
    """A change whose entry could not be completed is unknown, not done and forgotten."""
    server.before = once(query_has("REPLACE w.entry"), dropping)
    claim = make_claim()
    work = make_work("create-collection", "new", {}, claim=claim)
    with pytest.raises(OutcomeUnknown):
        await people.store.execute(work)
    assert (await people.store.execute(work)).result == {"name": "new", "type": "document"}


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [("truncate", {}), ("drop-collection", {}), ("create-graph", {"name": "g"})],
)
async def test_no_write_commits_between_a_change_and_its_entry(
    people: Caller, server: SimulatedArango, operation: str, arguments: dict[str, Any]
) -> None:
    """Positions tell whether a document was there before it: a write that comes waits its turn."""
    writes: list[asyncio.Task[Done | CollectionNotFound]] = []
    loop, changed = asyncio.get_running_loop(), ("/_api/collection/people", "/_api/gharial")

    def begin_write() -> None:
        writes.append(asyncio.ensure_future(_insert(people)))

    def meanwhile(asked: Asked, answer: Answer) -> Answer:
        if asked.method in ("PUT", "POST", "DELETE") and asked.path.startswith(changed):
            loop.call_soon_threadsafe(begin_write)
        return answer

    server.after = meanwhile
    done = await people.done(operation, **arguments)
    server.after = lambda _asked, answer: answer
    written = await writes[0]
    assert done.position is not None
    if isinstance(written, Done):
        assert written.position is not None
        assert written.position > done.position
    assert isinstance(written, Done) == (operation != "drop-collection")


async def _insert(people: Caller) -> Done | CollectionNotFound:
    try:
        return await people.done("insert", document={"n": 1})
    except CollectionNotFound as error:
        return error


async def test_a_change_that_could_not_be_entered_stays_begun(
    people: Caller, server: SimulatedArango
) -> None:
    """What was made and not entered is never taken for something that was not made."""

    def gone(asked: Asked) -> Answer | None:
        server.databases[DATABASE].end(asked.path.rpartition("/")[2], commit=False)
        return None

    server.before = once(path_is("PUT", "/_api/transaction"), gone)
    claim = make_claim()
    work = make_work("truncate", "people", {}, claim=claim)
    await people("insert", document={})
    with pytest.raises(OutcomeUnknown):
        await people.store.execute(work)
    entry = await people.store.recall(DATABASE, claim.key, settled=True)
    assert entry is not None
    assert entry.begun


async def test_an_index_is_made_beside_writes(people: Caller, server: SimulatedArango) -> None:
    """It may take long, and no document depends on it: only other changes wait for it."""
    server.asked.clear()
    await people("create-index", fields=["n"])
    [begun] = [asked.body for asked in server.asked if asked.path == "/_api/transaction/begin"]
    assert begun["collections"] == {"write": ["mallku_ledger"], "exclusive": []}


async def test_graphs_are_made_listed_and_dropped(people: Caller) -> None:
    """With the collections that they name."""
    definition = {
        "edge_collection": "knows",
        "from_vertex_collections": ["people"],
        "to_vertex_collections": ["places", "people"],
    }
    made = await people("create-graph", name="social", edge_definitions=[definition])
    assert made["edge_definitions"] == [
        {**definition, "to_vertex_collections": ["people", "places"]}
    ]
    assert await people("list-graphs") == [made]
    assert {one["name"] for one in await people("list-collections")} == {
        "people",
        "knows",
        "places",
    }
    assert await people("drop-graph", name="social") is True
    assert await people("list-graphs") == []
    assert await people("drop-graph", name="social", ignore_missing=True) is False


async def test_the_ledger_is_made_with_its_indexes(
    store: ArangoStore, server: SimulatedArango
) -> None:
    """By transmission, and one that ends entries in time; a second start changes nothing."""
    [expiry] = server.databases["mallku"].extra["mallku_ledger"]
    assert (expiry["type"], expiry["fields"], expiry["expireAfter"]) == ("ttl", ["expires"], 0)
    again = ArangoStore(ArangoSettings(url=server.url))
    await again.start()
    await again.stop()
    assert len(server.databases["mallku"].extra["mallku_ledger"]) == 1
    listed = await Caller(store, "people")("list-collections")
    assert listed == []


async def test_a_start_makes_only_what_is_missing(
    store: ArangoStore, server: SimulatedArango
) -> None:
    """A worker that may make no indexes starts where an administrator made them."""
    server.asked.clear()
    again = ArangoStore(ArangoSettings(url=server.url))
    await again.start()
    await again.stop()
    assert {asked.method for asked in server.asked if asked.path != "/_open/auth"} == {"GET"}
    server.databases["mallku"].extra["mallku_ledger"].clear()
    server.asked.clear()
    await again.start()
    await again.stop()
    assert said(server).count("POST /_api/index") == 1


@pytest.mark.parametrize(
    ("sharding", "shards", "starts"),
    [
        ({}, 1, True),
        ({"sharding": "single"}, 1, True),
        ({"sharding": "flexible"}, 1, False),
        ({"sharding": ""}, 1, False),
        ({"sharding": "single"}, 3, False),
    ],
)
async def test_a_database_on_several_shards_is_served_only_when_that_is_accepted(
    people: Caller, server: SimulatedArango, sharding: dict[str, Any], shards: int, *, starts: bool
) -> None:
    """There a write and its ledger entry are not one commit; the refusal names the way out."""
    server.sharding = sharding
    server.databases["mallku"].properties["people"] = {"numberOfShards": shards}
    accepting = ArangoStore(ArangoSettings(url=server.url, allow_several_shards=True))
    await accepting.start()
    await accepting.stop()
    again = ArangoStore(ArangoSettings(url=server.url))
    if starts:
        await again.start()
        await again.stop()
        return
    with pytest.raises(ConfigurationError, match="ALLOW_SEVERAL_SHARDS=true"):
        await again.start()


@pytest.mark.parametrize(
    ("properties", "synced", "expected"),
    [
        ({}, False, Durability.FLUSH),
        ({"waitForSync": True}, False, Durability.FSYNC),
        ({}, True, Durability.FSYNC),
        ({"replicationFactor": 3, "writeConcern": 2}, False, Durability.QUORUM),
        ({"replicationFactor": 3, "minReplicationFactor": 2}, False, Durability.QUORUM),
        ({"replicationFactor": 3, "writeConcern": 1}, False, Durability.FLUSH),
        ({"replicationFactor": 1, "writeConcern": 1, "waitForSync": True}, True, Durability.FSYNC),
        ({"replicationFactor": "satellite", "writeConcern": 1}, False, Durability.FLUSH),
    ],
)
def test_durability_is_what_a_collection_says(
    properties: dict[str, Any], synced: bool, expected: Durability
) -> None:
    """Copies that are waited for, the disk that is waited for, or neither."""
    assert durability(properties, synced=synced) is expected


async def test_the_weakest_collection_decides(server: SimulatedArango, people: Caller) -> None:
    """Read from the database as it is, at the start."""
    assert people.store.durability is Durability.FLUSH
    properties = server.databases["mallku"].properties
    properties["mallku_ledger"] = {"waitForSync": True, "replicationFactor": 3, "writeConcern": 2}
    properties["people"] = {"waitForSync": False}
    again = ArangoStore(ArangoSettings(url=server.url))
    await again.start()
    assert again.durability is Durability.FSYNC
    await again.stop()


async def test_a_database_that_is_missing_is_a_configuration_error(
    server: SimulatedArango,
) -> None:
    """Said at the start, by name."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        await ArangoStore(ArangoSettings(url=server.url), databases=["nowhere"]).start()


async def test_a_server_that_is_too_old_is_refused(server: SimulatedArango) -> None:
    """Before it is asked for what it does not know."""
    old = Answer(200, {"server": "arango", "version": "3.2.2", "license": "community"})
    server.before = once(path_is("GET", "/_api/version"), lambda _asked: old)
    with pytest.raises(ConfigurationError, match=r"3\.2\.2 is too old"):
        await ArangoStore(ArangoSettings(url=server.url)).start()


async def test_a_store_serves_only_while_it_runs(server: SimulatedArango, tmp_path: Path) -> None:
    """Neither before its start nor after its stop, and it starts once."""
    store = ArangoStore(ArangoSettings(url=server.url))
    people = Caller(store, "people")
    with pytest.raises(ConfigurationError):
        assert store.durability
    with pytest.raises(Unavailable):
        await people("count")
    await store.start()
    with pytest.raises(ConfigurationError):
        await store.start()
    await people("create-collection")
    await store.stop()
    with pytest.raises(Unavailable):
        await people("count")


async def test_a_server_without_room_answers_by_its_number(
    people: Caller, server: SimulatedArango
) -> None:
    """A page that needs too much memory is asked for again with fewer rows."""
    await people("insert-many", documents=[{"_key": f"k{n:03d}"} for n in range(40)])
    server.before = once(path_is("POST", "/_api/cursor"), answering(32, 500))
    page = await people("find", batch_size=40)
    assert page["more"] is True
    assert 1 <= len(page["documents"]) < 40
    rest = await people("find", after=page["after"])
    assert len(page["documents"]) + len(rest["documents"]) == 40
    assert said(server).count("POST /_api/cursor") >= 3


async def test_pages_do_not_trust_the_order_of_the_database(
    people: Caller, server: SimulatedArango
) -> None:
    """Where rows do not come by the code points of keys, they are asked for in another way."""
    await people("insert-many", documents=[{"_key": key} for key in ("B", "a", "C")])

    def collated(asked: Asked, given: Answer) -> Answer:
        if query_has("indexHint")(asked):
            given.body["result"].sort(key=lambda row: row["_key"].lower())
        return given

    server.after = collated
    page = await people("find", batch_size=2)
    assert [one["_key"] for one in page["documents"]] == ["B", "C"]
    rest = await people("find", after=page["after"])
    assert [one["_key"] for one in rest["documents"]] == ["a"]
