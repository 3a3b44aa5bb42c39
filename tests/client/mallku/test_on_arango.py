"""Mallku's queries over the simulated ArangoDB: the same rows, and what is refused there."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_client.mallku import SecuredDatabaseInterface, close_database, get_database
from mallku_contracts.errors import NotSupported
from tests.client.mallku.mallku_like import POLICY, fresh
from tests.client.mallku.test_query_kinds import DOCUMENTS, QUERIES, SECURED, bare, filled
from tests.integration.world import running_world
from tests.support.simulated_arango import SimulatedArango

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def arango(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SecuredDatabaseInterface]:
    """Mallku's database over a gateway whose workers use ArangoDB."""
    for name in [name for name in os.environ if name.startswith(("MALLKU_", "ARANGO_"))]:
        monkeypatch.delenv(name)
    server = SimulatedArango(tmp_path)
    monkeypatch.setenv("MALLKU_WORKER_ARANGO_URL", server.url)
    async with running_world(tmp_path / "house", 1, policy=POLICY, store="arango") as world:
        for name, value in world.house.environment("mallku", world.gateway.url).items():
            monkeypatch.setenv(name, value)
        yield get_database()
        close_database()
    server.close()


async def test_every_kind_of_query_on_arangodb(arango: SecuredDatabaseInterface) -> None:
    """None is refused; rows are the same by semantic names, and there are some."""
    name = await filled(arango)
    assert arango.collection(name).count() == len(DOCUMENTS)
    for text, binds in QUERIES:
        rows = list(arango.aql.execute(text, bind_vars={**binds, "@c": name}))
        secured = await arango.execute_secured_query(text, {**binds, "@c": SECURED}, SECURED)
        assert rows, text
        assert bare(rows) == bare(secured), text


async def test_what_is_refused_says_what_to_write(arango: SecuredDatabaseInterface) -> None:
    """Traversals want WITH, path searches a named query, changes a place of their own."""
    people, edges = fresh("people"), fresh("relations")
    arango.collection(people).insert_many([{"_key": key} for key in "ab"])
    arango.collection(edges).insert({"_from": f"{people}/a", "_to": f"{people}/b"})
    walk = f"FOR v IN 1..3 OUTBOUND @start {edges} RETURN v._key"
    start = {"start": f"{people}/a"}
    with pytest.raises(NotSupported, match="by WITH at the start"):
        arango.aql.execute(walk, start)
    assert list(arango.aql.execute(f"WITH {people} {walk}", start)) == ["b"]
    search = f"FOR v IN OUTBOUND SHORTEST_PATH @start TO '{people}/b' {edges} RETURN v._key"
    with pytest.raises(NotSupported, match="approved as a named query"):
        arango.aql.execute(search, start)
    nested = f"LET gone = (FOR p IN {people} REMOVE p IN {people}) RETURN gone"
    with pytest.raises(NotSupported, match="in a subquery"):
        arango.aql.execute(nested, read_only=False)
    assert arango.collection(people).count() == 2
