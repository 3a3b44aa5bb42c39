"""Collections: made, described, emptied and removed, each with ArangoDB's error where it fails."""

from __future__ import annotations

import pytest

from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    InvalidArguments,
    ReservedName,
)
from mallku_workers.stores.base import Store
from tests.stores.calling import Caller


async def test_a_new_collection_says_what_it_is(store: Store) -> None:
    """Documents by default, edges on request."""
    people, knows = Caller(store, "people"), Caller(store, "knows")
    assert await people("create-collection") == {"name": "people", "type": "document"}
    assert await knows("create-collection", edge=True) == {"name": "knows", "type": "edge"}
    assert await people("list-collections") == [
        {"name": "knows", "type": "edge"},
        {"name": "people", "type": "document"},
    ]


async def test_a_taken_name_is_refused(people: Caller) -> None:
    """ArangoDB's error 1207; the collection stays as it was."""
    await people("insert", document={})
    with pytest.raises(CollectionExists) as refusal:
        await people("create-collection")
    assert refusal.value.error_code == 1207
    assert await people("count") == 1


@pytest.mark.parametrize("name", ["1bad", "bad name", "-bad", "", "ü", "a" * 65, 'x"; --'])
async def test_names_that_arangodb_refuses_are_refused(store: Store, name: str) -> None:
    """They begin with a letter and hold letters, digits, `_` and `-`."""
    with pytest.raises(InvalidArguments):
        await Caller(store, name)("create-collection")


@pytest.mark.parametrize("name", ["_system", "mallku_ledger", "mallku_own"])
async def test_the_gateways_own_names_are_refused(store: Store, name: str) -> None:
    """Nobody makes, reads or removes what belongs to the gateway."""
    with pytest.raises(ReservedName):
        await Caller(store, name)("create-collection")
    for operation in ("drop-collection", "count", "truncate"):
        with pytest.raises(CollectionNotFound):
            await Caller(store, name)(operation)


async def test_a_description_counts_documents_and_indexes(knows: Caller) -> None:
    """The primary index counts, the edge index too."""
    await knows("insert", document={"_from": "people/a", "_to": "people/b"})
    await knows("create-index", fields=["w"])
    assert await knows("describe-collection") == {
        "name": "knows",
        "type": "edge",
        "count": 1,
        "indexes": 3,
    }
    assert (await knows.on("people")("describe-collection"))["indexes"] == 1
    with pytest.raises(CollectionNotFound):
        await knows.on("nobody")("describe-collection")


async def test_the_count_follows_every_kind_of_write(people: Caller) -> None:
    """Inserts, overwrites, failed batches, deletes and matches leave a true count."""
    await people("insert-many", documents=[{"_key": str(n)} for n in range(10)])
    await people("insert-many", documents=[{"_key": "1"}, {"_key": "11"}])
    await people("insert", document={"_key": "2"}, overwrite=True)
    await people("delete-many", documents=["3", "3", "none"])
    await people("upsert", filters={"x": 1}, insert={"x": 1}, update={})
    await people("delete-match", filters={"x": 1})
    assert await people("count") == 10
    assert await people("count") == len((await people("find"))["documents"])


async def test_truncating_empties_and_says_how_much(people: Caller) -> None:
    """Documents go, the collection and its indexes stay."""
    await people("create-index", fields=["n"], unique=True)
    await people("insert-many", documents=[{"_key": str(n), "n": n} for n in range(3)])
    assert await people("truncate") == 3
    assert await people("count") == 0
    assert (await people("find"))["documents"] == []
    assert len(await people("list-indexes")) == 2
    await people("insert", document={"_key": "0", "n": 0})
    assert await people("truncate") == 1


async def test_a_removed_collection_is_gone_with_everything(people: Caller) -> None:
    """A later collection of the same name begins empty, of its own kind, without old indexes."""
    await people("create-index", fields=["n"], unique=True)
    await people("insert", document={"_key": "a", "n": 1})
    assert await people("drop-collection") is True
    with pytest.raises(CollectionNotFound):
        await people("get", document="a")
    await people("create-collection", edge=True)
    assert await people("get", document="a") is None
    assert (await people("describe-collection"))["type"] == "edge"
    assert [index["type"] for index in await people("list-indexes")] == ["primary", "edge"]


async def test_a_missing_collection_may_be_ignored(people: Caller) -> None:
    """`ignore_missing` answers False, else it is `collection_not_found`."""
    nobody = people.on("nobody")
    assert await nobody("drop-collection", ignore_missing=True) is False
    with pytest.raises(CollectionNotFound) as refusal:
        await nobody("drop-collection")
    assert refusal.value.error_code == 1203
