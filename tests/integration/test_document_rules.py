"""Document rules through real workers: two people in one collection, each alone in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidDocument,
    MallkuError,
    PermissionDenied,
    UniqueViolation,
)
from tests.integration.world import World, exchange, running_world
from tests.support.simulated_caller import SimulatedCaller

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
        set: {owner: $principal, stamped: true}
        hide: [token, box.pin]
        max_affected: 5
      - {id: records, collections: [records, persons], operations: [read, write]}
      - {id: names, collections: ["-"], operations: [list-collections, outcome]}
  operator:
    rules: [{id: everything, collections: ["*"], operations: [read, write, admin]}]
principals:
  ada: {roles: [clerk]}
  bob: {roles: [clerk]}
  operator: {roles: [operator]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
collections:
  records: {immutable: true}
  persons:
    schema:
      type: object
      required: [name]
      properties: {name: {type: string}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway with two workers; everybody's notes, of which two are ada's and two bob's."""
    async with running_world(tmp_path_factory.mktemp("rules"), policy=POLICY) as world:
        async with world.client("operator") as operator:
            for name in ("notes", "records", "persons", "vault"):
                await operator.create_collection(name)
            notes = operator.collection("notes")
            for key, owner in (("a1", "ada"), ("a2", "ada"), ("b1", "bob"), ("b2", "bob")):
                secret = {"token": f"SECRET-{key}", "box": {"pin": f"SECRET-{key}", "n": 1}}
                await notes.insert({"_key": key, "owner": owner, "tag": f"TAG-{key}", **secret})
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shared: World) -> AsyncIterator[SecuredDatabaseInterface]:
    """A real client of `ada`."""
    async with shared.client("ada") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def raw(shared: World) -> AsyncIterator[GatewayConnection]:
    """A bare connection with ada's own credentials."""
    async with shared.connection("ada") as connection:
        yield connection


async def refused(asked: Awaitable[object], kind: type[MallkuError]) -> MallkuError:
    """The refusal of a call."""
    with pytest.raises(kind) as error:
        await asked
    return error.value


async def test_each_is_alone_in_the_collection(ada: SecuredDatabaseInterface) -> None:
    """Another's documents are neither found nor counted, nor is any of them changed."""
    notes = ada.collection("notes")
    mine = await notes.get("a1")
    assert mine is not None
    assert mine["box"] == {"n": 1}
    assert "token" not in mine
    assert await notes.get("b1") is None
    assert await notes.count() == len([note async for note in notes.find({})])
    owners = {note["owner"] async for note in notes.find({})}
    assert owners == {"ada"}
    await refused(notes.update({"_key": "b1", "owner": "ada"}), DocumentNotFound)
    await refused(notes.delete("b2"), DocumentNotFound)
    taken = await refused(notes.insert({"_key": "b1"}, overwrite_mode="update"), UniqueViolation)
    assert "TAG" not in str(taken.to_wire())


async def test_hidden_fields_cannot_be_probed(ada: SecuredDatabaseInterface) -> None:
    """A filter, a sort and a write on them are refused in the name of the rule."""
    notes = ada.collection("notes")
    for asked in (
        notes.count({"token": "SECRET-a1"}),
        notes.count({"box": {"pin": 1}}),
        notes.update_match({"box.pin": "SECRET-a1"}, {"hit": True}),
        notes.update({"_key": "a1", "token": "known"}),
        notes.update({"_key": "a1", "box": None}, keep_none=False),
    ):
        error = await refused(asked, PermissionDenied)
        assert error.details["rule"] == "clerk/own"


async def test_what_is_forced_and_hidden_stands_in_store_and_trail(
    shared: World, ada: SecuredDatabaseInterface
) -> None:
    """A replace by somebody half blind keeps what they cannot see; the trail has all of it."""
    meta = await ada.collection("notes").replace({"_key": "a2", "owner": "bob"}, return_new=True)
    assert isinstance(meta, dict)
    assert "new" in meta
    assert meta["new"]["owner"] == "ada"
    assert "SECRET" not in str(meta)
    async with shared.client("operator") as operator:
        stored = await operator.collection("notes").get("a2")
    assert stored is not None
    assert (stored["owner"], stored["stamped"]) == ("ada", True)
    assert (stored["token"], stored["box"]) == ("SECRET-a2", {"pin": "SECRET-a2"})
    trail = await shared.trail()
    (done,) = [r for r in trail.records if any(e["new_rev"] == meta["_rev"] for e in r.effects)]
    assert done.effects[0]["new"] == stored
    (intent,) = [r for r in trail.records if (r.kind, r.id) == ("intent", done.id)]
    assert intent.bound["set"] == {"owner": "ada", "stamped": True}
    assert list(intent.bound["where"]["values"].values()) == ["ada"]


async def test_many_at_once_stay_within_the_rule(
    shared: World, ada: SecuredDatabaseInterface
) -> None:
    """Too many are refused whole; fewer meet one's own alone."""
    notes = ada.collection("notes")
    many = [{"batch": 1} for _ in range(6)]
    await refused(notes.insert_many(many), PermissionDenied)
    assert await notes.count({"batch": 1}) == 0
    for _ in range(2):
        await notes.insert_many(many[:3])
    await refused(notes.update_match({"batch": 1}, {"batch": 2}), PermissionDenied)
    assert await notes.count({"batch": 1}) == 6
    assert await notes.delete_match({"batch": 1}, limit=5) == 5
    async with shared.client("operator") as operator:
        assert await operator.collection("notes").count({"owner": "bob"}) == 2


async def test_a_collection_has_rules_for_everybody(
    shared: World, ada: SecuredDatabaseInterface
) -> None:
    """What is immutable stays, for the operator too; a schema holds for every new version."""
    records, persons = ada.collection("records"), ada.collection("persons")
    await records.insert({"_key": "r", "n": 1})
    await refused(records.update({"_key": "r", "n": 2}), PermissionDenied)
    await refused(records.insert({"_key": "r", "n": 2}, overwrite=True), PermissionDenied)
    await refused(persons.insert({"nam": "ada"}), InvalidDocument)
    await persons.insert({"_key": "p", "name": "ada"})
    await refused(persons.update({"_key": "p", "name": 1}), InvalidDocument)
    async with shared.client("operator") as operator:
        await refused(operator.collection("records").truncate(), PermissionDenied)
        stored = await operator.collection("records").get("r")
    assert stored is not None
    assert stored["n"] == 1


async def test_only_known_names_are_listed(shared: World, ada: SecuredDatabaseInterface) -> None:
    """The vault's name is not told to whom may do nothing with it."""
    names = {info["name"] for info in await ada.collections()}
    assert names == {"notes", "records", "persons"}
    async with shared.client("operator") as operator:
        assert {info["name"] for info in await operator.collections()} == names | {"vault"}


async def test_a_race_for_a_document_never_shows_it(
    shared: World, raw: GatewayConnection, ada: SecuredDatabaseInterface
) -> None:
    """While a note goes to and fro between two people, nobody sees it with the other's content.

    Every answer comes from one state of the document: either it is one's own or it is not there.
    """
    caller: SimulatedCaller = shared.caller("ada")
    done = asyncio.Event()

    async def to_and_fro() -> None:
        async with shared.client("operator") as operator:
            notes = operator.collection("notes")
            for turn in range(30):
                owner = ("ada", "bob")[turn % 2]
                body = {"_key": "x", "owner": owner, "says": f"for {owner}", "token": "SECRET"}
                await notes.insert(body, overwrite_mode="replace")
        done.set()

    moving = asyncio.ensure_future(to_and_fro())
    seen = set()
    while not done.is_set():
        asked: list[tuple[str, dict[str, object]]] = [
            ("get", {"document": "x"}),
            ("find", {"filters": {"_key": "x"}}),
            ("update", {"document": {"_key": "x", "seen": 1}, "return_old": True}),
            ("insert", {"document": {"_key": "x"}, "overwrite_mode": "update", "return_old": True}),
        ]
        sent = [caller.seal(operation, arguments, "notes") for operation, arguments in asked]
        for answer in await asyncio.gather(*(exchange(raw, one) for one in sent)):
            text = str(answer.body)
            assert "SECRET" not in text
            assert "for bob" not in text
            seen.add("for ada" in text)
    await moving
    assert seen == {True, False}
