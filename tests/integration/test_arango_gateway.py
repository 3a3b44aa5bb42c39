"""The whole gateway over ArangoDB: real server and workers, and the simulated database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import Unavailable
from tests.integration.world import World, running_world
from tests.support.simulated_arango import SimulatedArango


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedArango]:
    """A database server, which the environment of the workers names."""
    server = SimulatedArango(tmp_path)
    monkeypatch.setenv("MALLKU_WORKER_ARANGO_URL", server.url)
    yield server
    server.close()


@pytest.fixture
async def over_arango(tmp_path: Path, database: SimulatedArango) -> AsyncIterator[World]:
    """A gateway whose workers use it."""
    async with running_world(tmp_path / "house", store="arango") as world:
        yield world


async def _fill(db: SecuredDatabaseInterface) -> None:
    anchors = await db.create_collection("memory_anchors")
    for number in range(5):
        await anchors.insert({"_key": f"k{number}", "n": number})


async def test_a_command_goes_through_to_the_database(over_arango: World) -> None:
    """Writes, reads, a query and a receipt: the same client, the same wire, the same checks."""
    async with over_arango.client() as db:
        await _fill(db)
        anchors = db.collection("memory_anchors")
        assert await anchors.count() == 5
        changed = await anchors.update({"_key": "k1", "n": 10}, return_new=True)
        assert isinstance(changed, dict)
        assert changed.get("new", {}).get("n") == 10
        text = "FOR a IN memory_anchors FILTER a.n >= @n SORT a.n RETURN a.n"
        cursor = await db.aql.execute(text, bind_vars={"n": 3})
        assert [row async for row in cursor] == [3, 4, 10]


async def test_a_database_that_is_gone_is_unavailable(
    over_arango: World, database: SimulatedArango
) -> None:
    """The caller is told so, and that another try makes sense."""
    async with over_arango.client() as db:
        await _fill(db)
        database.close()
        with pytest.raises(Unavailable) as caught:
            await db.collection("memory_anchors").get("k1", timeout=2)
        assert caught.value.retryable
