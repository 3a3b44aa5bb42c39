"""Dry runs: what a write would touch, and nothing touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    DocumentNotFound,
    RevisionMismatch,
    UniqueViolation,
)
from mallku_workers.stores.base import Store
from mallku_workers.stores.dry_run import MAX_DRY_RUN_DOCUMENTS
from tests.stores.calling import DATABASE, Caller, make_claim, make_work, now_ms

WRITES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "update": ({"document": {"_key": "p1", "n": 9}}, ["p1"]),
    "replace": ({"document": {"_key": "p2", "m": 1}}, ["p2"]),
    "delete": ({"document": "p3"}, ["p3"]),
    "update-many": ({"documents": [{"_key": "p1", "n": 9}, {"_key": "no"}]}, ["p1"]),
    "replace-many": ({"documents": [{"_key": "p2"}, {"_key": "p0"}]}, ["p2", "p0"]),
    "delete-many": ({"documents": ["p3", "no", "p1"]}, ["p3", "p1"]),
    "update-match": ({"filters": {"even": True}, "body": {"n": 9}}, ["p0", "p2", "p4"]),
    "replace-match": ({"filters": {"even": False}, "body": {"n": 9}}, ["p1", "p3"]),
    "delete-match": ({"filters": {"even": True}, "limit": 2}, ["p0", "p2"]),
}


async def _everything(people: Caller) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = (await people("find"))["documents"]
    return documents


async def _fill(people: Caller) -> None:
    await people(
        "insert-many",
        documents=[{"_key": f"p{n}", "n": n, "even": n % 2 == 0} for n in range(5)],
    )


@pytest.mark.parametrize("operation", WRITES)
async def test_a_dry_run_names_what_the_write_then_touches(people: Caller, operation: str) -> None:
    """The documents, in their present revisions; before the write itself nothing has changed."""
    await _fill(people)
    before = await _everything(people)
    arguments, keys = WRITES[operation]
    done = await people.done(operation, **arguments, dry_run=True)
    revisions = {document["_key"]: document["_rev"] for document in before}
    assert done.result["dry_run"] is True
    assert done.result["count"] == len(keys)
    assert not done.result["more"]
    assert done.result["documents"] == [
        {"_id": f"people/{key}", "_key": key, "_rev": revisions[key]} for key in keys
    ]
    assert (done.effects, done.position, done.replayed) == ((), None, None)
    assert await _everything(people) == before
    assert [effect.key for effect in (await people.done(operation, **arguments)).effects] == keys


async def test_a_dry_run_of_a_batch_says_which_would_fail(people: Caller) -> None:
    """By their places, with the errors that the batch would answer."""
    await _fill(people)
    result = await people("delete-many", documents=["p3", "no", "p1"], dry_run=True)
    [failed] = result["errors"]
    assert (failed["place"], failed["error"]["code"]) == (1, "document_not_found")


async def test_a_dry_run_fails_as_the_write_would(people: Caller) -> None:
    """A missing document, another revision, a value that another document has."""
    await _fill(people)
    await people("create-index", fields=["n"], unique=True)
    for operation, document, error in (
        ("delete", {"_key": "no"}, DocumentNotFound),
        ("replace", {"_key": "p1", "_rev": "_other"}, RevisionMismatch),
        ("update", {"_key": "p1", "n": 2}, UniqueViolation),
    ):
        with pytest.raises(error):
            await people(operation, document=document, dry_run=True)
    before = await _everything(people)
    with pytest.raises(UniqueViolation):
        await people("update-match", filters={}, body={"n": 7}, dry_run=True)
    assert await _everything(people) == before
    assert (await people("update", document={"_key": "p1", "n": 8}, dry_run=True))["count"] == 1
    assert await people("update", document={"_key": "p2", "n": 8})


async def test_a_dry_run_leaves_nothing_in_the_ledger(store: Store, people: Caller) -> None:
    """The key is free for the write itself, and an earlier entry does not answer."""
    await _fill(people)
    claim = make_claim("key")
    arguments = {"document": "p1"}
    for _ in range(2):
        tried = make_work("delete", "people", {**arguments, "dry_run": True}, claim=claim)
        assert (await store.execute(tried)).result["count"] == 1
    assert await store.recall(DATABASE, claim.key) is None
    done = await store.execute(make_work("delete", "people", arguments, claim=claim))
    assert done.replayed is None


async def test_dry_runs_among_other_writes_disturb_none(people: Caller) -> None:
    """Everything at once: what is written stands, what was tried does not."""
    await _fill(people)
    await asyncio.gather(
        *(people("insert", document={"_key": f"n{n}"}) for n in range(20)),
        *(people("delete-match", filters={"even": True}, dry_run=True) for _ in range(5)),
        *(people("update", document={"_key": "p1", "x": 1}, dry_run=True) for _ in range(5)),
    )
    assert await people("count") == 25
    assert await people.document("p1") == {"n": 1, "even": False}


async def test_a_late_dry_run_is_not_begun(store: Store, people: Caller) -> None:
    """The caller's time holds for trying as well."""
    await _fill(people)
    late = make_work(
        "delete", "people", {"document": "p1", "dry_run": True}, deadline_ms=now_ms() - 1
    )
    with pytest.raises(DeadlineExceeded):
        await store.execute(late)


async def test_a_dry_run_names_so_many_and_counts_the_rest(people: Caller) -> None:
    """The answer is bounded, the count is not."""
    count = MAX_DRY_RUN_DOCUMENTS + 5
    await people("insert-many", documents=[{"_key": f"{n:05}"} for n in range(count)])
    result = await people("delete-match", filters={}, dry_run=True)
    assert (result["count"], len(result["documents"])) == (count, MAX_DRY_RUN_DOCUMENTS)
    assert result["more"] is True
    assert await people("count") == count
