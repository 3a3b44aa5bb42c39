"""Secured collections: refused here before anything is sent, and by the worker on its own."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from mallku_client.mallku import (
    CollectionSecurityPolicy,
    SecuredCollectionWrapper,
    SecuredDatabaseInterface,
    SecurityRegistry,
    SecurityViolationError,
)
from mallku_client.mallku.registry import COLLECTION, is_field_uuid
from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    InvalidDocument,
    InvalidKey,
    SecurityViolation,
    UniqueViolation,
)
from tests.client.mallku.mallku_like import Activity, Balance, fresh
from tests.integration.world import World, exchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACTIVITIES = "reciprocity_activities_secured"
BALANCES = "reciprocity_balances_secured"
DIRECT = [
    "insert", "insert_many", "get", "get_many", "has", "update", "update_many", "update_match",
    "replace", "replace_many", "replace_match", "upsert", "delete", "delete_many", "delete_match",
    "find", "all", "truncate", "random", "import_bulk", "export",
]  # fmt: skip


async def ready(db: SecuredDatabaseInterface) -> SecuredCollectionWrapper:
    """The secured collection of activities, with its default policy."""
    await db.initialize()
    return await db.get_secured_collection(ACTIVITIES)


async def reported(world: World, text: str) -> list[Record]:
    """The intents on the trail that hold a text, once they are there."""
    while True:
        trail = await world.trail()
        found = [
            record
            for record in trail.records
            if record.command is not None and text.encode() in record.command[1]
        ]
        if found:
            return found


@pytest.mark.parametrize("name", DIRECT)
async def test_looking_at_a_direct_operation_is_refused(
    db: SecuredDatabaseInterface, name: str
) -> None:
    """Before it is called; recorded, counted and listed."""
    collection = await ready(db)
    with pytest.raises(SecurityViolationError, match=f"Direct access to {name} is not allowed"):
        getattr(collection, name)
    metrics = db.get_security_metrics()
    assert metrics["security_violations"] == 1
    assert metrics["recent_violations"][0]["operation"] == name
    assert metrics["recent_violations"][0]["collection"] == ACTIVITIES
    assert metrics["compliance_score"] < 1


async def test_open_collections_let_them_be(db: SecuredDatabaseInterface) -> None:
    """With `requires_security=False` they work, and nothing is recorded."""
    name = fresh("open")
    db.register_collection_policy(CollectionSecurityPolicy(name, [], requires_security=False))
    collection = await db.get_secured_collection(name)
    assert collection.insert({"_key": "a"})["_key"] == "a"
    assert db.get_security_metrics()["security_violations"] == 0


async def test_the_last_ten_violations_are_shown(db: SecuredDatabaseInterface) -> None:
    """All are counted."""
    collection = await ready(db)
    for _ in range(12):
        with pytest.raises(SecurityViolationError):
            _ = collection.delete
    metrics = db.get_security_metrics()
    assert metrics["security_violations"] == len(db._security_violations) == 12
    assert len(metrics["recent_violations"]) == 10
    assert 0 <= metrics["compliance_score"] <= 1


async def test_a_violation_is_on_the_audit_trail(
    db: SecuredDatabaseInterface, world: World
) -> None:
    """As intent and outcome of `report-violation`, in the principal's name."""
    collection = await ready(db)
    mark = fresh("mark")
    with pytest.raises(SecurityViolationError):
        getattr(collection, "insert")  # noqa: B009 - what callers do
    db.record_violation(ACTIVITIES, mark, "seen by a test")
    (intent,) = await reported(world, mark)
    assert intent.subject == "mallku.v1.cmd.mallku.mallku.@.report-violation"
    trail = await world.trail()
    kinds = [record.kind for record in trail.records if record.id == intent.id]
    assert kinds == ["intent", "done"]


async def test_a_model_goes_in_and_comes_back(db: SecuredDatabaseInterface) -> None:
    """Its fields are stored under UUIDs, its values as they are, its key from its own field."""
    collection = await ready(db)
    at = datetime(2025, 8, 16, 12, tzinfo=UTC)
    model = Activity(interaction_id=fresh("a"), kind="gift", at=at, details={"kind": "inner"})
    meta = await collection.insert_secured(model)
    assert meta["_key"] == model.interaction_id
    assert await collection.get_secured(model.interaction_id, Activity) == model
    assert await collection.get_secured("nobody", Activity) is None
    rows = await db.execute_secured_query(
        "FOR d IN @@c FILTER d._key == @k RETURN d", {"@c": ACTIVITIES, "k": meta["_key"]}
    )
    assert Activity(**rows[0]) == model
    stored = list(db._database.aql.execute(f"FOR d IN {ACTIVITIES} RETURN ATTRIBUTES(d)"))
    fields = {name for names in stored for name in names if not name.startswith("_")}
    assert all(is_field_uuid(name) for name in fields)


async def test_every_secured_operation(db: SecuredDatabaseInterface) -> None:
    """All that the messages promise."""
    await db.initialize()
    db.register_collection_policy(CollectionSecurityPolicy(BALANCES, [Balance]))
    collection = await db.create_secured_collection(BALANCES, db._collection_policies[BALANCES])
    await collection.truncate_secured()
    assert await collection.insert_many_secured([]) == []
    metas = await collection.insert_many_secured(Balance(id=n, amount=1) for n in "abcd")
    assert [meta["_key"] for meta in metas] == list("abcd")
    assert collection.count() == 4
    await collection.update_secured("a", Balance(id="a", amount=5))
    assert await collection.get_secured("a", Balance) == Balance(id="a", amount=5)
    await collection.replace_secured("b", Balance(id="b", amount=6))
    await collection.update_many_secured(iter([Balance(id=n, amount=9) for n in "cd"]))
    found = [await collection.get_secured(key, Balance) for key in "bcd"]
    assert [each and each.amount for each in found] == [6, 9, 9]
    await collection.delete_secured("a")
    await collection.delete_many_secured(["b", Balance(id="c")])
    assert collection.count() == 1
    assert await collection.truncate_secured() == 1
    collection.add_persistent_index(fields=["amount"])
    indexes = db._database.collection(BALANCES).indexes()
    assert [is_field_uuid(field) for each in indexes[1:] for field in each["fields"]] == [True]
    collection.add_index({"type": "persistent", "fields": ["amount"]})  # the same one
    collection.add_index({"type": "persistent", "fields": ["_key", "amount"]})
    (amount,) = indexes[1]["fields"]
    made = db._database.collection(BALANCES).indexes()
    assert [each["fields"] for each in made[1:]] == [[amount], ["_key", amount]]
    assert collection.exists()


async def test_a_repeated_secured_insert_is_no_conflict(db: SecuredDatabaseInterface) -> None:
    """As an open one; another model under the same key is one."""
    collection = await ready(db)
    model = Activity(interaction_id=fresh("again"), kind="gift")
    first = await collection.insert_secured(model)
    assert await collection.insert_secured(model) == first
    with pytest.raises(UniqueViolation):
        await collection.insert_secured(model.model_copy(update={"kind": "other"}))


async def test_wrong_models_are_refused_here(db: SecuredDatabaseInterface) -> None:
    """What is no secured model, and one that is not let in; both are recorded."""
    await db.initialize()
    db.register_collection_policy(CollectionSecurityPolicy(BALANCES, [Balance]))
    collection = await db.get_secured_collection(BALANCES)
    with pytest.raises(SecurityViolationError, match="requires SecuredModel instances"):
        await collection.insert_secured({"id": "a"})
    with pytest.raises(SecurityViolationError, match=f"not allowed in {BALANCES}"):
        await collection.insert_secured(Activity(interaction_id="a", kind="k"))
    with pytest.raises(SecurityViolationError, match="not allowed"):
        await collection.get_secured("a", Activity)
    with pytest.raises(SecurityViolationError, match="No security policy registered"):
        await db.get_secured_collection("nobody_knows")
    with pytest.raises(SecurityViolationError, match="No security policy registered"):
        await db.create_secured_collection("nobody_knows", None)
    assert db.get_security_metrics()["security_violations"] == 5
    with pytest.raises(InvalidKey):
        await collection.insert_secured(Balance(id="a b"))


async def test_a_subclass_goes_by_the_name_that_is_let_in(db: SecuredDatabaseInterface) -> None:
    """The worker lets in `Balance` alone, and is told of that."""

    class Better(Balance):
        pass

    db.register_collection_policy(CollectionSecurityPolicy(BALANCES, [Balance]))
    collection = await db.get_secured_collection(BALANCES)
    key = fresh("better")
    await collection.insert_secured(Better(id=key, amount=3))
    assert await collection.get_secured(key, Balance) == Balance(id=key, amount=3)


async def test_the_ordinary_client_names_models_too(world: World) -> None:
    """In single calls, in batches, in transactions; a direct command has it as an argument."""
    field = "00000000-0000-0000-0000-000000000000"
    async with world.client() as client:
        balances = client.collection(BALANCES)
        key = fresh("plain")
        await balances.insert({"_key": key, field: 1}, model="Balance")
        with pytest.raises(SecurityViolation):
            await balances.get(key)
        assert (await balances.get(key, model="Balance") or {})[field] == 1
        assert len(await balances.get_many([key], model="Balance")) == 1
        assert [row["_key"] async for row in balances.find({"_key": key}, model="Balance")] == [key]
        async with client.transaction() as work:
            work.collection(BALANCES).update({"_key": key, field: 2}, model="Balance")
        found = await client.command("get", BALANCES, {"document": key, "model": "Balance"})
        assert found.result[field] == 2
        with pytest.raises(TypeError, match="model"):
            await client.command("get", BALANCES, {"document": key}, model="Balance")
        job = await balances.submit.update({"_key": key, field: 3}, model="Balance")
        await job.result(timeout=10)
        assert (await balances.get(key, model="Balance") or {})[field] == 3
        await balances.delete(key)


async def test_names_of_models_do_for_classes() -> None:
    """A policy may name what it must not import."""
    policy = CollectionSecurityPolicy("c", ["Stored"])
    policy.validate_model(Activity(interaction_id="a", kind="k"))
    with pytest.raises(SecurityViolationError, match=r"Allowed types: \['Other'\]"):
        CollectionSecurityPolicy("c", ["Other"]).validate_model(Balance(id="a"))
    with pytest.raises(SecurityViolationError, match="requires SecuredModel"):
        policy.validate_model(Activity)


FORGED: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("insert", {"document": {"plain": 1}}, SecurityViolation),
    ("insert", {"document": {"plain": 1}, "model": "Balance"}, InvalidDocument),
    ("insert", {"document": {}, "model": "Activity"}, SecurityViolation),
    ("insert-many", {"documents": [{}]}, SecurityViolation),
    ("update", {"document": {"_key": "a"}}, SecurityViolation),
    ("update-many", {"documents": [{"_key": "a"}]}, SecurityViolation),
    ("update-match", {"filters": {}, "body": {}}, SecurityViolation),
    ("replace", {"document": {"_key": "a"}}, SecurityViolation),
    ("replace-many", {"documents": [{"_key": "a"}]}, SecurityViolation),
    ("replace-match", {"filters": {}, "body": {}}, SecurityViolation),
    ("upsert", {"filters": {"a": 1}, "insert": {}, "update": {}}, SecurityViolation),
    ("get", {"document": "a"}, SecurityViolation),
    ("get", {"document": "a", "model": "Other"}, SecurityViolation),
    ("get-many", {"documents": ["a"]}, SecurityViolation),
    ("exists", {"document": "a"}, SecurityViolation),
    ("find", {}, SecurityViolation),
    (
        "insert",
        {"document": {f"0000000{n}-0000-0000-0000-000000000000": n for n in range(9)}}
        | {"model": "Balance"},
        InvalidDocument,
    ),
]


@pytest.mark.parametrize(("operation", "arguments", "error"), FORGED)
async def test_a_forged_client_gains_nothing(
    world: World, operation: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """The worker refuses what this client would never have sent."""
    async with world.connection() as connection:
        sent = world.caller().seal(operation, arguments, BALANCES)
        answer = await exchange(connection, sent)
    assert type(answer.error) is error


async def test_a_forged_transaction_or_query_gains_nothing(world: World) -> None:
    """Every step names its model; a query changes nothing there."""
    step = {"operation": "insert", "collection": BALANCES, "arguments": {"document": {}}}
    async with world.connection() as connection:
        caller = world.caller()
        sent = caller.seal("transaction", {"steps": [step]}, None)
        assert isinstance((await exchange(connection, sent)).error, SecurityViolation)
        text = f"INSERT {{plain: 1}} INTO {BALANCES}"
        answer = await exchange(connection, caller.seal("aql", {"query": text}, None))
        assert answer.error is not None
        assert answer.error.code == "permission_denied"


async def test_the_registry_is_shared_and_survives(
    db: SecuredDatabaseInterface, world: World
) -> None:
    """Another process begins with nothing, and learns what it meets."""
    collection = await ready(db)
    model = Activity(interaction_id=fresh("shared"), kind="gift")
    await collection.insert_secured(model)
    assert db.get_security_registry().unsaved() == {}
    other = SecuredDatabaseInterface()
    await other.initialize()
    assert len(other.get_security_registry()) == 0
    found = await (await other.get_secured_collection(ACTIVITIES)).get_secured(
        model.interaction_id, Activity
    )
    assert found == model
    assert len(other.get_security_registry()) >= 6
    async with world.client() as client:
        names = [row["semantic_name"] async for row in client.collection(COLLECTION).all()]
    assert {"kind", "weight"} <= set(names)
    assert len(names) == len(set(names))
    await other.close()


async def test_first_uses_at_the_same_moment_agree(
    db: SecuredDatabaseInterface, world: World
) -> None:
    """Several registries that all meet a name for the first time give it one UUID."""
    name = fresh("field")

    class Once(Activity):
        def to_storage_dict(self, registry: Any) -> dict[str, Any]:
            stored = super().to_storage_dict(registry)
            return {**stored, registry.get_or_create_mapping(name): 1}

    interfaces = [SecuredDatabaseInterface() for _ in range(4)]
    for interface in interfaces:
        await interface.initialize()
    collections = [await each.get_secured_collection(ACTIVITIES) for each in interfaces]
    await asyncio.gather(
        *(each.insert_secured(Once(interaction_id=fresh("once"), kind="k")) for each in collections)
    )
    async with world.client() as client:
        told = [row async for row in client.collection(COLLECTION).find({"semantic_name": name})]
    assert len(told) == 1
    uuids = {each.get_security_registry().get_or_create_mapping(name) for each in interfaces}
    assert uuids == {told[0]["field_uuid"]}
    await asyncio.gather(*(each.close() for each in interfaces))
    await db.close()


async def test_exports_of_the_old_registry_are_read() -> None:
    """What Mallku kept in its own form keeps its meaning."""
    old = {
        "registry_export": {"mappings": {"kind": {"field_uuid": "u-1", "semantic_name": "kind"}}}
    }
    registry = SecurityRegistry()
    registry.learn([old])
    assert registry.get_semantic_name("u-1") == "kind"
    assert registry.get_or_create_mapping("kind") == "u-1"
    assert (
        SecurityRegistry.from_export(registry.export_mappings()).get_semantic_name("u-1") == "kind"
    )


async def test_secured_methods_are_awaited_ones() -> None:
    """A mock made with `spec=` has them so."""
    for name in ("insert_secured", "get_secured", "update_secured", "truncate_secured"):
        assert inspect.iscoroutinefunction(getattr(SecuredCollectionWrapper, name))
