"""Documents, rows and helpers on a real gateway, with both faces and across them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_client.mallku import (
    SecuredDatabaseInterface,
)
from mallku_contracts.errors import (
    CollectionNotFound,
    DocumentNotFound,
    InvalidKey,
    UniqueViolation,
)
from tests.client.mallku.mallku_like import fresh

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_documents_without_await(db: SecuredDatabaseInterface) -> None:
    """One after the other, while the caller's own loop is running."""
    notes = db.collection(fresh("notes"))
    meta = notes.insert({"_key": "a", "n": 1, "deep": {"x": 1}})
    assert meta["_key"] == "a"
    assert notes.get("a") == {**meta, "n": 1, "deep": {"x": 1}}
    assert notes.get("nobody") is None
    assert notes.has("a")
    assert not notes.has("nobody")
    notes.update({"_key": "a", "deep": {"y": 2}})
    notes.update({"_key": "a"}, {"m": 2})
    assert notes.get("a")["deep"] == {"x": 1, "y": 2}
    assert (notes.get("a")["n"], notes.get("a")["m"]) == (1, 2)
    notes.replace({"_key": "a", "n": 5})
    assert set(notes.get("a")) == {"_id", "_key", "_rev", "n"}
    assert notes.get({"_key": "a"}) == notes.get(f"{notes.name}/a") == notes.get("a")
    with pytest.raises(InvalidKey):
        notes.get("another_collection/a")
    notes.delete("a")
    assert notes.get("a") is None
    with pytest.raises(DocumentNotFound):
        notes.delete("a")
    with pytest.raises(DocumentNotFound):
        notes.update({"_key": "a", "n": 1})
    entries = notes.insert_many([{"_key": str(n), "n": n} for n in range(5)])
    assert [entry["_key"] for entry in entries] == list("01234")
    assert notes.count() == 5
    assert [found["n"] for found in notes.find({"n": 3})] == [3]
    assert len(notes.find({}, limit=2)) == 2
    assert [found["_key"] for found in notes.all(limit=3)] == ["0", "1", "2"]
    index = notes.add_persistent_index(fields=["n"], unique=True)
    assert index["fields"] == ["n"]
    with pytest.raises(UniqueViolation):
        notes.insert({"n": 3})
    assert notes.truncate() == 5
    assert notes.name == notes._policy.collection_name == notes._collection.name


async def test_the_same_names_awaited(adb: SecuredDatabaseInterface) -> None:
    """The same, by await; several at a time."""
    notes = adb.collection(fresh("awaited"))
    meta = await notes.insert({"_key": "a", "n": 1})
    assert await notes.get("a") == {**meta, "n": 1}
    assert await notes.get("nobody") is None
    await asyncio.gather(*(notes.insert({"_key": str(n), "n": n}) for n in range(20)))
    found = await asyncio.gather(*(notes.get(str(n)) for n in range(20)))
    assert [document["n"] for document in found] == list(range(20))
    assert await notes.count() == 21
    assert await asyncio.wait_for(notes.has("a"), 5) is True
    task = asyncio.create_task(notes.get("a"))
    assert (await task)["n"] == 1
    assert [row["_key"] async for row in notes.all(limit=2)] == ["0", "1"]
    assert [row["n"] for row in await notes.find({"n": 7})] == [7]
    await notes.delete("a")
    assert await adb.has_collection(notes.name) is True
    assert await adb.delete_collection(notes.name) is True


async def test_either_face_may_be_used_the_other_way(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """What is called both ways in Mallku works both ways, however it was obtained."""
    name = fresh("both")
    assert (await db.collection(name).insert({"_key": "a", "n": 1}))["_key"] == "a"
    assert (await db.collection(name).get("a"))["n"] == 1
    assert (await db.collection(name).update({"_key": "a", "n": 2}))["_key"] == "a"
    assert await db.has_collection(name) is True
    assert await db.collection(name).count() == 1
    assert [row async for row in await db.aql.execute(f"FOR d IN {name} RETURN d.n")] == [2]
    assert (await db.create_collection(fresh("both"))).count() == 0

    awaited = adb.collection(name)
    assert awaited.insert({"_key": "b", "n": 3})["_key"] == "b"
    assert awaited.get("b")["n"] == 3
    assert awaited.get("b").get("n") == 3
    assert awaited.update({"_key": "b", "n": 4})["_key"] == "b"
    assert adb.has_collection(name)
    assert not adb.has_collection(fresh("never"))
    assert awaited.count() == 2
    assert f"{awaited.count()}" == "2"
    assert awaited.count() > 1
    assert list(adb.aql.execute(f"FOR d IN {name} SORT d.n RETURN d.n")) == [2, 4]
    assert "b" in awaited.get("b")["_id"]


async def test_a_call_nobody_awaits_is_carried_out(adb: SecuredDatabaseInterface) -> None:
    """Fire and forget loses nothing."""
    notes = adb.collection(fresh("forgotten"))
    await notes.insert({"_key": "0"})
    notes.insert({"_key": "forgotten"})
    found = [row["_key"] async for row in notes.all()]
    while "forgotten" not in found:  # it is on its way
        found = [row["_key"] async for row in notes.all()]
    assert found == ["0", "forgotten"]


async def test_a_failure_nobody_awaits_is_logged(
    adb: SecuredDatabaseInterface, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not raised anywhere, and not silent either."""
    notes = adb.collection(fresh("forgotten"))
    pending = notes.delete("nobody")
    while not pending._future.done():  # noqa: ASYNC110 - another loop's, which sets no event
        await asyncio.sleep(0)
    del pending
    assert "nobody awaited has failed" in caplog.text


async def test_collections_are_text_and_map(db: SecuredDatabaseInterface) -> None:
    """Old code takes the items for text, other code for maps."""
    name = fresh("listed")
    created = db.create_collection(name, edge=True)
    assert created.name == name
    assert db.create_collection(name).name == name  # there already: no error
    found = next(item for item in db.collections() if item == name)
    assert (found["name"], found["type"], found.name, str(found)) == (name, "edge", name, name)
    assert name in db.collections()
    assert name in await db.list_collections()
    assert db.delete_collection(name)
    assert name not in db.collections()
    with pytest.raises(CollectionNotFound):
        db.delete_collection(name)


async def test_rows_of_a_query(db: SecuredDatabaseInterface) -> None:
    """Fresh plain dicts, in every way of taking them."""
    name = fresh("rows")
    db.collection(name).insert_many([{"_key": str(n), "n": n} for n in range(5)])
    text = "FOR d IN @@c FILTER d.n >= @n SORT d.n RETURN d"
    binds: dict[str, Any] = {"@c": name, "n": 2}
    rows = list(db.aql.execute(text, bind_vars=binds))
    assert [row["n"] for row in rows] == [2, 3, 4]
    assert all(type(row) is dict for row in rows)
    rows[0]["n"] = "mine"
    again = db.aql.execute(text, bind_vars=binds)
    assert [row["n"] for row in again] == [2, 3, 4]
    assert [row["n"] for row in again] == [2, 3, 4]  # a second look
    assert (len(again), again[0]["n"], bool(again), again.count()) == (3, 2, True, 3)
    assert [row["n"] async for row in db.aql.execute(text, bind_vars=binds)] == [2, 3, 4]
    first: Any = next(db.aql.execute(text, bind_vars=binds))
    assert first["n"] == 2
    assert not db.aql.execute("FOR d IN @@c FILTER d.n > 9 RETURN d", bind_vars={"@c": name})
    assert await db.aql_query(text, bind_vars=binds) == again.all()


async def test_the_helpers_that_callers_assume(db: SecuredDatabaseInterface) -> None:
    """Each does what its name says."""
    name = fresh("helped")
    assert await db.get_document(name, "a") is None
    assert await db.query(name, {"n": 1}) == []
    assert (await db.insert_document(name, {"_key": "a", "n": 1, "at": {"x": 1}}))["_key"] == "a"
    await db.upsert_document(name, {"_key": "a", "m": 2})
    await db.upsert_document(name, {"_key": "b", "n": 7})
    found = await db.get_document(name, "a")
    assert found is not None
    assert (found["n"], found["m"]) == (1, 2)
    await db.upsert_document(name, {"n": 7, "said": "by n"}, key_field="n")
    assert (await db.get_document(name, "b") or {})["said"] == "by n"
    results = await db.batch_insert(name, [{"_key": "c"}, {"_key": "a"}])
    assert results[0]["_key"] == "c"
    assert isinstance(results[1], UniqueViolation)
    assert [row["_key"] for row in await db.query(name, {"n": 7})] == ["b"]
    assert [row["_key"] for row in await db.query_documents(name, {"at.x": 1})] == ["a"]
    assert len(await db.query(name, {}, limit=2)) == 2
    collection = await db.get_collection(name)
    assert await collection.count() == 3
    assert await (await db.ensure_collection(name)).count() == 3
    assert await (await db.ensure_collection(fresh("ensured"))).exists() is True
    rows = await db.execute_secured_query(
        "FOR d IN @@c SORT d._key RETURN d._key", bind_vars={"@c": name}, collection_name="a lie"
    )
    assert rows == ["a", "b", "c"]


async def test_many_rows_come_in_pages(db: SecuredDatabaseInterface) -> None:
    """Each once and in order, however they are taken; a second look at what is gone is refused."""
    notes = db.collection(fresh("pages"))
    keys = [f"{number:04}" for number in range(2_300)]
    for part in range(0, len(keys), 500):
        notes.insert_many([{"_key": key} for key in keys[part : part + 500]])
    rows = notes.all()
    assert [row["_key"] for row in rows] == keys
    for again in (lambda: next(iter(rows)), lambda: len(rows), lambda: rows[0]):
        with pytest.raises(RuntimeError, match="keep them with list"):
            again()
    assert [row["_key"] async for row in notes.all()] == keys
    kept = notes.all()
    assert len(kept) == len(keys)
    assert [row["_key"] for row in kept] == [row["_key"] for row in kept] == keys
    assert (kept[-1]["_key"], {"_key": "x"} in kept) == (keys[-1], False)
    text = f"FOR d IN {notes.name} SORT d._key RETURN d._key"
    assert list(db.aql.execute(text)) == keys
    with db.aql.execute(text) as some:
        assert [next(some), next(some)] == keys[:2]
    assert await (await db).collection(notes.name).all() == notes.all()
