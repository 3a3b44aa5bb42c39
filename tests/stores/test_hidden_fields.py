"""Hidden fields: in no answer, behind no filter, and untouched by who cannot see them."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import PermissionDenied
from tests.stores.calling import Caller, plain
from tests.stores.ruled import RULE, Held, everything, held, make_rules, told

SECRET = {
    "name": "ada",
    "token": "SECRET",
    "box": {"pin": "SECRET", "label": "x"},
    "voices": [{"at": 1, "key": "SECRET"}, {"at": 2}],
}
SHOWN = {
    "name": "ada",
    "box": {"label": "x"},
    "voices": [{"at": 1}, {"at": 2}],
}


@pytest.fixture
async def blind(people: Caller) -> Held:
    """Somebody who may not see `token`, `box.pin` and the keys of voices; one document, `a`."""
    await people("insert", document={"_key": "a", **SECRET})
    return held(people, make_rules(hidden=["token", "box.pin", "voices.key"]))


async def test_hidden_fields_are_in_no_answer(blind: Held, people: Caller) -> None:
    """get, get-many, find, and the old and new versions of every kind of write."""
    assert plain(await blind("get", document="a")) == SHOWN
    assert plain((await blind("get-many", documents=["a"]))[0]) == SHOWN
    assert plain((await blind("find", filters={"name": "ada"}))["documents"][0]) == SHOWN
    both: dict[str, Any] = {"return_new": True, "return_old": True}
    answers = [
        await blind("update", document={"_key": "a", "n": 1}, **both),
        await blind("update-many", documents=[{"_key": "a", "n": 2}], **both),
        await blind("replace", document={"_key": "a", "n": 3}, **both),
        await blind("replace-many", documents=[{"_key": "a", "n": 4}], **both),
        await blind("insert", document={"_key": "a", "n": 5}, overwrite_mode="update", **both),
        await blind("insert", document={"_key": "a", "n": 6}, overwrite=True, **both),
        await blind("insert-many", documents=[{"_key": "a"}], overwrite_mode="replace", **both),
        await blind("upsert", filters={"_key": "a"}, insert={}, update={"n": 7}, **both),
        await blind("upsert", filters={"_key": "a"}, insert={}, replace={"n": 8}, **both),
    ]
    assert (await everything(people))["a"]["token"] == "SECRET"
    answers.append(await blind("delete", document="a", return_old=True))
    await people("insert", document={"_key": "a", **SECRET})
    answers.append(await blind("delete-many", documents=["a"], return_old=True))
    assert str(answers).count("'_key': 'a'") >= 2 * len(answers)
    assert "SECRET" not in str(answers)
    assert "token" not in str(answers)


NAMES = ["token", "token.inside", "box", "box.pin", "box.pin.deep", "voices", "voices.key"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("find", lambda name: {"filters": {name: "SECRET"}}),
        ("find", lambda name: {"sort": [{"sort_by": "name"}, {"sort_by": name}]}),
        ("count", lambda name: {"filters": {"name": "ada", name: None}}),
        ("update-match", lambda name: {"filters": {name: "SECRET"}, "body": {"hit": 1}}),
        ("replace-match", lambda name: {"filters": {name: "SECRET"}, "body": {"hit": 1}}),
        ("delete-match", lambda name: {"filters": {name: "SECRET"}}),
        ("upsert", lambda name: {"filters": {name: 1}, "insert": {}, "update": {"hit": 1}}),
        ("create-index", lambda name: {"fields": ["name", name], "unique": True}),
    ],
)
async def test_what_is_hidden_cannot_be_probed(
    blind: Held, people: Caller, name: str, operation: str, arguments: Any
) -> None:
    """A hidden field, what is inside it and what holds it neither filter nor sort nor index."""
    before = await everything(people)
    refused = await told(blind, operation, **arguments(name))
    assert isinstance(refused, PermissionDenied)
    assert refused.details == {"rule": RULE, "field": name}
    assert await everything(people) == before


WRITTEN: list[dict[str, Any]] = [
    {"token": "mine"},
    {"token": None},
    {"token": {"deep": 1}},
    {"box": {"pin": None}},
    {"voices": [{"key": "mine"}]},
    {"voices": [[{"key": 1}]]},
]
COVERING: list[dict[str, Any]] = [{"box": None}, {"box": "flat"}, {"box": []}, {"voices": []}]


@pytest.mark.parametrize("body", [*WRITTEN, *COVERING])
async def test_what_is_hidden_cannot_be_written_over(
    blind: Held, people: Caller, body: dict[str, Any]
) -> None:
    """No change sets a hidden field, and none puts something else where one may be."""
    before = await everything(people)
    named = {"_key": "a", **body}
    filters = {"_key": "a"}
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("update", {"document": named, "keep_none": False}),
        ("update", {"document": named, "merge": False}),
        ("update-many", {"documents": [{"_key": "a", "n": 1}, named]}),
        ("replace", {"document": named}),
        ("replace-many", {"documents": [named]}),
        ("update-match", {"filters": filters, "body": body}),
        ("replace-match", {"filters": filters, "body": body}),
        ("upsert", {"filters": filters, "insert": {}, "update": body}),
        ("upsert", {"filters": filters, "insert": {}, "replace": body}),
        ("insert", {"document": named, "overwrite": True}),
        ("insert-many", {"documents": [named], "overwrite_mode": "update"}),
    ]
    for operation, arguments in attempts:
        assert isinstance(await told(blind, operation, **arguments), PermissionDenied)
    assert await everything(people) == before


@pytest.mark.parametrize("body", WRITTEN)
async def test_a_new_document_has_no_hidden_field(blind: Held, body: dict[str, Any]) -> None:
    """Whoever cannot see a field does not set it at birth either."""
    for operation, arguments in (
        ("insert", {"document": body}),
        ("insert", {"document": body, "overwrite_mode": "ignore"}),
        ("insert-many", {"documents": [{}, body]}),
        ("upsert", {"filters": {"_key": "q"}, "insert": body, "update": {}}),
    ):
        assert isinstance(await told(blind, operation, **arguments), PermissionDenied)
    assert await blind("count") == 1


async def test_what_is_hidden_outlives_whoever_cannot_see_it(blind: Held, people: Caller) -> None:
    """A replace, a merge and an exchange of what is around it keep hidden fields as they were.

    A list that may hold some stays whole, for nobody knows which of its items are which.
    """

    async def stored() -> dict[str, Any]:
        return plain((await everything(people))["a"])

    kept = {"token": "SECRET", "box": {"pin": "SECRET"}, "voices": SECRET["voices"]}
    await blind("replace", document={"_key": "a", "n": 1})
    assert await stored() == {"n": 1, **kept}
    await blind("replace", document={"_key": "a", "box": {"label": "y"}})
    assert await stored() == {**kept, "box": {"pin": "SECRET", "label": "y"}}
    await blind("update", document={"_key": "a", "box": {"size": 2}}, merge=False)
    assert await stored() == {**kept, "box": {"pin": "SECRET", "size": 2}}
    await blind("insert", document={"_key": "a", "n": 3}, overwrite=True)
    assert await stored() == {"n": 3, **kept}
    await blind("replace-match", filters={"n": 3}, body={"n": 4})
    assert await stored() == {"n": 4, **kept}


async def test_a_replace_adds_nothing_that_was_not_there(people: Caller) -> None:
    """Where there was nothing hidden, nothing is kept and no empty object appears."""
    await people("insert", document={"_key": "a", "box": {"label": "x"}, "flat": 1, "n": 1})
    blind = held(people, make_rules(hidden=["token", "box.pin", "none.at.all", "flat.inside"]))
    await blind("replace", document={"_key": "a", "n": 2})
    assert plain((await everything(people))["a"]) == {"n": 2}
