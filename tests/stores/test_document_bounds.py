"""Schemas, immutable collections, and how many documents one command may touch."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import InvalidDocument, PermissionDenied, UniqueViolation
from tests.stores.calling import Caller
from tests.stores.ruled import RULE, everything, held, make_rules, told


async def test_every_new_version_is_as_the_schema_describes(people: Caller) -> None:
    """Inserts, updates, replaces and upserts are refused with the field; nothing is done."""
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    strict = held(people, make_rules(schema=schema))
    await strict("insert", document={"_key": "a", "n": 1})
    before = await everything(people)
    for operation, arguments in (
        ("insert", {"document": {}}),
        ("insert", {"document": {"_key": "a", "n": "x"}, "overwrite": True}),
        ("update", {"document": {"_key": "a", "n": "x"}}),
        ("update", {"document": {"_key": "a", "n": None}, "keep_none": False}),
        ("replace", {"document": {"_key": "a"}}),
        ("update-match", {"filters": {}, "body": {"n": 1.5}}),
        ("replace-match", {"filters": {}, "body": {"m": 1}}),
        ("upsert", {"filters": {"n": 1}, "insert": {"n": 1}, "update": {"n": []}}),
        ("upsert", {"filters": {"n": 2}, "insert": {}, "update": {"n": 2}}),
    ):
        refused = await told(strict, operation, **arguments)
        assert isinstance(refused, InvalidDocument), operation
        assert refused.details["field"] == "n"
    results = await strict("insert-many", documents=[{"n": 2}, {"n": "x"}])
    assert results[1]["error"]["code"] == "invalid_document"
    assert {k: v for k, v in (await everything(people)).items() if k == "a"} == before


async def test_the_schema_sees_forced_and_hidden_fields(people: Caller) -> None:
    """It describes the whole document, not what the caller wrote of it."""
    schema = {"required": ["owner", "token"]}
    await people("insert", document={"_key": "a", "token": 1})
    rules = make_rules(schema=schema, forced={"owner": "me"}, hidden=["token"])
    await held(people, rules)("replace", document={"_key": "a", "n": 2})
    assert isinstance(await told(held(people, rules), "insert", document={}), InvalidDocument)


async def test_what_is_immutable_is_inserted_and_stays(people: Caller) -> None:
    """New documents come; none is changed, overwritten, removed or emptied away."""
    stone = held(people, make_rules(immutable=True))
    await stone("insert", document={"_key": "a", "n": 1})
    await stone("insert", document={"_key": "b"}, overwrite_mode="replace")
    await stone("upsert", filters={"n": 2}, insert={"_key": "c", "n": 2}, update={"n": 3})
    assert (await stone("insert", document={"_key": "a"}, overwrite_mode="ignore"))["_key"] == "a"
    before = await everything(people)
    for operation, arguments in (
        ("insert", {"document": {"_key": "a"}, "overwrite": True}),
        ("insert", {"document": {"_key": "a", "n": 2}, "overwrite_mode": "update"}),
        ("update", {"document": {"_key": "a", "n": 2}}),
        ("replace", {"document": {"_key": "a"}}),
        ("update-match", {"filters": {"n": 1}, "body": {"n": 2}}),
        ("replace-match", {"filters": {"n": 1}, "body": {"n": 2}}),
        ("upsert", {"filters": {"n": 2}, "insert": {}, "update": {"n": 3}}),
        ("upsert", {"filters": {"n": 2}, "insert": {}, "replace": {}}),
        ("delete", {"document": "a"}),
        ("delete-match", {"filters": {}}),
        ("truncate", {}),
        ("drop-collection", {}),
    ):
        assert isinstance(await told(stone, operation, **arguments), PermissionDenied), operation
    for operation, documents in (
        ("update-many", [{"_key": "a", "n": 2}]),
        ("replace-many", [{"_key": "a"}]),
        ("delete-many", ["a"]),
    ):
        (result,) = await stone(operation, documents=documents)
        assert result["error"]["code"] == "permission_denied"
    assert await everything(people) == before
    await people("insert", document={"_key": "x", "owner": "you"})
    both = held(people, make_rules({"owner": "me"}, immutable=True))
    refused = await told(both, "insert", document={"_key": "x", "owner": "me"}, overwrite=True)
    assert isinstance(refused, UniqueViolation)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("update-match", {"filters": {"n": 1}, "body": {"n": 2}}),
        ("replace-match", {"filters": {"n": 1}, "body": {"n": 2}}),
        ("delete-match", {"filters": {"n": 1}}),
        ("update-many", {"documents": [{"_key": f"k{n}", "n": 2} for n in range(4)]}),
        ("replace-many", {"documents": [{"_key": f"k{n}", "n": 2} for n in range(4)]}),
        ("insert-many", {"documents": [{} for _ in range(4)]}),
        ("delete-many", {"documents": [f"k{n}" for n in range(4)]}),
        ("truncate", {}),
        ("drop-collection", {}),
    ],
)
async def test_more_than_is_allowed_is_refused_whole(
    people: Caller, operation: str, arguments: dict[str, Any]
) -> None:
    """Four documents where three are allowed: none is touched, and the rule is named."""
    await people("insert-many", documents=[{"_key": f"k{n}", "n": 1} for n in range(4)])
    before = await everything(people)
    few = held(people, make_rules(max_affected=3))
    refused = await told(few, operation, **arguments)
    assert isinstance(refused, PermissionDenied)
    assert refused.details["rule"] == RULE
    assert await everything(people) == before


async def test_as_many_as_are_allowed_pass(people: Caller) -> None:
    """The bound itself is within it, with a limit or without, and others' documents count not."""
    await people("insert-many", documents=[{"owner": "me", "n": 1} for _ in range(3)])
    await people("insert-many", documents=[{"owner": "you", "n": 1} for _ in range(9)])
    few = held(people, make_rules({"owner": "me"}, max_affected=3))
    assert await few("update-match", filters={"n": 1}, body={"n": 2}) == 3
    await people("insert-many", documents=[{"owner": "me", "n": 2} for _ in range(5)])
    assert await few("delete-match", filters={"n": 2}, limit=3) == 3
    assert len(await few("insert-many", documents=[{"owner": "me"}] * 3)) == 3
