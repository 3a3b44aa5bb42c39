"""Dry runs through real workers: what is told, what is written down, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_client.sync import SecuredDatabaseInterface as Blocking
from mallku_contracts.errors import InvalidArguments, PermissionDenied
from tests.integration.world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = """
version: 1
roles:
  clerk:
    rules:
      - id: own
        collections: [notes]
        operations: [read, write]
        where: {owner: $principal}
        max_affected: 3
  sweeper:
    rules: [{id: sweep, collections: [notes], operations: [update-match, delete-match, delete]}]
  half:
    rules:
      - {id: own, collections: [notes], operations: [get], where: {owner: $principal}}
      - {id: sweep, collections: [notes], operations: [delete-match]}
  reader:
    rules: [{id: look, collections: [notes], operations: [read]}]
  operator:
    rules: [{id: everything, collections: ["*"], operations: [read, write, admin]}]
principals:
  ada: {roles: [clerk]}
  eve: {roles: [reader]}
  sam: {roles: [sweeper]}
  bob: {roles: [half]}
  operator: {roles: [operator]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def notes(tmp_path: Path) -> AsyncIterator[World]:
    """Two notes of ada's and four of bob's."""
    async with running_world(tmp_path / "house", policy=POLICY) as world:
        async with world.client("operator") as operator:
            collection = await operator.create_collection("notes")
            owners = ["ada", "bob", "ada", "bob", "bob", "bob"]
            await collection.insert_many(
                [{"_key": f"n{place}", "owner": owner} for place, owner in enumerate(owners)]
            )
        yield world


async def test_a_dry_run_tells_and_touches_nothing(notes: World) -> None:
    """It sees what the caller's rules let it touch, is on the trail, and changes no document.

    Nobody may try what they may not do; a bound of the policy holds for the trial too; a step of a
    transaction is not tried alone.
    """
    async with notes.client("ada") as ada, notes.client("operator") as operator:
        mine = await ada.collection("notes").dry_run.delete_match({})
        assert [each["_key"] for each in mine["documents"]] == ["n0", "n2"]
        all_ = await operator.collection("notes").dry_run.update_match({}, {"seen": True})
        assert all_["count"] == 6
        await operator.collection("notes").update_match({}, {"owner": "ada"})
        with pytest.raises(PermissionDenied, match="at most 3"):
            await ada.collection("notes").dry_run.delete_match({})
        step = {"operation": "delete", "collection": "notes"}
        with pytest.raises(InvalidArguments, match="dry_run"):
            await operator.execute_transaction(
                [{**step, "arguments": {"document": "n0", "dry_run": True}}]
            )
        assert await operator.collection("notes").count() == 6
        async with notes.client("eve") as eve:
            with pytest.raises(PermissionDenied):
                await eve.collection("notes").dry_run.delete("n0")
    trail = await notes.trail()
    tried = [record for record in trail.records if record.facts.get("dry_run")]
    assert [(record.kind, record.facts["count"]) for record in tried] == [("done", 2), ("done", 6)]
    assert all(record.effects == () and record.position is None for record in tried)
    assert (await notes.verify()).findings.accusations == []


async def test_a_dry_run_without_await(notes: World) -> None:
    """The blocking face has the same."""

    def try_it() -> int:
        with Blocking.connect(settings=notes.client_settings("ada")) as database:
            return database.collection("notes").dry_run.delete_many(["n0", "n1"])["count"]

    assert await asyncio.to_thread(try_it) == 1


async def test_a_dry_run_names_nothing_that_its_asker_may_not_read(notes: World) -> None:
    """Who may sweep and not read is told how many; keys and revisions are not theirs to know."""
    for principal in ("sam", "bob"):
        async with notes.client(principal) as sweeper:
            told = await sweeper.collection("notes").dry_run.delete_match({})
            assert (told["count"], told["documents"], told["more"]) == (6, [], True)
            none = await sweeper.collection("notes").dry_run.delete_match({"owner": "nobody"})
            assert (none["count"], none["documents"], none["more"]) == (0, [], False)
    async with notes.client("sam") as sam:
        named = await sam.collection("notes").dry_run.delete("n0")
        assert [each["_key"] for each in named["documents"]] == ["n0"]
