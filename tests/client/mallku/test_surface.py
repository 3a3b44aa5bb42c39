"""Every name that Mallku calls, on a real gateway, with both faces."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from mallku_client import mallku
from mallku_client.mallku import (
    CollectionSecurityPolicy,
    SecuredArangoDatabase,
    SecuredCollectionWrapper,
    SecuredDatabaseInterface,
    SecurityViolationError,
    get_database,
)
from mallku_contracts.errors import (
    CollectionNotFound,
    InvalidArguments,
    InvalidKey,
    PermissionDenied,
    RevisionMismatch,
    UniqueViolation,
)
from tests.client.mallku.mallku_like import fresh
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAITED = [
    "initialize", "execute_secured_query", "create_secured_collection", "get_secured_collection",
    "query", "batch_insert", "upsert_document", "get_document", "aql_query", "ensure_collection",
    "get_collection", "insert_document", "list_collections", "query_documents",
]  # fmt: skip
PLAIN = [
    "collection", "has_collection", "create_collection", "delete_collection", "collections",
    "register_collection_policy", "get_security_registry", "get_security_metrics", "is_secured",
    "get_security_status",
]  # fmt: skip
ATTRIBUTES = [
    "aql", "_database", "_operation_count", "_collection_policies", "_security_violations",
    "_security_registry", "_initialized", "_skip_database",
]  # fmt: skip


async def test_one_object_for_the_process(db: SecuredDatabaseInterface) -> None:
    """Plain calls give the same object, awaited ones the same state."""
    assert get_database() is db
    awaited = await get_database()
    assert isinstance(awaited, SecuredDatabaseInterface)
    assert awaited._collection_policies is db._collection_policies
    db._operation_count = 41
    assert awaited.get_security_metrics()["operations_count"] == 41
    assert SecuredArangoDatabase is SecuredDatabaseInterface


@pytest.mark.parametrize("name", AWAITED)
async def test_what_is_awaited_is_async_on_the_class(name: str) -> None:
    """So that a mock made with `spec=` has an `AsyncMock` there."""
    assert inspect.iscoroutinefunction(getattr(SecuredDatabaseInterface, name))
    assert isinstance(getattr(MagicMock(spec=SecuredDatabaseInterface), name), AsyncMock)


@pytest.mark.parametrize("name", PLAIN)
async def test_what_is_called_plainly_is_plain_on_a_mock(name: str) -> None:
    """No coroutine where Mallku awaits none."""
    assert not isinstance(getattr(MagicMock(spec=SecuredDatabaseInterface), name), AsyncMock)


@pytest.mark.parametrize("name", ATTRIBUTES)
async def test_attributes_are_there_on_a_mock(name: str) -> None:
    """Callers read and assign them."""
    mock = MagicMock(spec=SecuredDatabaseInterface)
    getattr(mock, name)
    setattr(mock, name, 1)


@pytest.mark.parametrize("name", ["_collection", "_policy"])
async def test_a_mock_of_a_collection_has_its_attributes(name: str) -> None:
    """Callers read them, there too."""
    assert hasattr(MagicMock(spec=SecuredCollectionWrapper), name)


async def test_a_fake_database_is_left_alone_by_construction() -> None:
    """Nothing is called on it; later it is what carries operations out."""
    fake = MagicMock()
    interface = SecuredDatabaseInterface(fake)
    await interface.initialize()
    assert fake.mock_calls == []
    fake.collection.return_value.get.return_value = {"a": 1}
    assert interface.collection("memory_anchors").get("k") == {"a": 1}
    fake.collection.return_value.get.assert_called_once_with("k")
    assert await interface.get_document("memory_anchors", "k") == {"a": 1}
    fake.aql.execute.return_value = iter([{"n": 1}])
    assert await interface.execute_secured_query("RETURN 1", {}) == [{"n": 1}]


async def test_initialize_registers_the_default_policies(db: SecuredDatabaseInterface) -> None:
    """Both of reciprocity's are secured; anchors are open and have a schema on their key."""
    before = db._initialized
    await db.initialize()
    await db.initialize()
    assert (before, db._initialized) == (False, True)
    policies = db._collection_policies
    secured = {name for name, policy in policies.items() if policy.requires_security}
    assert secured == {"reciprocity_activities_secured", "reciprocity_balances_secured"}
    anchors = policies["memory_anchors"]
    assert anchors.schema_validation["properties"] == {"_key": {"type": "string"}}
    assert (anchors.requires_security, anchors.allowed_model_types) == (False, [])


async def test_a_collection_comes_into_being_at_its_first_write(
    db: SecuredDatabaseInterface,
) -> None:
    """Before that it reads as empty, and fetching it sends nothing."""
    name = fresh("first")
    anchors = db.collection(name)
    assert anchors.get("a") is None
    assert list(anchors.all()) == []
    assert list(anchors.find({"a": 1})) == []
    assert anchors.count() == 0
    assert not anchors.exists()
    assert not db.has_collection(name)
    anchors.insert({"_key": "a"})
    assert anchors.exists()
    assert db.has_collection(name)


async def test_a_policy_may_forbid_that(world: World, db: SecuredDatabaseInterface) -> None:
    """Whoever may not make collections learns that, and that it was not there."""
    environment = world.house.environment("narrow", world.gateway.url)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        with pytest.raises(PermissionDenied, match="create-collection"):
            db.collection(fresh("forbidden")).insert({"a": 1})


async def test_the_plain_database_makes_nothing_by_writing(db: SecuredDatabaseInterface) -> None:
    """`_database` has the plain operations, and ArangoDB's error where there is no collection."""
    name = fresh("plain")
    with pytest.raises(CollectionNotFound):
        db._database.collection(name).insert({"a": 1})
    with pytest.raises(CollectionNotFound):
        db._database.collection(name).get("a")
    made = db._database.create_collection(name)
    assert made.insert({"_key": "a"})["_key"] == "a"
    assert list(db._database.aql.execute(f"FOR d IN {name} RETURN d._key")) == ["a"]
    assert db._database.has_collection(name)


async def test_edges_make_an_edge_collection(db: SecuredDatabaseInterface) -> None:
    """`_from` and `_to` say so."""
    name = fresh("edges")
    db.collection(name).insert({"_from": "memory_anchors/a", "_to": "memory_anchors/b"})
    assert db.collection(name).properties()["type"] == "edge"


async def test_a_repeated_insert_is_no_conflict(db: SecuredDatabaseInterface) -> None:
    """The same document under its own key counts as put in; another one does not."""
    notes = db.collection(fresh("repeated"))
    document = {"_key": "a", "n": 1, "tags": ["x"]}
    first = notes.insert(document)
    assert notes.insert(document) == first
    with pytest.raises(UniqueViolation):
        notes.insert({**document, "n": 2})
    notes.update({"_key": "a", "owner": "put in by a policy"})
    assert notes.insert(document)["_key"] == "a"
    with pytest.raises(UniqueViolation):
        notes.insert({**document, "owner": "somebody else"})
    notes.delete("a")
    assert notes.insert(document)["_rev"] != first["_rev"]  # put in again, not remembered


async def test_a_document_is_got_in_the_revision_that_was_named(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """Another one is a mismatch, as in python-arango; without a revision any is given."""
    name = fresh("revisions")
    notes = db.collection(name)
    first = notes.insert({"_key": "a", "n": 1})
    assert notes.get(first)["n"] == 1
    second = notes.update({"_key": "a", "n": 2})
    for named in (first, {"_id": f"{name}/a", "_rev": first["_rev"]}, {**second, **first}):
        with pytest.raises(RevisionMismatch):
            notes.get(named)
    with pytest.raises(RevisionMismatch):
        await adb.collection(name).get(first)
    for named in (second, "a", {"_key": "a"}, {"_key": "a", "_rev": None}):
        assert notes.get(named)["n"] == 2
    assert notes.get({"_key": "b", "_rev": "x"}) is None


@pytest.mark.parametrize("key", ["a b", "a/b/c", "", "x" * 255, "ä"])
async def test_keys_that_cannot_be_are_refused_here(
    db: SecuredDatabaseInterface, key: str, world: World
) -> None:
    """ArangoDB's 1221, and nothing is sent: there is no such collection afterwards."""
    name = fresh("keys")
    notes = db.collection(name)
    calls = [
        partial(notes.insert, {"_key": key}),
        partial(notes.insert_many, [{"_key": key}]),
        partial(notes.update, {"_key": key}, {"a": 1}),
        partial(notes.replace, {"_key": key}),
        partial(notes.get, key),
        partial(notes.get, {"_key": key}),
        partial(notes.has, key),
        partial(notes.delete, key),
        partial(notes.delete, {"_id": f"{name}/{key}"}),
    ]
    for call in calls:
        with pytest.raises(InvalidKey) as refused:
            call()
        assert refused.value.error_code == 1221
    assert name not in db.collections()


async def test_values_that_cannot_be_are_refused_here(db: SecuredDatabaseInterface) -> None:
    """With the path of the field, on either face."""
    name = fresh("values")
    endless: dict[str, Any] = {}
    endless["itself"] = endless
    for document, path in (
        ({"a": [{"b": float("inf")}]}, "document.a[0].b"),
        ({"a": object()}, "document.a"),
        (endless, "document.itself"),
    ):
        with pytest.raises(InvalidArguments, match=path.replace("[", r"\[")):
            db.collection(name).insert(document)
        with pytest.raises(InvalidArguments):
            await (await db.get_collection(name)).insert(document)
    with pytest.raises(InvalidArguments, match=r"bind_vars\.x"):
        db.aql.execute("RETURN @x", bind_vars={"x": float("nan")})
    assert name not in db.collections()


async def test_metrics_count_what_is_called(db: SecuredDatabaseInterface) -> None:
    """A collection that is fetched, a call on documents, and a query each count."""
    before = db.get_security_metrics()
    assert before["operations_count"] == 0
    notes = db.collection(fresh("counted"))
    notes.insert({"a": 1})
    list(db.aql.execute("RETURN 1"))
    after = db.get_security_metrics()
    assert after["operations_count"] == 3
    assert (after["security_violations"], after["compliance_score"]) == (0, 1.0)
    assert after["recent_violations"] == []
    assert isinstance(after["uuid_mappings"], int)
    assert db.is_secured() is True
    assert db.get_security_status()["secured_interface_active"] is True


async def test_attributes_may_be_assigned(db: SecuredDatabaseInterface) -> None:
    """Another database in its place is used from then on."""
    fake = MagicMock()
    original, db._database = db._database, fake
    fake.has_collection.return_value = "asked"
    assert db.has_collection("x") == "asked"
    db._database = original
    assert not db.has_collection(fresh("none"))
    db._skip_database = True
    assert db.collection("memory_anchors").insert({"_key": "a"})["_key"] == "a"
    assert db.collection("memory_anchors").get("a") is None
    db._skip_database = False


async def test_construction_refuses_nameless_collections() -> None:
    """An empty name, or no policy at all."""
    with pytest.raises(SecurityViolationError):
        CollectionSecurityPolicy("", [])
    with pytest.raises(SecurityViolationError):
        SecuredCollectionWrapper(MagicMock(), None, MagicMock())  # type: ignore[arg-type]  # the point


async def test_the_exported_names_are_complete() -> None:
    """What is named is there, sorted."""
    assert sorted(mallku.__all__) == mallku.__all__
    assert all(hasattr(mallku, name) for name in mallku.__all__)
