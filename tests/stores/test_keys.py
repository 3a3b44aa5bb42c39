"""Keys, ids and revisions: what ArangoDB takes for one, what is made, and what it names."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import DocumentNotFound, InvalidArguments, InvalidKey
from tests.stores.calling import Caller


async def test_generated_keys_ascend_and_are_decimal(people: Caller) -> None:
    """A document without a key gets a number greater than those given before."""
    keys = [(await people("insert", document={}))["_key"] for _ in range(5)]
    assert keys == sorted(keys, key=int)
    assert len(set(keys)) == 5


async def test_a_generated_key_never_meets_one_that_a_caller_chose(people: Caller) -> None:
    """Keys of digits that callers took are passed over."""
    first = int((await people("insert", document={}))["_key"])
    taken = {str(number) for number in range(first + 300, first + 500)}
    await people("insert-many", documents=[{"_key": key, "mine": True} for key in taken])
    made = {(await people("insert", document={}))["_key"] for _ in range(200)}
    assert min(map(int, made)) < first + 300
    assert max(map(int, made)) > first + 500
    assert not made & taken
    assert await people("count", filters={"mine": True}) == len(taken)


async def test_revisions_never_come_twice(people: Caller) -> None:
    """Each write gives a revision in ArangoDB's spelling that no other write gave."""
    meta = await people("insert", document={"_key": "a"})
    revisions = [meta["_rev"]]
    for number in range(20):
        meta = await people("update", document={"_key": "a", "n": number})
        assert meta["_old_rev"] == revisions[-1]
        revisions.append(meta["_rev"])
    assert len(set(revisions)) == 21
    assert all(rev.startswith("_") and len(rev) == 11 for rev in revisions)


async def test_a_revision_in_an_insert_is_ignored(people: Caller) -> None:
    """`_rev` is the store's to give."""
    meta = await people("insert", document={"_key": "a", "_rev": "mine"}, return_new=True)
    assert meta["_rev"] != "mine"
    assert meta["new"]["_rev"] == meta["_rev"]


async def test_the_key_may_come_as_an_id(people: Caller) -> None:
    """An `_id` of this collection stands for the key, in inserts as in references."""
    await people("insert", document={"_id": "people/qori", "n": 1})
    assert await people.document("people/qori") == {"n": 1}
    await people("update", document={"_id": "people/qori", "n": 2})
    assert await people.document("qori") == {"n": 2}


@pytest.mark.parametrize(
    "reference", ["others/a", "/a", {"_id": "others/a"}, {"_id": 7}, {"name": "a"}, {"_key": 7}]
)
async def test_a_reference_names_a_document_of_this_collection(
    people: Caller, reference: Any
) -> None:
    """An id of another collection, or no key at all, is an invalid argument."""
    for operation in ("get", "exists", "delete"):
        with pytest.raises(InvalidArguments):
            await people(operation, document=reference)


@pytest.mark.parametrize(
    "key", ["", "has blank", "sl/ash", "ü", "a" * 255, "a\n", "\x00", 'a"b', None, 7, True, ["a"]]
)
async def test_keys_outside_the_grammar_are_refused(people: Caller, key: Any) -> None:
    """ArangoDB's error 1221, and nothing is stored."""
    with pytest.raises(InvalidKey) as refusal:
        await people("insert", document={"_key": key})
    assert refusal.value.error_code == 1221
    assert await people("count") == 0


@pytest.mark.parametrize("key", ["a", "A-Z_0:9.@()+,=;$!*'%", "a" * 254])
async def test_keys_of_the_whole_grammar_are_stored(people: Caller, key: str) -> None:
    """Every character that ArangoDB allows, and its greatest length."""
    await people("insert", document={"_key": key, "n": 1})
    assert await people.document(key) == {"n": 1}
    assert await people("delete", document=f"people/{key}")


@pytest.mark.parametrize("key", ["none", "", "has blank", "a" * 300, "\ud800"])
async def test_what_cannot_exist_is_missing(people: Caller, key: str) -> None:
    """Reading a key that no document can have is no error; changing it is `document_not_found`."""
    assert await people("get", document=key) is None
    assert await people("exists", document=key) is False
    assert await people("get-many", documents=[key]) == []
    with pytest.raises(DocumentNotFound) as refusal:
        await people("update", document={"_key": key, "n": 1})
    assert refusal.value.error_code == 1202
