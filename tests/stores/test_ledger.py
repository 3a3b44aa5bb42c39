"""Once: a mutation under a claimed key happens at most once, and its answer can be had again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.errors import CollectionExists, IdempotencyConflict, UniqueViolation
from mallku_workers.stores.base import Done, LedgerClaim, touched_by
from tests.stores.calling import DATABASE, Caller, make_claim, make_work, now_ms


async def send(
    people: Caller, claim: LedgerClaim, operation: str = "insert", **arguments: Any
) -> Done:
    """Carry out a mutation under `claim`; an insert of any document when nothing is said."""
    values = arguments or {"document": {"n": 1}}
    return await people.store.execute(make_work(operation, "people", values, claim=claim))


async def test_the_second_attempt_gets_the_first_answer(people: Caller) -> None:
    """Same key, same fingerprint: the stored answer, no effect, and who committed."""
    first, retry = make_claim("k"), make_claim("k")
    done = await send(people, first)
    again = await send(people, retry)
    assert (again.result, again.replayed) == (done.result, first.id)
    assert (tuple(again.effects), again.position) == ((), None)
    assert await people("count") == 1


async def test_a_key_for_another_command_is_a_conflict(people: Caller) -> None:
    """Same key, other fingerprint: refused, nothing is done."""
    await send(people, make_claim("k"))
    with pytest.raises(IdempotencyConflict):
        await send(people, make_claim("k", fingerprint="other"))
    assert await people("count") == 1


@pytest.mark.parametrize("attempts", [2, 20])
async def test_attempts_at_the_same_moment_have_one_effect(people: Caller, attempts: int) -> None:
    """Whoever comes first commits; everybody gets the same answer."""
    claims = [make_claim("k") for _ in range(attempts)]
    answers = await asyncio.gather(*(send(people, claim) for claim in claims))
    assert await people("count") == 1
    assert len({str(answer.result) for answer in answers}) == 1
    committed = [answer for answer in answers if answer.replayed is None]
    assert len(committed) == 1
    assert {answer.replayed for answer in answers} - {None} == {
        claims[answers.index(committed[0])].id
    }


async def test_a_definite_failure_leaves_no_entry(people: Caller) -> None:
    """The same key may be tried again after a refusal."""
    await people("insert", document={"_key": "a"})
    claim = make_claim("k")
    with pytest.raises(UniqueViolation):
        await send(people, claim, document={"_key": "a"})
    assert await people.store.recall(DATABASE, claim.key) is None
    await people("delete", document="a")
    assert (await send(people, make_claim("k"), document={"_key": "a"})).replayed is None


async def test_every_kind_of_mutation_is_remembered(people: Caller) -> None:
    """Documents, batches, matches, collections and indexes: the answer comes again, the act not."""
    mutations: list[tuple[str, dict[str, Any]]] = [
        ("insert", {"document": {"_key": "a"}, "return_new": True}),
        ("insert-many", {"documents": [{"_key": "a"}, {"_key": "b"}]}),
        ("update", {"document": {"_key": "a", "n": 1}}),
        ("replace", {"document": {"_key": "a", "n": 2}}),
        ("update-match", {"filters": {"n": 2}, "body": {"n": 3}}),
        ("upsert", {"filters": {"n": 9}, "insert": {"n": 9}, "update": {}}),
        ("create-index", {"fields": ["n"]}),
        ("delete", {"document": "b", "silent": True}),
        ("delete", {"document": "b", "ignore_missing": True}),
        ("delete-match", {"filters": {"n": 9}}),
        ("drop-index", {"index": "none", "ignore_missing": True}),
        ("truncate", {}),
        ("drop-collection", {}),
        ("create-collection", {"edge": True}),
    ]
    for number, (operation, arguments) in enumerate(mutations):
        name = f"{operation}-{number}"
        first = (
            await send(people, make_claim(name), operation, **arguments)
            if arguments
            else (
                await people.store.execute(
                    make_work(operation, "people", {}, claim=make_claim(name))
                )
            )
        )
        again = await people.store.execute(
            make_work(operation, "people", arguments, claim=make_claim(name))
        )
        assert again.result == first.result
        assert again.replayed is not None
        assert not again.effects


async def test_a_collection_is_created_once_for_a_key_and_refused_for_another(
    people: Caller,
) -> None:
    """It is the ledger that makes creating repeatable."""
    anchors = make_work("create-collection", "anchors", {}, claim=make_claim("k"))
    await people.store.execute(anchors)
    assert (await people.store.execute(anchors)).replayed is not None
    with pytest.raises(CollectionExists):
        await people.store.execute(
            make_work("create-collection", "anchors", {}, claim=make_claim("other"))
        )


@pytest.mark.parametrize("settled", [False, True])
async def test_an_entry_can_be_recalled_by_key_and_by_transmission(
    people: Caller, settled: bool
) -> None:
    """Key, fingerprint, id and answer; what was never done is not there."""
    claim = make_claim("k")
    assert await people.store.recall(DATABASE, claim.key, settled=settled) is None
    done = await send(people, claim)
    entry = await people.store.recall(DATABASE, claim.key, settled=settled)
    assert entry is not None
    assert (entry.key, entry.fingerprint, entry.id) == (claim.key, claim.fingerprint, claim.id)
    assert entry.result == done.result
    recall = people.store.recall_transmission
    assert await recall(DATABASE, claim.id, claim.key[:32]) == entry
    assert await recall(DATABASE, "never", claim.key[:32]) is None


async def test_nobody_stands_in_the_way_of_ones_own_transmission(people: Caller) -> None:
    """Somebody else who committed under the same transmission id first changes nothing."""
    theirs = make_claim("theirs")
    mine = replace(make_claim("mine"), id=theirs.id)
    await send(people, theirs)
    await send(people, mine)
    for claim in (theirs, mine):
        entry = await people.store.recall_transmission(DATABASE, theirs.id, claim.key[:32])
        assert entry is not None
        assert entry.key == claim.key


async def test_an_expired_entry_counts_as_absent(people: Caller) -> None:
    """After its time the key is free again, and the new entry takes its place."""
    old = make_claim("k", expires_ms=now_ms() - 1)
    await send(people, old)
    assert await people.store.recall(DATABASE, old.key) is None
    assert await people.store.recall_transmission(DATABASE, old.id, old.key[:32]) is None
    fresh = make_claim("k", fingerprint="other")
    assert (await send(people, fresh)).replayed is None
    entry = await people.store.recall(DATABASE, fresh.key)
    assert entry is not None
    assert entry.id == fresh.id
    assert await people("count") == 2


async def test_a_large_answer_is_kept_without_its_documents(people: Caller) -> None:
    """Ids and revisions stay; the documents themselves can be read again."""
    claim = make_claim("k")
    arguments = {"documents": [{"text": "x" * 100_000}], "return_new": True}
    done = await send(people, claim, "insert-many", **arguments)
    again = await send(people, make_claim("k"), "insert-many", **arguments)
    [meta] = again.result
    assert "new" in done.result[0]
    assert meta == {name: value for name, value in done.result[0].items() if name != "new"}


async def test_a_mutation_without_a_claim_is_not_remembered(people: Caller) -> None:
    """It happens as often as it is sent."""
    work = make_work("insert", "people", {"document": {}})
    for _ in range(2):
        assert (await people.store.execute(work)).replayed is None
    assert await people("count") == 2


async def test_an_entry_knows_its_commit_and_what_it_touched(people: Caller) -> None:
    """Position and revisions are those of the effects, for every kind of write."""
    writes: list[tuple[str, dict[str, Any]]] = [
        ("insert", {"document": {"_key": "a"}, "silent": True}),
        ("update", {"document": {"_key": "a", "n": 1}}),
        ("replace", {"document": {"_key": "a", "n": 2}, "return_old": True}),
        ("insert-many", {"documents": [{"_key": "b"}, {"_key": "a"}, {"_key": "c"}]}),
        ("update-match", {"filters": {"n": 2}, "body": {"n": 3}}),
        ("upsert", {"filters": {"n": 9}, "insert": {"n": 9}, "update": {}}),
        ("delete", {"document": "a"}),
        ("delete-many", {"documents": ["b", "none"]}),
        ("create-index", {"fields": ["n"]}),
    ]
    for number, (operation, arguments) in enumerate(writes):
        claim = make_claim(f"{operation}-{number}")
        done = await send(people, claim, operation, **arguments)
        entry = await people.store.recall(DATABASE, claim.key, settled=True)
        assert entry is not None
        assert not entry.begun
        assert entry.position == done.position
        assert entry.touched is not None
        assert [list(each) for each in entry.touched] == touched_by(done.effects), operation


async def test_a_settled_look_shows_what_counts_for_nobody_any_more(people: Caller) -> None:
    """An entry that has expired and is there still, and how far back all of them are there."""
    old = make_claim("k", expires_ms=now_ms() - 1)
    await send(people, old)
    assert await people.store.recall(DATABASE, old.key) is None
    entry = await people.store.recall(DATABASE, old.key, settled=True)
    assert entry is not None
    assert entry.id == old.id
    clock = await people.store.clock(DATABASE)
    assert abs(clock.now_ms - now_ms()) < 5_000
    assert clock.remembers_ms <= clock.now_ms


async def test_too_many_touched_documents_are_not_listed(people: Caller) -> None:
    """The entry says so, rather than naming some of them."""
    claim = make_claim("many")
    documents = [{"_key": f"{'k' * 60}{number}"} for number in range(1_000)]
    await send(people, claim, "insert-many", documents=documents, silent=True)
    entry = await people.store.recall(DATABASE, claim.key)
    assert entry is not None
    assert entry.touched is None
