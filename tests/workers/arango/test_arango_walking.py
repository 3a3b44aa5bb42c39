"""Traversals of whoever may not read everything: what they meet on ArangoDB is what they may read.

The vertices that a traversal leads to stand in no text: edges may point anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.errors import MallkuError, NotSupported, PermissionDenied
from mallku_workers.stores.arango.walking import VERTICES
from mallku_workers.stores.base import QueryCollections, Store
from tests.stores.asking import make_query
from tests.stores.calling import Caller
from tests.support.simulated_arango import SimulatedArango

MAY = frozenset({"people", "places", "knows"})
GRAPH = "GRAPH 'social'"
EDGES = "knows"
WITH = "WITH people, places "


@pytest.fixture
async def store(people: Caller) -> Store:
    """People who know people, places, and one secret; all by edges of the same collection."""
    for name in ("places", "secrets"):
        await people.on(name)("create-collection")
    await people("insert-many", documents=[{"_key": key} for key in "abc"])
    await people.on("places")("insert", document={"_key": "p"})
    await people.on("secrets")("insert", document={"_key": "s", "pin": 1234})
    definition = {
        "edge_collection": "knows",
        "from_vertex_collections": ["people"],
        "to_vertex_collections": ["people", "places"],
    }
    await people("create-graph", name="social", edge_definitions=[definition])
    ends = [("people/a", "people/b"), ("people/b", "places/p"), ("people/a", "secrets/s")]
    ends += [("secrets/s", "people/c"), ("people/c", "people/a")]
    edges = [{"_from": one, "_to": other} for one, other in ends]
    await people.on("knows")("insert-many", documents=edges)
    return people.store


async def ask(store: Store, text: str, uses: frozenset[str] | None = MAY, **binds: Any) -> Any:
    """The rows of a query of somebody who may read everything but the secrets."""
    work = make_query(text, binds)
    assert work.query is not None
    collections = None if uses is None else QueryCollections(uses, {})
    query = replace(work.query, may_read=MAY.__contains__, uses=collections)
    done = await store.execute(replace(work, query=query))
    return sorted(done.result["result"])


@pytest.mark.parametrize("graph", [GRAPH, EDGES])
async def test_a_traversal_meets_what_its_asker_may_read(store: Store, graph: str) -> None:
    """And goes no further through what it may not: neither vertex, nor path, nor what is behind."""
    start = WITH if graph == EDGES else ""
    text = f"{start}FOR v, e, p IN 0..5 OUTBOUND 'people/a' {graph} RETURN v._id"
    assert await ask(store, text) == ["people/a", "people/b", "places/p"]
    paths = f"{start}FOR v, e, p IN 1..5 ANY 'people/a' {graph} RETURN p.vertices[*]._id"
    met = {vertex for path in await ask(store, paths) for vertex in path}
    assert "secrets/s" not in met
    assert met >= {"people/c", "people/b", "places/p"}


HOSTILE = [
    f"FOR v IN 0..0 ANY 'secrets/s' {GRAPH} RETURN v",
    f"FOR v IN 0..0 ANY @start {GRAPH} RETURN v",
    f"FOR v, e, p IN 1..2 ANY @start {GRAPH} RETURN p.vertices",
]
MADE = [
    f"FOR v IN 0..0 ANY CONCAT('secrets', '/s') {GRAPH} RETURN v",
    f"FOR i IN ['secrets/s'] FOR v IN 0..1 ANY i {GRAPH} RETURN v",
    f"FOR v, e, p IN 1..2 ANY {{_id: CONCAT('secrets', '/s')}} {GRAPH} RETURN p.vertices",
    f"LET d = {{_id: 'secrets/s'}} FOR v IN 0..0 ANY d {GRAPH} RETURN v",
    f"FOR w IN people FOR v IN 0..0 ANY MERGE(w, {{_id: 'secrets/s'}}) {GRAPH} RETURN v",
    f"RETURN (FOR v IN 0..0 ANY CONCAT('secrets', '/s') {GRAPH} RETURN v)[0]",
    f"FOR e IN knows FILTER e._to == 'secrets/s' FOR v IN 0..0 ANY e._to {GRAPH} RETURN v",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("start", ["secrets/s", {"_id": "secrets/s"}, None, 5])
async def test_a_traversal_does_not_start_elsewhere(store: Store, text: str, start: Any) -> None:
    """The start is what ArangoDB lets pass whatever the option says: a constant is refused."""
    binds = {"start": start} if "@start" in text else {}
    with pytest.raises(MallkuError) as refused:
        await ask(store, text, **binds)
    assert isinstance(refused.value, PermissionDenied) or start in (None, 5)


@pytest.mark.parametrize("text", MADE)
async def test_a_start_that_is_made_is_checked_where_it_is_made(store: Store, text: str) -> None:
    """Nothing of the secret is told, not even that it is there."""
    assert all(row is None for row in await ask(store, text))


async def test_starts_that_are_made_and_allowed_are_walked_from(store: Store) -> None:
    """Documents of a loop, their ids, bound ids."""
    of_loop = f"FOR w IN people FILTER w._key == 'b' FOR v IN 1..1 OUTBOUND w {GRAPH} RETURN v._id"
    assert await ask(store, of_loop) == ["places/p"]
    assert await ask(store, of_loop.replace("OUTBOUND w", "OUTBOUND w._id")) == ["places/p"]
    bound = f"FOR v IN 1..1 OUTBOUND @start {GRAPH} RETURN v._id"
    assert await ask(store, bound, start="people/b") == ["places/p"]


@pytest.mark.parametrize(
    "option",
    [f"{VERTICES}: 'secrets'", f"{VERTICES}: ['people', 'secrets']", f"`{VERTICES}`: []"],
)
async def test_the_option_is_not_the_askers(store: Store, option: str) -> None:
    """Where it stood twice, which of them counts would be ArangoDB's to say."""
    with pytest.raises(NotSupported, match=VERTICES):
        await ask(store, f"FOR v IN 0..2 ANY 'people/a' {GRAPH} OPTIONS {{{option}}} RETURN v")


async def test_other_options_stay(store: Store, server: SimulatedArango) -> None:
    """And the list that is sent is never empty, for an empty one restricts nothing."""
    text = f"FOR v IN 1..5 ANY 'people/a' {GRAPH} OPTIONS {{order: 'bfs'}} RETURN v._id"
    assert await ask(store, text) == ["people/b", "people/c", "places/p"]
    sent = server.asked[-1].body["query"]
    assert 'order: "bfs"' in sent
    assert f'{VERTICES}: ["knows", "people", "places"]' in sent
    with pytest.raises(PermissionDenied):
        await ask(store, text, frozenset())


async def test_what_cannot_be_held_to_collections_is_refused(store: Store) -> None:
    """Edge collections without WITH, and a query whose collections were not authorized."""
    with pytest.raises(NotSupported, match="WITH"):
        await ask(store, "FOR v IN 1..1 ANY 'people/a' knows RETURN v")
    with pytest.raises(NotSupported):
        await ask(store, f"FOR v IN 1..1 ANY 'people/a' {GRAPH} RETURN v", None)


async def test_a_change_walks_no_further_than_a_reading(store: Store) -> None:
    """What is stored could be read afterwards."""
    text = f"FOR v IN 1..3 ANY 'people/a' {GRAPH} INSERT {{met: v._id}} INTO places RETURN NEW.met"
    assert "secrets/s" not in await ask(store, text)
