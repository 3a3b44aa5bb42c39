"""A trail that crashes went through is still enough to make the database again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.files import load_digests
from mallku_client.trail import AuditReader
from mallku_contracts.errors import NotSupported
from mallku_deploy.auditing.rebuild_order import Order
from mallku_deploy.auditing.rebuild_run import Report, make_again
from mallku_deploy.demo.rebuild import Quiet
from tests.integration.load import Load
from tests.integration.stage import Stage, open_ends, stage_in
from tests.integration.world import POLICY, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A gateway with two workers that reconcile every moment."""
    async with stage_in(tmp_path, monkeypatch) as stage:
        yield stage


async def rebuilt(world: World, folder: Path, *collections: str) -> Report:
    """What the trail of this gateway makes, beside what its store holds."""
    order = Order(
        into=f"embedded:{folder / 'again'}",
        database="mallku",
        collections=collections,
        compare_with=f"embedded:{world.house.store}",
        state=folder / "work.sqlite",
    )
    async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
        return await make_again(reader, order, Quiet())


@pytest.mark.timeout(180)
async def test_what_crashed_workers_left_open_is_rebuilt_too(stage: Stage, tmp_path: Path) -> None:
    """Killed at every step around the effect, under load: resolutions hold what a rebuild needs."""
    async with stage.world.client() as client, Load(client) as load:
        for name in ("intend", "executing", "committed", "execute", "outcome-sent"):
            await stage.strike(name)
        await stage.strike("committed", "delete")
        await load.grown()
        await load.stop()
        await client.collection("memory_anchors").upsert(
            {"_key": "execute"}, insert={"n": 0}, update={"n": 1}
        )
        trail = await stage.settled(lambda trail: not open_ends(trail))
        report = await rebuilt(stage.world, tmp_path)
    assert report.good, (report.rebuilt, report.compared)
    assert not report.rebuilt.gaps
    assert not report.rebuilt.unresolved
    assert report.compared is not None
    [anchors] = report.compared.collections
    assert anchors.documents >= len(load.acknowledged)
    assert any(record.resolution == "committed" for record in trail.records)


async def test_what_is_written_past_the_gateway_is_found(stage: Stage, tmp_path: Path) -> None:
    """A store that does not hold what its trail tells differs by name."""
    from mallku_workers.stores.copying import Credentials, open_target, read_spec

    async with stage.world.client() as client:
        for key in ("a", "b"):
            await client.collection("memory_anchors").insert({"_key": key, "n": 1})
    spec = read_spec(f"embedded:{stage.world.house.store}")
    async with open_target(spec, Credentials()) as side:
        await side.ask("update", "memory_anchors", document={"_key": "a", "n": 2})
    report = await rebuilt(stage.world, tmp_path)
    assert not report.good
    assert report.compared is not None
    assert report.compared.collections[0].differences == [("a", "differs")]


HIDDEN = (
    POLICY
    + """
collections:
  hidden: {audit: digest}
"""
)


async def test_a_hidden_collection_is_verified_and_not_rebuilt(tmp_path: Path) -> None:
    """Real workers hash with the key of the house: nothing accuses them, nothing can be copied."""
    secret = "rumi-maki-7141"
    async with running_world(tmp_path / "house", policy=HIDDEN) as world:
        async with world.client() as client:
            hidden = await client.create_collection("hidden")
            await hidden.insert({"_key": secret, "name": secret})
            assert (await hidden.get(secret) or {})["name"] == secret
            people = await client.create_collection("people")
            await people.insert({"_key": "a"})
        await world.trail()
        async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
            entries = [entry async for entry in reader.entries()]
        assert (await world.verify()).findings.accusations == []
        with pytest.raises(NotSupported, match="hidden"):
            await rebuilt(world, tmp_path)
        report = await rebuilt(world, tmp_path, "people")
    assert all(secret.encode() not in entry.data for entry in entries)
    name = load_digests(tmp_path / "house" / "digest.key").of(secret)
    assert sum(name.encode() in entry.data for entry in entries) >= 3
    assert report.good
