"""What callers do with results, on a real gateway: they store, change, gather and copy them."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from typing import Any

import pytest

from mallku_client.mallku import SecuredDatabaseInterface
from mallku_contracts.errors import InvalidArguments, InvalidQuery
from tests.client.mallku.mallku_like import fresh

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_result_is_stored_as_what_it_is(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """True stays true in documents and bind values, and what nobody awaited is waited for."""
    name = fresh("results")
    db.collection(name).insert({"_key": "a", "n": 1})
    for key, face in (("blocking", db), ("awaited", adb)):
        there, count = face.has_collection(name), face.collection(name).count()
        stored = {"_key": key, "there": there, "count": count, "of": face.collection(name).get("a")}
        await face.insert_document(name, stored)
        found = db.collection(name).get(key)
        assert (found["there"], found["of"]["n"]) == (True, 1)
        assert (type(found["there"]), type(found["count"])) == (bool, int)
        rows = list(db.aql.execute("RETURN [@there, @n]", {"there": there, "n": count}))
        assert rows == [[True, found["count"]]]
        assert type(rows[0][0]) is bool


async def test_a_document_nobody_awaited_may_be_changed_and_put_back(
    adb: SecuredDatabaseInterface,
) -> None:
    """As code has it that was written for calls that wait."""
    notes = adb.collection(fresh("changed"))
    await notes.insert({"_key": "a", "n": 1, "old": 1})
    document = notes.get("a")
    document["n"] = 2
    del document["old"]
    await notes.replace(document)
    assert (await notes.update(notes.get("a"), {"m": 3}))["_key"] == "a"
    found = await notes.get("a")
    assert (found["n"], found["m"], "old" in found) == (2, 3, False)
    assert (await notes.delete(notes.get("a")))["_key"] == "a"


async def test_a_call_nobody_awaited_reckons_as_its_value(adb: SecuredDatabaseInterface) -> None:
    """Arithmetic, joining, copies and pickles; copies are plain."""
    notes = adb.collection(fresh("reckoned"))
    await notes.insert({"_key": "a", "n": 1})
    await notes.insert({"_key": "b"})
    document, entries, count = notes.get("a"), notes.insert_many([{}, {}]), notes.count()
    assert ({"z": 1} | document)["n"] == (document | {"z": 1})["n"] == 1
    assert len([1] + entries) == len(entries + [1]) == 3  # noqa: RUF005 - the operator is the point
    total = int(count)
    assert (count * 2, 10 - count, 10 / count, count // 2, count % 2) == (
        *(total * 2, 10 - total, 10 / total),
        *(total // 2, total % 2),
    )
    assert (count >= total, count < total) == (True, False)
    for alike in (
        copy.copy(document),
        copy.deepcopy(document),
        pickle.loads(pickle.dumps(document)),  # noqa: S301 - our own
    ):
        assert (isinstance(alike, dict), alike["n"]) == (True, 1)


async def test_results_that_waited_may_be_gathered(db: SecuredDatabaseInterface) -> None:
    """`gather` and `as_completed` take them beside calls that are awaited."""
    notes = db.collection(fresh("gathered"))
    made = await asyncio.gather(*(notes.insert({"_key": str(n)}) for n in range(3)))
    assert [meta["_key"] for meta in made] == ["0", "1", "2"]
    several: list[Any] = [notes.get("0"), notes.get("0"), notes.insert_many([{}]), notes.count()]
    found = await asyncio.gather(*several)
    assert (found[0], len(found[2]), found[3]) == (found[1], 1, 4)
    assert [(await each)["_key"] for each in asyncio.as_completed([notes.get("0")])] == ["0"]


async def test_true_and_false_are_used_as_callers_do(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """Of a plain call: as condition, compared, awaited, by its type; awaited ones are bools."""
    name = fresh("there")
    for wanted in (False, True):
        answers: list[Any] = [db.has_collection(name), db.collection(name).exists()]
        for answer in answers:
            assert await answer is wanted
            assert isinstance(answer, bool)
            assert answer == wanted
            assert bool(answer) is wanted
            assert (not answer) is (not wanted)
            assert {True: "yes", False: "no"}[answer] == ("yes" if wanted else "no")
            assert (repr(answer), f"{answer}") == (str(wanted), str(wanted))
            assert (answer & True, answer | True, answer ^ True) == (wanted, True, not wanted)
            assert {type(answer & True), type(answer | True), type(answer ^ True)} == {bool}
            for alike in (copy.copy(answer), copy.deepcopy([answer])[0]):
                assert alike is wanted
            assert pickle.loads(pickle.dumps(answer)) is wanted  # noqa: S301 - our own
        assert await adb.has_collection(name) is wanted
        assert await adb.collection(name).exists() is wanted
        if await db.has_collection(name) if wanted else db.has_collection(name):
            assert wanted
        db.collection(name).insert({})


async def test_what_is_missing_is_none_with_either_face(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """Exactly None: of a plain call at once, of an awaited one when it was awaited."""
    name = fresh("missing")
    assert db.collection(name).get("nobody") is None
    assert await adb.collection(name).get("nobody") is None
    assert await (await db.get_collection(name)).get("nobody") is None
    assert await db.get_document(name, "nobody") is None
    assert await (await db.collection(name)).get("nobody") is None


async def test_a_query_nobody_looked_at_fails_aloud(
    adb: SecuredDatabaseInterface, caplog: pytest.LogCaptureFixture
) -> None:
    """Its failure is logged once nobody can look any more, and only then."""
    rows = adb.aql.execute("FOR d IN nowhere_at_all RETURN d")
    while not rows._begun.done():  # noqa: ASYNC110 - another loop's, which sets no event
        await asyncio.sleep(0)
    assert "nowhere_at_all" not in caplog.text
    del rows
    gc.collect()
    assert "nobody awaited has failed: there is no collection nowhere_at_all" in caplog.text
    with pytest.raises(InvalidQuery):
        await adb.aql.execute("NO QUERY")
    gc.collect()
    assert "NO QUERY" not in caplog.text


async def test_an_upsert_by_a_field_that_is_not_there_says_so(
    db: SecuredDatabaseInterface,
) -> None:
    """With a typed error; nothing is written."""
    name = fresh("upserted")
    with pytest.raises(InvalidArguments, match="voice"):
        await db.upsert_document(name, {"n": 1}, key_field="voice")
    assert name not in db.collections()


async def test_counting_by_filters(db: SecuredDatabaseInterface) -> None:
    """An open collection counts what equals them."""
    notes = db.collection(fresh("counted"))
    notes.insert_many([{"n": n % 2} for n in range(5)])
    assert (notes.count(), notes.count({"n": 0})) == (5, 3)
