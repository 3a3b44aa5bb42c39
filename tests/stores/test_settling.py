"""What every store can say of a command whose worker is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts.arguments import read_arguments
from mallku_contracts.audit import Resolution
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import CommandSubject
from mallku_workers.reconciling.decide import DecisionLimits, Verdict
from mallku_workers.reconciling.looking import Looking
from mallku_workers.reconciling.question import Question
from mallku_workers.reconciling.state import is_as_asked
from mallku_workers.stores.base import Work
from tests.stores.calling import DATABASE, Caller, now_ms
from tests.workers.reconciling.asking import CALLER, claim_of, question

AT_ONCE = DecisionLimits(0, 0)
OVER: dict[str, Any] = {"iat": now_ms() - 2_000, "exp": now_ms() - 1_000}
"""Times of a command that nobody will begin any more."""


def looking(people: Caller, limits: DecisionLimits = AT_ONCE) -> Looking:
    """A look into the store, for commands that need no patience."""
    return Looking(people.store, limits, now_ms)


async def look(people: Caller, asked: Question) -> Verdict:
    """What can be said of it now."""
    verdict = await looking(people).look(asked)
    assert verdict is not None
    return verdict


async def carry_out(people: Caller, asked: Question) -> Any:
    """Let a worker carry the command out that does not live to say so."""
    subject = asked.subject
    work = Work(
        asked.operation,
        DATABASE,
        subject.collection,
        asked.arguments,
        now_ms() + 30_000,
        claim_of(asked),
    )
    return await people.store.execute(work)


async def test_a_commit_is_found_with_all_that_it_did(people: Caller) -> None:
    """Resolution, effects and position are those that the worker would have written."""
    asked = question("insert-many", {"documents": [{"_key": "a"}, {"_key": "b", "n": 1}]})
    done = await carry_out(people, asked)
    verdict = await look(people, asked)
    assert (verdict.resolution, verdict.reason) == (Resolution.COMMITTED, "")
    assert verdict.committed is not None
    came_of = await looking(people).came_of(asked, verdict.committed)
    assert came_of["position"] == done.position
    assert [effect["new"] for effect in came_of["effects"]] == [each.new for each in done.effects]
    assert all("omitted" not in effect for effect in came_of["effects"])


async def test_what_was_changed_since_is_omitted(people: Caller) -> None:
    """Its revisions stand; documents that were removed need no version."""
    asked = question("insert-many", {"documents": [{"_key": "a"}, {"_key": "b"}, {"_key": "c"}]})
    done = await carry_out(people, asked)
    await people("update", document={"_key": "a", "n": 1})
    await people("delete", document="b")
    removing = question("delete", {"document": "c"})
    await carry_out(people, removing)
    look_at = looking(people)
    for each, omitted in ((asked, [True, True, True]), (removing, [False])):
        verdict = await look(people, each)
        assert verdict.committed is not None
        effects = (await look_at.came_of(each, verdict.committed))["effects"]
        assert [effect.get("omitted", False) for effect in effects] == omitted
        assert all(effect["new"] is None for effect in effects)
        if each is asked:
            assert [effect["new_rev"] for effect in effects] == [e.new_rev for e in done.effects]


async def test_nothing_in_the_ledger_is_a_no_in_its_time(people: Caller) -> None:
    """Pending before, not applied after, by the store's own clock."""
    late = question("insert", {"document": {}}, **OVER)
    assert (await look(people, late)).resolution is Resolution.NOT_APPLIED
    early = question("insert", {"document": {}})
    verdict = await look(people, early)
    assert (verdict.resolution, verdict.final) == (Resolution.PENDING, False)


async def test_a_database_that_is_not_served_is_nothing_to_judge_by(people: Caller) -> None:
    """Another worker may serve it: pending, until no ledger could remember it any more."""
    asked = _elsewhere(question("insert", {"document": {}}, **OVER))
    verdict = await look(people, asked)
    assert (verdict.resolution, verdict.final) == (Resolution.PENDING, False)
    old = {"iat": now_ms() - 10_000_000, "exp": now_ms() - 9_990_000}
    forgotten = _elsewhere(question("insert", {"document": {}}, **old))
    verdict = await look(people, forgotten)
    assert (verdict.resolution, verdict.final) == (Resolution.PENDING, True)


def _elsewhere(asked: Question) -> Question:
    return replace(asked, subject=replace(asked.subject, database="other"))


STATES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("create-collection", {"edge": True}, "drop-collection", {}),
    ("create-index", {"fields": ["n"], "name": "mine"}, "drop-index", {"index": "mine"}),
    (
        "create-graph",
        {
            "name": "g",
            "edge_definitions": [
                {
                    "edge_collection": "knows",
                    "from_vertex_collections": ["people"],
                    "to_vertex_collections": ["people"],
                }
            ],
        },
        "drop-graph",
        {"name": "g"},
    ),
]


@pytest.mark.parametrize(("make", "shape", "drop", "name"), STATES)
async def test_whether_what_was_asked_for_is_there(
    people: Caller, make: str, shape: dict[str, Any], drop: str, name: dict[str, Any]
) -> None:
    """Of two opposite changes the state agrees with one, and with the other after it was made."""
    where = people.on("new") if make == "create-collection" else people
    collection = None if make == "create-graph" else where.collection
    making, dropping = _asked(make, shape, collection), _asked(drop, name, collection)
    for act, values, there in ((None, {}, False), (make, shape, True), (drop, name, False)):
        if act is not None:
            await where(act, **values)
        ends_ms = now_ms() + 5_000
        assert await is_as_asked(people.store, making, ends_ms) is there
        assert await is_as_asked(people.store, dropping, ends_ms) is not there


async def test_another_shape_under_the_name_is_not_what_was_asked_for(people: Caller) -> None:
    """Documents instead of edges, another field, other ends of edges."""
    await people("create-index", fields=["n"], name="mine")
    others: list[tuple[str, dict[str, Any]]] = [
        ("create-collection", {"edge": True}),
        ("create-index", {"fields": ["m"], "name": "mine"}),
        ("create-index", {"fields": ["n"], "name": "mine", "unique": True}),
    ]
    for operation, values in others:
        asked = _asked(operation, values, "people")
        assert not await is_as_asked(people.store, asked, now_ms() + 5_000), operation


async def test_an_empty_collection_is_as_truncate_asked(people: Caller) -> None:
    """And one with a document is not."""
    asked = _asked("truncate", {}, "people")
    assert await is_as_asked(people.store, asked, now_ms() + 5_000)
    await people("insert", document={})
    assert not await is_as_asked(people.store, asked, now_ms() + 5_000)


def _asked(operation: str, values: dict[str, Any], collection: str | None) -> Question:
    subject = CommandSubject.build(CALLER.principal, DATABASE, collection, operation)
    known = OPERATIONS[operation]
    return replace(
        question("truncate"),
        subject=subject,
        operation=known,
        arguments=read_arguments(known.arguments, values),
    )
