"""Batches: one result or one error for each document, and one bad document harms no other."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import ResultTooLarge
from mallku_contracts.limits import MAX_BATCH_DOCUMENTS
from tests.stores.calling import Caller, plain


def codes(results: list[Any]) -> list[str | None]:
    """The error code of each entry, None where it is a success."""
    return [entry["error"]["code"] if "error" in entry else None for entry in results]


async def test_each_new_document_has_its_own_outcome(people: Caller) -> None:
    """Taken, bad and double keys fail alone; the others are stored, in order."""
    await people("insert", document={"_key": "p1"})
    done = await people.done(
        "insert-many",
        documents=[{"_key": "p1"}, {"_key": "n1"}, {"_key": "b ad"}, {"_key": "n1"}, {"n": 1}],
    )
    assert codes(done.result) == [
        "unique_violation",
        None,
        "invalid_key",
        "unique_violation",
        None,
    ]
    assert done.result[0]["error"]["number"] == 412
    assert [effect.key for effect in done.effects] == ["n1", done.result[4]["_key"]]
    assert await people("count") == 3


async def test_each_change_has_its_own_outcome(people: Caller) -> None:
    """Missing documents and other revisions fail alone, for update, replace and delete."""
    await people("insert-many", documents=[{"_key": f"p{n}", "n": n} for n in range(4)])
    wrong = {"_key": "p3", "_rev": "_other", "n": 9}
    for operation in ("update-many", "replace-many", "delete-many"):
        done = await people.done(
            operation, documents=[{"_key": "p1", "x": 1}, {"_key": "none"}, wrong, {"n": 1}]
        )
        expected = [None, "document_not_found", "revision_mismatch", "invalid_arguments"]
        assert codes(done.result) == expected
        assert [effect.key for effect in done.effects] == ["p1"]
    assert await people("count") == 3
    assert await people.document("p3") == {"n": 3}


async def test_later_documents_of_a_batch_see_earlier_ones(people: Caller) -> None:
    """The same document twice is changed twice."""
    await people("insert", document={"_key": "a", "n": 0})
    first, second = await people(
        "update-many", documents=[{"_key": "a", "x": 1}, {"_key": "a", "y": 2}]
    )
    assert second["_old_rev"] == first["_rev"]
    assert await people.document("a") == {"n": 0, "x": 1, "y": 2}
    [_, gone] = await people("delete-many", documents=["a", "a"])
    assert gone["error"]["code"] == "document_not_found"


async def test_versions_and_silence_work_for_batches(people: Caller) -> None:
    """`return_new`, `return_old` and `silent` mean for each document what they mean for one."""
    [made] = await people("insert-many", documents=[{"_key": "a", "n": 1}], return_new=True)
    assert plain(made["new"]) == {"n": 1}
    [changed] = await people(
        "replace-many", documents=[{"_key": "a", "n": 2}], return_new=True, return_old=True
    )
    assert (plain(changed["new"]), plain(changed["old"])) == ({"n": 2}, {"n": 1})
    quiet = await people("insert-many", documents=[{"_key": "b"}, {"_key": "b"}], silent=True)
    assert quiet[0] is True
    assert quiet[1]["error"]["code"] == "unique_violation"
    [gone] = await people("delete-many", documents=["a"], return_old=True)
    assert plain(gone["old"]) == {"n": 2}


async def test_overwriting_works_for_batches(people: Caller) -> None:
    """The overwrite mode counts for each document."""
    await people("insert-many", documents=[{"_key": "a", "x": 1}])
    await people(
        "insert-many", documents=[{"_key": "a", "y": 2}, {"_key": "b"}], overwrite_mode="update"
    )
    assert await people.document("a") == {"x": 1, "y": 2}
    assert await people("count") == 2


async def test_documents_come_in_the_order_they_were_named(people: Caller) -> None:
    """Missing ones are left out; keys, ids and maps name documents alike."""
    await people("insert-many", documents=[{"_key": key} for key in "abc"])
    found = await people(
        "get-many", documents=["c", "none", "people/a", {"_key": "b"}, {"_id": "people/c"}]
    )
    assert [document["_key"] for document in found] == ["c", "a", "b", "c"]


async def test_the_largest_batch_is_stored_and_read(people: Caller) -> None:
    """Ten thousand documents in one commit, counted and read again."""
    documents = [{"_key": f"k{n:05d}", "n": n} for n in range(MAX_BATCH_DOCUMENTS)]
    results = await people("insert-many", documents=documents)
    assert codes(results) == [None] * MAX_BATCH_DOCUMENTS
    assert await people("count") == MAX_BATCH_DOCUMENTS
    keys = [document["_key"] for document in documents]
    found = await people("get-many", documents=keys)
    assert [document["n"] for document in found] == list(range(MAX_BATCH_DOCUMENTS))


async def test_more_than_a_result_holds_is_refused(people: Caller) -> None:
    """A result that no reply could carry is `result_too_large`, and says what to do."""
    text = "x" * 1_500_000
    for key in "abc":
        await people("insert", document={"_key": key, "text": text})
    with pytest.raises(ResultTooLarge):
        await people("get-many", documents=list("abc"))
    assert len(await people("get-many", documents=list("ab"))) == 2


async def test_an_empty_batch_is_done_at_once(people: Caller) -> None:
    """No documents, no results, no effects."""
    for operation in ("insert-many", "update-many", "replace-many", "delete-many", "get-many"):
        done = await people.done(operation, documents=[])
        assert (done.result, tuple(done.effects)) == ([], ())
