"""`transaction`: several writes, all or none."""

from __future__ import annotations

import pytest

from mallku_contracts.errors import (
    CollectionNotFound,
    DocumentNotFound,
    IdempotencyConflict,
    MallkuError,
    RevisionMismatch,
    UniqueViolation,
)
from mallku_workers.stores.base import Store
from tests.stores.asking import Asker
from tests.stores.calling import DATABASE, Caller, make_claim
from tests.stores.ruled import make_rules

INSERT = ("insert", "people", {"document": {"_key": "a", "n": 1}})
EDGE = {"_key": "e", "_from": "people/a", "_to": "people/b"}


@pytest.fixture
def ask(store: Store) -> Asker:
    """Transactions in the store."""
    return Asker(store)


async def test_steps_see_those_before_them(knows: Caller, ask: Asker) -> None:
    """Each answers what it would have answered alone, over several collections."""
    people = knows.on("people")
    done = await ask.transaction(
        INSERT,
        ("insert-many", "people", {"documents": [{"_key": "b"}, {"_key": "c"}]}),
        ("insert", "knows", {"document": EDGE, "return_new": True}),
        ("update", "people", {"document": {"_key": "a", "n": 2}, "return_old": True}),
        ("update-match", "people", {"filters": {"n": 2}, "body": {"m": 3}}),
        ("delete", "people", {"document": "c"}),
    )
    inserted, batch, edge, updated, matched, deleted = done.result
    assert [entry["_key"] for entry in batch] == ["b", "c"]
    assert edge["new"]["_to"] == "people/b"
    assert (updated["old"]["n"], updated["_old_rev"]) == (1, inserted["_rev"])
    assert (matched, deleted["_key"]) == (1, "c")
    assert await people.document("a") == {"n": 2, "m": 3}
    assert await people("count") == 2
    assert await knows("count") == 1


async def test_effects_come_in_the_order_of_the_steps(people: Caller, ask: Asker) -> None:
    """At one position, with every version between: what a rebuild needs."""
    done = await ask.transaction(
        INSERT,
        ("update", "people", {"document": {"_key": "a", "n": 2}}),
        ("delete", "people", {"document": "a"}),
    )
    assert [(e.key, e.new and e.new["n"]) for e in done.effects] == [
        ("a", 1),
        ("a", 2),
        ("a", None),
    ]
    assert done.effects[1].old_rev == done.effects[0].new_rev
    assert done.position is not None


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (("insert", "people", {"document": {"_key": "taken"}}), UniqueViolation),
        (("insert-many", "people", {"documents": [{}, {"_key": "taken"}]}), UniqueViolation),
        (("update", "people", {"document": {"_key": "nobody"}}), DocumentNotFound),
        (("delete-many", "people", {"documents": ["a", "nobody"]}), DocumentNotFound),
        (("replace", "people", {"document": {"_key": "taken", "_rev": "x"}}), RevisionMismatch),
        (("insert", "nowhere", {"document": {}}), CollectionNotFound),
    ],
)
async def test_one_failure_undoes_everything(
    people: Caller,
    ask: Asker,
    step: tuple[str, str, dict[str, object]],
    error: type[MallkuError],
) -> None:
    """Also of one document in a batch; the error says at which step, and no entry is left."""
    await people("insert", document={"_key": "taken"})
    claim = make_claim()
    with pytest.raises(error) as failed:
        await ask.transaction(INSERT, step, INSERT, claim=claim)
    assert failed.value.details["step"] == 1
    assert await people("count") == 1
    assert await people.store.recall(DATABASE, claim.key) is None


async def test_a_transaction_happens_once(people: Caller, ask: Asker) -> None:
    """A retry gets the first answer; another command with its key is a conflict."""
    claim = make_claim("k")
    done = await ask.transaction(INSERT, claim=claim)
    again = await ask.transaction(INSERT, claim=make_claim("k"))
    assert (again.result, again.replayed, tuple(again.effects)) == (done.result, claim.id, ())
    with pytest.raises(IdempotencyConflict):
        await ask.transaction(INSERT, claim=make_claim("k", fingerprint="other"))
    assert await people("count") == 1


async def test_each_step_is_held_to_its_own_rules(people: Caller, ask: Asker) -> None:
    """What hides a document from one step does not hide it from the next."""
    await people("insert-many", documents=[{"_key": "m", "o": "me"}, {"_key": "y", "o": "you"}])
    mine = make_rules({"o": "me"})
    change = {"filters": {}, "body": {"seen": True}}
    done = await ask.transaction(
        ("update-match", "people", change), ("update-match", "people", change), rules={0: mine}
    )
    assert done.result == [1, 2]
    with pytest.raises(MallkuError) as failed:
        await ask.transaction(
            ("update", "people", {"document": {"_key": "m", "n": 1}}),
            ("update", "people", {"document": {"_key": "y", "n": 1}}),
            rules={1: mine},
        )
    assert failed.value.details["step"] == 1
    assert await people("count", filters={"n": 1}) == 0


async def test_rules_of_a_transaction_do_not_outlive_it(people: Caller, ask: Asker) -> None:
    """The next work, in the same commit or the one behind, is held to its own alone."""
    await people("insert", document={"_key": "y", "o": "you"})
    mine = make_rules({"o": "me"})
    with pytest.raises(MallkuError):
        await ask.transaction(("delete", "people", {"document": "y"}), rules={0: mine})
    assert await people("exists", document="y") is True
    await people("delete", document="y")
