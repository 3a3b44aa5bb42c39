"""Named graphs: made, listed, walked, removed."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import (
    CollectionExists,
    GraphExists,
    GraphNotFound,
    InvalidArguments,
    NotSupported,
)
from mallku_workers.stores.base import Store
from tests.stores.asking import Asker, make_query
from tests.stores.calling import DATABASE, Caller, make_claim, make_work

KNOWS = {
    "edge_collection": "knows",
    "from_vertex_collections": ["people"],
    "to_vertex_collections": ["people", "places"],
}


@pytest.fixture
def database(store: Store) -> Caller:
    """Calls about the database."""
    return Caller(store, "@")


@pytest.fixture
def ask(store: Store) -> Asker:
    """Queries to the store."""
    return Asker(store)


async def names(database: Caller) -> dict[str, str]:
    """The collections that there are, with their types."""
    return {info["name"]: info["type"] for info in await database("list-collections")}


async def test_a_graph_makes_what_is_missing(database: Caller) -> None:
    """Vertex collections, edge collections and orphans; the definition comes back in order."""
    await database.on("people")("create-collection")
    made = await database(
        "create-graph", name="g", edge_definitions=[KNOWS], orphan_collections=["lonely"]
    )
    assert made == {
        "name": "g",
        "edge_definitions": [KNOWS],
        "orphan_collections": ["lonely"],
    }
    assert await names(database) == {
        "knows": "edge",
        "lonely": "document",
        "people": "document",
        "places": "document",
    }
    assert await database("list-graphs") == [made]


async def test_graphs_are_listed_by_name(database: Caller) -> None:
    """None at first; an empty one is one."""
    assert await database("list-graphs") == []
    for name in ("b", "a"):
        await database("create-graph", name=name)
    assert [graph["name"] for graph in await database("list-graphs")] == ["a", "b"]


async def test_a_graph_of_the_same_name(database: Caller) -> None:
    """1925, and the first one stays as it was."""
    await database("create-graph", name="g", edge_definitions=[KNOWS])
    with pytest.raises(GraphExists) as refused:
        await database("create-graph", name="g")
    assert refused.value.error_code == 1925
    assert (await database("list-graphs"))[0]["edge_definitions"] == [KNOWS]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"edge_definitions": [KNOWS, KNOWS]}, InvalidArguments),
        ({"edge_definitions": [{**KNOWS, "to_vertex_collections": []}]}, InvalidArguments),
        ({"edge_definitions": [KNOWS], "orphan_collections": ["people"]}, InvalidArguments),
        ({"edge_definitions": [{**KNOWS, "edge_collection": "people"}]}, None),
    ],
)
async def test_a_graph_that_makes_no_sense(
    database: Caller, arguments: dict[str, Any], error: type[Exception] | None
) -> None:
    """Refused, and nothing of it is made: an edge collection is one of edges, and named once."""
    if error is None:
        await database.on("people")("create-collection")
    before = await names(database)
    with pytest.raises(error or CollectionExists):
        await database("create-graph", name="g", **arguments)
    assert await names(database) == before
    assert await database("list-graphs") == []


async def test_a_graph_is_dropped_alone(database: Caller) -> None:
    """Its collections and what is in them stay; dropping those has to be said for each."""
    await database("create-graph", name="g", edge_definitions=[KNOWS])
    await database.on("people")("insert", document={})
    with pytest.raises(NotSupported, match="drop_collections"):
        await database("drop-graph", name="g", drop_collections=True)
    assert await database("drop-graph", name="g") is True
    assert await database("list-graphs") == []
    assert await database.on("people")("count") == 1
    with pytest.raises(GraphNotFound) as refused:
        await database("drop-graph", name="g")
    assert refused.value.error_code == 1924
    assert await database("drop-graph", name="g", ignore_missing=True) is False


async def test_making_and_dropping_happen_once(database: Caller) -> None:
    """A retry is answered as the first attempt was."""
    store = database.store
    for operation, arguments in (("create-graph", {"name": "g"}), ("drop-graph", {"name": "g"})):
        first = await store.execute(
            make_work(operation, "@", arguments, claim=make_claim(operation))
        )
        again = await store.execute(
            make_work(operation, "@", arguments, claim=make_claim(operation))
        )
        assert again.result == first.result
        assert again.replayed is not None


async def test_a_graph_is_walked_by_its_name(database: Caller, ask: Asker) -> None:
    """Outbound, inbound, to a depth, and by the shortest way."""
    await database("create-graph", name="g", edge_definitions=[KNOWS])
    await database.on("people")("insert-many", documents=[{"_key": key} for key in "abcd"])
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "c")]
    documents = [{"_from": f"people/{x}", "_to": f"people/{y}"} for x, y in edges]
    await database.on("knows")("insert-many", documents=documents)
    walked = "FOR v IN 1..@most {} @start GRAPH 'g' SORT v._key RETURN DISTINCT v._key"
    binds = {"most": 3, "start": "people/a"}
    assert await ask(walked.format("OUTBOUND"), binds) == ["b", "c", "d"]
    assert await ask(walked.format("OUTBOUND"), {**binds, "most": 1}) == ["b", "c"]
    assert await ask(walked.format("INBOUND"), binds) == []
    shortest = "FOR v IN OUTBOUND SHORTEST_PATH 'people/a' TO 'people/d' GRAPH 'g' RETURN v._key"
    assert await ask(shortest) == ["a", "c", "d"]


async def test_a_query_over_a_graph_names_its_collections(database: Caller) -> None:
    """Those that stand in the graph, and not in the query's text."""
    await database("create-graph", name="g", edge_definitions=[KNOWS])
    work = make_query("FOR v IN 1..2 OUTBOUND 'people/a' GRAPH 'g' RETURN v")
    assert work.query is not None
    used = await database.store.collections_of(DATABASE, work.query)
    assert used.reads >= {"knows", "people", "places"}
    assert dict(used.writes) == {}


async def test_a_graph_that_is_not_there_is_not_walked(database: Caller, ask: Asker) -> None:
    """Under its own code and ArangoDB's number, with its name and its place in the text."""
    text = "FOR v IN 1..2 OUTBOUND 'people/a'\n  GRAPH {} RETURN v"
    for name, binds in (("'nobody'", {}), ("@g", {"g": "nobody"})):
        with pytest.raises(GraphNotFound, match=r"'nobody'.*, at line 2, column 3") as refused:
            await ask(text.format(name), binds)
        assert refused.value.error_code == 1924
        details = refused.value.details
        assert (details["name"], details["line"], details["column"]) == ("nobody", 2, 3)
