"""Never executed: what mypy and pyright say of the client's public types is the test."""

from __future__ import annotations

from typing import Any, assert_type

from mallku_client import (
    Answer,
    Collection,
    Cursor,
    QueryCursor,
    SecuredDatabaseInterface,
    Transaction,
    TransactionJob,
    sync,
)
from mallku_client.exceptions import MallkuError
from mallku_contracts.results import (
    CollectionDescription,
    CollectionInfo,
    DocumentMeta,
    GraphInfo,
    IndexInfo,
    OutcomeResult,
    PlannedAccess,
    UpsertResult,
)


async def awaited() -> None:
    """Everything that is awaited."""
    async with await SecuredDatabaseInterface.connect("nats://h:4222", principal="p") as db:
        assert_type(db, SecuredDatabaseInterface)
        anchors = await db.create_collection("anchors", edge=True, timeout=2.0)
        assert_type(anchors, Collection)
        assert_type(await anchors.insert({"a": 1}), DocumentMeta | bool)
        assert_type(await anchors.get("a", timeout=1.0), dict[str, Any] | None)
        assert_type(await anchors.has("a"), bool)
        assert_type(await anchors.get_many(["a", {"_key": "b"}]), list[dict[str, Any]])
        assert_type(await anchors.insert_many([{}]), list[DocumentMeta | MallkuError | bool])
        assert_type(await anchors.upsert({"a": 1}, {}, update={}), UpsertResult)
        assert_type(anchors.find({}, sort=[{"sort_by": "a"}]), Cursor)
        assert_type(await anchors.find({}), Cursor)
        assert_type([row async for row in anchors.all(limit=3)], list[dict[str, Any]])
        assert_type(await anchors.count(), int)
        assert_type(await anchors.add_persistent_index(["a"], unique=True), IndexInfo)
        assert_type(await anchors.describe(), CollectionDescription)
        assert_type(await db.collections(), list[CollectionInfo])
        assert_type(await db.outcome("key"), OutcomeResult)
        assert_type(await db.command("get", "anchors", {"document": "a"}), Answer)
        cursor = await db.aql.execute("RETURN 1", count=True, bind_vars={"a": 1}, timeout=1.0)
        assert_type(cursor, QueryCursor)
        assert_type([row async for row in cursor], list[Any])
        assert_type((cursor.count(), await cursor.close()), tuple[int | None, bool])
        assert_type(await db.aql.explain("RETURN 1"), list[PlannedAccess])
        async with db.transaction(idempotency_key="k") as tx:
            assert_type(tx, Transaction)
            job = tx.collection("anchors").insert({"a": 1})
            assert_type(job, TransactionJob[DocumentMeta | bool])
            assert_type(tx.collection("anchors").delete_match({}), TransactionJob[int])
        assert_type(job.result(), DocumentMeta | bool)
        assert_type(await db.create_graph("g"), GraphInfo)
        assert_type(await db.has_graph("g"), bool)


def blocking() -> None:
    """The same, without `await`, with the same types."""
    with sync.SecuredDatabaseInterface.connect("nats://h:4222", principal="p") as db:
        assert_type(db, sync.SecuredDatabaseInterface)
        anchors = db.create_collection("anchors", edge=True, timeout=2.0)
        assert_type(anchors, sync.Collection)
        assert_type(anchors.insert({"a": 1}, return_new=True), DocumentMeta | bool)
        assert_type(anchors.get("a", timeout=1.0), dict[str, Any] | None)
        assert_type(anchors.insert_many([{}]), list[DocumentMeta | MallkuError | bool])
        assert_type(anchors.find({"a": 1}, limit=3), sync.Cursor)
        assert_type(list(anchors.all()), list[dict[str, Any]])
        assert_type(anchors.count(), int)
        assert_type(db.outcome(id="x"), OutcomeResult)
        assert_type(db.command("get", "anchors", {"document": "a"}), Answer)
        cursor = db.aql.execute("RETURN 1", bind_vars={"a": 1})
        assert_type(cursor, sync.QueryCursor)
        assert_type(cursor.all(), list[Any])
        assert_type(db.aql.explain("RETURN 1"), list[PlannedAccess])
        with db.transaction() as tx:
            assert_type(tx, sync.Transaction)
            job = tx.collection("anchors").insert({"a": 1})
        assert_type(job.result(), DocumentMeta | bool)
        assert_type(db.graphs(), list[GraphInfo])


async def refused(db: SecuredDatabaseInterface, blocking: sync.SecuredDatabaseInterface) -> None:
    """What a type checker has to find; an unused `ignore` would be an error."""
    await db.collection("a").insert("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await db.collection("a").get("a", time_out=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.collection("a").get("a", timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    blocking.collection("a").insert()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def numbers(error: MallkuError) -> None:
    """python-arango's attributes."""
    assert_type(error.error_code, int | None)
    assert_type(error.http_code, int)
