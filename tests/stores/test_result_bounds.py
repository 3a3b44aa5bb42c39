"""What a mutation answers with has to fit a reply: refused before the commit, nothing done."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import ResultTooLarge
from mallku_contracts.limits import MAX_EFFECT_BYTES, MAX_RESULT_BYTES
from mallku_workers.stores import weighing
from mallku_workers.stores.base import Store
from tests.stores.asking import Asker
from tests.stores.calling import Caller
from tests.stores.ruled import everything

pytestmark = pytest.mark.timeout(180)

LARGE = 1_500_000
TEXT = "x" * LARGE
ENOUGH = MAX_RESULT_BYTES // LARGE + 1
"""So many large documents do not fit one result."""


@pytest.fixture
async def large(people: Caller) -> Caller:
    """A collection of large documents, more than one result may show."""
    for n in range(ENOUGH):
        await people("insert", document={"_key": f"k{n}", "text": TEXT, "n": n})
    return people


@pytest.fixture(params=[False, True], ids=["plain", "unique"])
async def indexed(large: Caller, request: pytest.FixtureRequest) -> Caller:
    """The same, without and with a unique index."""
    if request.param:
        await large("create-index", type="persistent", fields=["n"], unique=True)
    return large


async def is_refused(people: Caller, operation: str, **arguments: Any) -> None:
    """It asks for more than a result holds, and nothing of it is done."""
    before = await everything(people)
    with pytest.raises(ResultTooLarge, match="nothing was done"):
        await people(operation, **arguments)
    assert await everything(people) == before


KEYS = [f"k{n}" for n in range(ENOUGH)]
PATCHES = [{"_key": key, "more": 1} for key in KEYS]


async def test_a_batch_that_shows_too_much_is_refused_whole(indexed: Caller) -> None:
    """Old versions count as new ones do; without them, or for fewer, the same is done."""
    await is_refused(indexed, "delete-many", documents=KEYS, return_old=True)
    small = [{"_key": key, "text": "", "n": n} for n, key in enumerate(KEYS)]
    await is_refused(indexed, "replace-many", documents=small, return_old=True)
    fewer = await indexed("delete-many", documents=KEYS[1:], return_old=True)
    assert [one["old"]["text"] for one in fewer] == [TEXT] * (ENOUGH - 1)
    assert len(await everything(indexed)) == 1


async def test_one_document_with_both_versions_may_be_too_much(people: Caller) -> None:
    """Either of them is answered with, both are not; an upsert is no other way."""
    text = "x" * (MAX_EFFECT_BYTES - 1_000)
    await people("insert", document={"_key": "k", "text": text}, return_new=True)
    both = {"return_new": True, "return_old": True}
    patch = {"_key": "k", "n": 1}
    await is_refused(people, "update", document=patch, **both)
    await is_refused(people, "update", document={"_key": "k"}, **both)
    await is_refused(people, "replace", document={"_key": "k", "text": text, "n": 1}, **both)
    again = {"document": {"_key": "k", "n": 1}, "overwrite_mode": "update"}
    await is_refused(people, "insert", **again, **both)
    await is_refused(people, "upsert", filters={"_key": "k"}, insert={}, update={"n": 1}, **both)
    assert await people("update", document=patch, silent=True, **both) is True
    assert (await people("update", document=patch, return_old=True))["old"]["n"] == 1
    assert (await people("delete", document="k", return_old=True))["old"]["n"] == 1


async def test_a_transaction_that_shows_too_much_is_refused_whole(large: Caller) -> None:
    """Its steps count together, and the step that is too much is named."""
    ask = Asker(large.store)
    before = await everything(large)
    steps = [("delete", "people", {"document": key, "return_old": True}) for key in KEYS]
    with pytest.raises(ResultTooLarge, match="nothing was done") as refused:
        await ask.transaction(*steps)
    assert refused.value.details["step"] == ENOUGH - 1
    assert await everything(large) == before
    silent = [("delete", "people", {"document": key}) for key in KEYS[1:]]
    await ask.transaction(steps[0], *silent)
    assert await everything(large) == {}


async def test_what_no_reply_holds_is_not_done(
    people: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, revisions and errors of many documents count as well."""
    monkeypatch.setattr(weighing, "MAX_ANSWER_BYTES", 4_000)
    documents = [{"_key": f"k{n}"} for n in range(100)]
    await is_refused(people, "insert-many", documents=documents)
    await people("insert-many", documents=documents, silent=True)
    await is_refused(people, "insert-many", documents=documents)
    steps = [("delete", "people", {"document": f"k{n}"}) for n in range(100)]
    with pytest.raises(ResultTooLarge, match="nothing was done"):
        await Asker(people.store).transaction(*steps)
    assert await people("count") == 100


async def test_pages_are_counted_in_bytes(people: Caller, store: Store) -> None:
    """A character that takes four bytes counts for four: every page fits a reply."""
    for n in range(5):
        await people("insert", document={"_key": f"k{n}", "text": "😀" * 400_000})
    page = await people("find")
    assert len(page["documents"]) == 1
    done = await Asker(store).done("FOR d IN people SORT d._key RETURN d.text")
    assert len(done.result["result"]) == 1
    assert done.cursor is not None
    await done.cursor.close()
    with pytest.raises(ResultTooLarge):
        await people("get-many", documents=[f"k{n}" for n in range(3)])
