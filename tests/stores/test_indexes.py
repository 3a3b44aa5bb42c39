"""Indexes: unique as ArangoDB means it, the same request twice is no error."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import IndexNotFound, InvalidIndex, UniqueViolation
from tests.stores.calling import Caller


async def test_an_index_says_what_it_is(people: Caller) -> None:
    """Its id is `collection/number`, its name is made when none is given."""
    made = await people("create-index", fields=["name", "deep.age"])
    assert made["id"].startswith("people/")
    assert int(made["id"].removeprefix("people/")) > 0
    assert {name: made[name] for name in made if name not in ("id", "name")} == {
        "type": "persistent",
        "fields": ["name", "deep.age"],
        "unique": False,
        "sparse": False,
        "new": True,
    }


async def test_asking_for_the_same_index_again_is_no_error(people: Caller) -> None:
    """The one that exists is the answer, whatever the name."""
    made = await people("create-index", fields=["a"], unique=True, name="first")
    again = await people("create-index", fields=["a"], unique=True, name="second")
    assert again == {**made, "new": False}
    other = await people("create-index", fields=["a"], unique=True, sparse=True)
    assert other["id"] != made["id"]
    assert len(await people("list-indexes")) == 3


async def test_a_taken_name_for_another_index_is_refused(people: Caller) -> None:
    """One name, one definition."""
    await people("create-index", fields=["a"], name="mine")
    with pytest.raises(InvalidIndex):
        await people("create-index", fields=["b"], name="mine")


@pytest.mark.parametrize(
    "arguments",
    [
        {"fields": ["a", "a"]},
        {"fields": ["a..b"]},
        {"fields": [".a"]},
        {"fields": ["_id"]},
        {"fields": ["tags[*]"]},
        {"fields": ["a"], "name": "primary"},
        {"fields": ["a"], "name": "1st"},
        {"fields": ["a"], "name": 'x"; --'},
    ],
)
async def test_definitions_that_cannot_be_fulfilled_are_refused(
    people: Caller, arguments: dict[str, Any]
) -> None:
    """ArangoDB's error 10."""
    with pytest.raises(InvalidIndex) as refusal:
        await people("create-index", **arguments)
    assert refusal.value.error_code == 10


async def test_the_list_begins_with_what_a_collection_always_has(knows: Caller) -> None:
    """The primary index is number 0; edges have theirs over `_from` and `_to`."""
    made = await knows("create-index", fields=["w"])
    primary, edge, own = await knows("list-indexes")
    assert (primary["id"], primary["type"], primary["fields"]) == ("knows/0", "primary", ["_key"])
    assert (primary["unique"], edge["unique"]) == (True, False)
    assert (edge["type"], edge["fields"]) == ("edge", ["_from", "_to"])
    assert own == {name: value for name, value in made.items() if name != "new"}


@pytest.mark.parametrize("build_first", [True, False])
async def test_a_unique_index_takes_a_missing_attribute_for_null(
    people: Caller, build_first: bool
) -> None:
    """A second document without it is refused; a sparse index leaves such documents out."""
    if build_first:
        await people("create-index", fields=["email"], unique=True)
    await people("insert", document={"_key": "a"})
    if not build_first:
        await people("create-index", fields=["email"], unique=True)
    for document in ({}, {"email": None}):
        with pytest.raises(UniqueViolation) as refusal:
            await people("insert", document=document)
        assert refusal.value.error_code == 1210
        assert refusal.value.details["fields"] == ["email"]
    assert await people("count") == 1


async def test_a_sparse_unique_index_takes_any_number_without_value(people: Caller) -> None:
    """What is missing or null is not in a sparse index, and a value still comes once."""
    await people("create-index", fields=["email", "n"], unique=True, sparse=True)
    for document in ({}, {}, {"email": None}, {"email": "x"}, {"email": "x"}):
        await people("insert", document=document)
    await people("insert", document={"email": "x", "n": 1})
    with pytest.raises(UniqueViolation):
        await people("insert", document={"email": "x", "n": 1.0})
    assert await people("count", filters={"email": "x"}) == 3
    assert await people("count", filters={"email": None, "n": None}) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (1, "1", False),
        (0.1, 0.1, True),
        (0.1, 0.1 + 2**-55, False),
        (2**63 - 1, 2.0**63, False),
        ([1], [1, None], True),
        ([1], "[1]", False),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True),
        ("a\x00b", "a\x00c", False),
        ("a", "a\x00", False),
    ],
)
async def test_unique_values_differ_as_arangodb_compares_them(
    people: Caller, one: Any, other: Any, same: bool
) -> None:
    """Equal values collide whatever they look like, different ones never do."""
    await people("create-index", fields=["v"], unique=True)
    await people("insert", document={"v": one})
    if same:
        with pytest.raises(UniqueViolation):
            await people("insert", document={"v": other})
    else:
        await people("insert", document={"v": other})


async def test_every_way_to_write_meets_the_unique_index(people: Caller) -> None:
    """Update, replace, overwriting, batches, matches and upserts; the refused leave no trace."""
    await people("create-index", fields=["n"], unique=True)
    await people("insert-many", documents=[{"_key": str(n), "n": n, "g": 1} for n in range(3)])
    for operation, arguments in (
        ("update", {"document": {"_key": "0", "n": 1}}),
        ("replace", {"document": {"_key": "0", "n": 1}}),
        ("insert", {"document": {"_key": "0", "n": 1}, "overwrite": True}),
        ("update-match", {"filters": {"g": 1}, "body": {"n": 7}}),
        ("replace-match", {"filters": {"g": 1}, "body": {"n": 7}}),
        ("upsert", {"filters": {"g": 1}, "insert": {}, "update": {"n": 2}}),
    ):
        with pytest.raises(UniqueViolation):
            await people(operation, **arguments)
    results = await people(
        "update-many",
        documents=[{"_key": "0", "n": 10}, {"_key": "1", "n": 10}, {"_key": "2", "n": 0}],
    )
    assert ["error" in entry for entry in results] == [False, True, False]
    found = (await people("find"))["documents"]
    assert {doc["_key"]: doc["n"] for doc in found} == {"0": 10, "1": 1, "2": 0}


async def test_a_freed_value_can_be_taken(people: Caller) -> None:
    """Deleting, changing and truncating give unique values back."""
    await people("create-index", fields=["n"], unique=True)
    await people("insert", document={"_key": "a", "n": 1})
    await people("update", document={"_key": "a", "n": 2})
    await people("insert", document={"_key": "b", "n": 1})
    await people("delete", document="b")
    await people("insert", document={"_key": "c", "n": 1})
    await people("truncate")
    await people("insert", document={"_key": "d", "n": 1})


async def test_a_unique_index_over_equal_documents_is_not_made(people: Caller) -> None:
    """The violation is told, and no half of the index stays."""
    await people("insert-many", documents=[{"n": 1}, {"n": 1.0}])
    with pytest.raises(UniqueViolation):
        await people("create-index", fields=["n"], unique=True)
    assert len(await people("list-indexes")) == 1
    await people("insert", document={"n": 1})
    assert (await people("create-index", fields=["n"]))["new"] is True
    assert await people("count", filters={"n": 1}) == 3


async def test_an_index_is_dropped_by_id_or_name(people: Caller) -> None:
    """Afterwards its uniqueness is gone; filters find the same as before."""
    by_id = await people("create-index", fields=["a"], unique=True)
    await people("create-index", fields=["b"], name="mine")
    await people("insert", document={"a": 1, "b": 1})
    assert await people("drop-index", index=by_id["id"]) is True
    assert await people("drop-index", index="mine") is True
    await people("insert", document={"a": 1, "b": 1})
    assert await people("count", filters={"a": 1, "b": 1}) == 2
    assert len(await people("list-indexes")) == 1


async def test_a_missing_index_is_not_found(people: Caller) -> None:
    """ArangoDB's error 1212, unless it may be ignored."""
    for name in ("people/999999", "nobody", "others/1"):
        with pytest.raises(IndexNotFound) as refusal:
            await people("drop-index", index=name)
        assert refusal.value.error_code == 1212
        assert await people("drop-index", index=name, ignore_missing=True) is False


@pytest.mark.parametrize("name", ["knows/0", "primary", "edge", "knows/1"])
async def test_a_collections_own_indexes_stay(knows: Caller, name: str) -> None:
    """The primary and the edge index cannot be dropped."""
    with pytest.raises(InvalidIndex):
        await knows("drop-index", index=name)
    assert len(await knows("list-indexes")) == 2
