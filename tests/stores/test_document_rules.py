"""Document rules: what is not to be seen is not there, and nothing is stored outside a rule."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidDocument,
    MallkuError,
    PermissionDenied,
    UniqueViolation,
)
from tests.stores.calling import Caller, plain
from tests.stores.ruled import RULE, Held, everything, held, make_rules

MINE = {"owner": "me"}


@pytest.fixture
async def mine(people: Caller) -> Held:
    """Somebody who may see their own: `a` and `c` are, `b` and `d` are another's."""
    for key, owner in (("a", "me"), ("b", "you"), ("c", "me"), ("d", "you")):
        await people("insert", document={"_key": key, "owner": owner, "n": 1, "tag": f"t{key}"})
    return held(people, make_rules(MINE))


async def told(held: Caller, operation: str, **arguments: Any) -> MallkuError:
    """The refusal of a call."""
    with pytest.raises(MallkuError) as refused:
        await held(operation, **arguments)
    return refused.value


# Reading


async def test_a_document_outside_the_rule_is_not_there(mine: Held) -> None:
    """Neither `get`, `exists` and `get-many` nor `find` and `count` know of it."""
    assert (await mine("get", document="a"))["tag"] == "ta"
    assert await mine("get", document="b") is None
    assert await mine("get", document={"_id": "people/b"}) is None
    assert [await mine("exists", document=key) for key in "abcd"] == [True, False, True, False]
    found = await mine("get-many", documents=["d", "c", "b", "a"])
    assert [document["_key"] for document in found] == ["c", "a"]
    page = await mine("find")
    assert [document["_key"] for document in page["documents"]] == ["a", "c"]
    assert not page["more"]
    assert await mine("count") == 2
    assert await mine("count", filters={"n": 1}) == 2
    assert await mine("count", filters={"_key": "b"}) == 0
    assert (await mine("describe-collection"))["count"] == 2


async def test_a_revision_of_what_is_not_there_tells_nothing(mine: Held) -> None:
    """A wrong revision of another's document is no `revision_mismatch`."""
    assert await mine("get", document="b", rev="wrong") is None
    assert (await told(mine, "get", document="a", rev="wrong")).code == "revision_mismatch"
    for operation in ("update", "replace"):
        refused = await told(mine, operation, document={"_key": "b", "_rev": "wrong", "n": 2})
        assert isinstance(refused, DocumentNotFound)


@pytest.mark.parametrize(
    "where",
    [
        MINE,
        {"owner": {"not_in": ["you", "him"]}},
        {"any": [{"owner": "me"}, {"owner": "nobody"}]},
        {"not": {"any": [{"owner": "you"}, {"owner": {"prefix": "h"}}]}},
        {"all": [{"owner": {"exists": True}}, {"any": [MINE, {"_key": "none"}]}]},
    ],
)
async def test_pages_skips_and_limits_count_what_is_seen(
    people: Caller, where: dict[str, Any]
) -> None:
    """Documents of others fill no page, take no part in a skip, and set off no `more`."""
    documents = [{"_key": f"k{n:03}", "owner": ("me", "you", "him")[n % 3]} for n in range(90)]
    await people("insert-many", documents=documents)
    await people("create-index", fields=["owner"])
    mine = held(people, make_rules(where))
    own = [document["_key"] for document in documents if document["owner"] == "me"]

    async def keys(**arguments: Any) -> list[str]:
        return [document["_key"] for document in (await mine("find", **arguments))["documents"]]

    assert await keys() == own
    assert await keys(skip=7, limit=5) == own[7:12]
    assert await keys(after=own[9], limit=3) == own[10:13]
    assert (
        await keys(sort=[{"sort_by": "_key", "sort_order": "DESC"}], skip=2, limit=4)
        == (own[::-1][2:6])
    )
    seen, after = [], None
    while True:
        page = await mine("find", batch_size=4, after=after)
        seen += [document["_key"] for document in page["documents"]]
        if not page["more"]:
            break
        after = page["after"]
    assert seen == own
    assert not (await mine("find", limit=30, batch_size=30))["more"]
    assert not (await mine("find", batch_size=30))["more"]


async def test_an_index_and_a_filter_go_together_with_a_rule(people: Caller) -> None:
    """With and without an index, on the filter's or on the rule's field, the answer is the same."""
    documents: list[dict[str, Any]] = [
        {"owner": "me" if n % 2 else "you", "group": n % 5, "n": n} for n in range(100)
    ]
    await people("insert-many", documents=documents)
    mine = held(people, make_rules({"owner": "me", "n": {"<": 50}}))
    expected = sorted(d["n"] for d in documents if d["owner"] == "me" and d["n"] < 50)
    for fields in (["group"], ["owner"], ["owner", "group"], ["n"]):
        await people("create-index", fields=fields)
        assert sorted(d["n"] for d in (await mine("find"))["documents"]) == expected
        found = (await mine("find", filters={"group": 3}))["documents"]
        assert sorted(d["n"] for d in found) == [n for n in expected if n % 5 == 3]
        assert await mine("count", filters={"group": 3}) == len(found)
        assert await mine("count", filters={"owner": "you"}) == 0


# Changing


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("update", lambda key: {"document": {"_key": key, "n": 2}}),
        ("replace", lambda key: {"document": {"_key": key, "n": 2}}),
        ("delete", lambda key: {"document": key}),
        ("delete", lambda key: {"document": key, "check_rev": False, "return_old": True}),
    ],
)
async def test_what_is_not_there_is_not_changed(
    mine: Held, people: Caller, operation: str, arguments: Any
) -> None:
    """Another's document and none at all are answered in the same words, and both stay."""
    before = await everything(people)
    hidden = await told(mine, operation, **arguments("b"))
    missing = await told(mine, operation, **arguments("z"))
    assert isinstance(hidden, DocumentNotFound)
    assert str(hidden.to_wire()).replace("people/b", "people/z") == str(missing.to_wire())
    assert await everything(people) == before


async def test_ignoring_what_is_missing_ignores_what_is_not_there(
    mine: Held, people: Caller
) -> None:
    """`ignore_missing` answers False for another's document, and leaves it."""
    assert await mine("delete", document="b", ignore_missing=True) is False
    assert "b" in await everything(people)


async def test_batches_answer_for_each_document(mine: Held, people: Caller) -> None:
    """What is not there fails alone; the others of the batch are done."""
    patches = [{"_key": key, "n": 9} for key in "abz"]
    results = await mine("update-many", documents=patches)
    assert [result.get("error", {}).get("code") for result in results] == [
        None,
        "document_not_found",
        "document_not_found",
    ]
    results = await mine("delete-many", documents=["b", "c"], return_old=True)
    assert results[0]["error"]["code"] == "document_not_found"
    assert results[1]["old"]["tag"] == "tc"
    results = await mine("insert-many", documents=[{"owner": "you"}, {"owner": "me"}])
    assert results[0]["error"]["code"] == "permission_denied"
    assert results[0]["error"]["details"] == {"rule": RULE}
    assert "_key" in results[1]
    results = await mine("replace-many", documents=[{"_key": "a", "owner": "you"}, {"_key": "d"}])
    assert [result["error"]["code"] for result in results] == [
        "permission_denied",
        "document_not_found",
    ]
    stored = await everything(people)
    assert {key: stored[key]["n"] for key in "abd"} == {"a": 9, "b": 1, "d": 1}


async def test_writes_that_match_meet_only_what_is_seen(mine: Held, people: Caller) -> None:
    """update-match, replace-match and delete-match change and count one's own."""
    assert await mine("update-match", filters={"n": 1}, body={"n": 2}) == 2
    assert await mine("replace-match", filters={"n": 2}, body={"owner": "me", "n": 3}, limit=1) == 1
    assert await mine("delete-match", filters={}) == 2
    assert sorted(await everything(people)) == ["b", "d"]
    assert {document["n"] for document in (await everything(people)).values()} == {1}


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("insert", {"document": {"owner": "you"}}),
        ("insert", {"document": {}}),
        ("insert", {"document": {"_key": "a", "owner": "you"}, "overwrite": True}),
        ("insert", {"document": {"_key": "a", "owner": "x"}, "overwrite_mode": "update"}),
        ("update", {"document": {"_key": "a", "owner": "you"}}),
        ("update", {"document": {"_key": "a", "owner": None}, "keep_none": False}),
        ("replace", {"document": {"_key": "a"}}),
        ("update-match", {"filters": {}, "body": {"owner": "you"}}),
        ("replace-match", {"filters": {"n": 1}, "body": {"n": 1}}),
        ("upsert", {"filters": {"_key": "a"}, "insert": {}, "update": {"owner": "you"}}),
        ("upsert", {"filters": {"_key": "a"}, "insert": {}, "replace": {}}),
        ("upsert", {"filters": {"_key": "z"}, "insert": {"owner": "you"}, "replace": {}}),
    ],
)
async def test_no_new_version_leaves_the_rule(
    mine: Held, people: Caller, operation: str, arguments: dict[str, Any]
) -> None:
    """A change that would take a document out of the rule is refused by name; nothing is done."""
    before = await everything(people)
    refused = await told(mine, operation, **arguments)
    assert isinstance(refused, PermissionDenied)
    assert refused.details == {"rule": RULE}
    assert RULE in refused.message
    assert await everything(people) == before


@pytest.mark.parametrize("mode", [None, "conflict", "ignore", "replace", "update"])
async def test_a_key_that_another_has_taken_is_taken(
    mine: Held, people: Caller, mode: str | None
) -> None:
    """Every overwrite mode meets a conflict that tells only the key; the document stays."""
    before = await everything(people)
    refused = await told(
        mine, "insert", document={"_key": "b", "owner": "me"}, overwrite_mode=mode, return_old=True
    )
    assert isinstance(refused, UniqueViolation)
    assert refused.details == {"_key": "b"}
    assert "tb" not in str(refused.to_wire())
    assert before["b"]["_rev"] not in str(refused.to_wire())
    assert await everything(people) == before


async def test_an_upsert_meets_only_what_is_seen(mine: Held, people: Caller) -> None:
    """Where only another's document equals the filters, it inserts; a taken key is a conflict."""
    result = await mine(
        "upsert", filters={"tag": "tb"}, insert={"owner": "me"}, update={"n": 5}, return_old=True
    )
    assert (result["type"], result["old"]) == ("insert", None)
    refused = await told(
        mine, "upsert", filters={"tag": "tb"}, insert={"_key": "b", "owner": "me"}, update={"n": 5}
    )
    assert isinstance(refused, UniqueViolation)
    assert (await everything(people))["b"]["n"] == 1


# Forced fields


async def test_forced_fields_stand_in_every_new_version(people: Caller) -> None:
    """Whatever the caller says or leaves out; the trail's effect holds them too."""
    forced = held(people, make_rules(MINE, forced={"owner": "me", "seal": ["x", 1]}))
    done = await forced.done("insert", document={"_key": "a", "owner": "you"}, return_new=True)
    assert plain(done.result["new"]) == {"owner": "me", "seal": ["x", 1]}
    assert done.effects[0].new == done.result["new"]
    await forced("insert-many", documents=[{"_key": "b"}, {"_key": "c", "seal": 0}])
    await forced("update", document={"_key": "a", "owner": None, "n": 1}, keep_none=False)
    await forced("replace", document={"_key": "b", "n": 2})
    await forced("update-match", filters={"_key": "c"}, body={"owner": "you", "n": 3})
    await forced("replace-match", filters={"n": 3}, body={"n": 4})
    await forced("upsert", filters={"n": 4}, insert={}, replace={"n": 5})
    await forced("upsert", filters={"n": 6}, insert={"_key": "d", "n": 6}, update={"n": 7})
    await forced("insert", document={"_key": "d", "seal": 1}, overwrite_mode="update")
    stored = {key: plain(document) for key, document in (await everything(people)).items()}
    assert {key: document.pop("n") for key, document in stored.items()} == {
        "a": 1,
        "b": 2,
        "c": 5,
        "d": 6,
    }
    assert all(document == {"owner": "me", "seal": ["x", 1]} for document in stored.values())


# Hidden fields

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


# Schema, immutability, numbers


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
    both = held(people, make_rules(MINE, immutable=True))
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
    few = held(people, make_rules(MINE, max_affected=3))
    assert await few("update-match", filters={"n": 1}, body={"n": 2}) == 3
    await people("insert-many", documents=[{"owner": "me", "n": 2} for _ in range(5)])
    assert await few("delete-match", filters={"n": 2}, limit=3) == 3
    assert len(await few("insert-many", documents=[{"owner": "me"}] * 3)) == 3


@pytest.mark.parametrize("operation", ["truncate", "drop-collection"])
async def test_what_looks_at_no_document_is_refused_under_a_rule(
    mine: Held, people: Caller, operation: str
) -> None:
    """A rule that cannot be kept is not weakened."""
    before = await everything(people)
    assert isinstance(await told(mine, operation), PermissionDenied)
    assert await everything(people) == before


async def test_edges_are_held_too(knows: Caller) -> None:
    """Rules may look at both ends of an edge."""
    mine = held(knows, make_rules({"_from": {"prefix": "people/"}}))
    edge = {"_from": "people/a", "_to": "people/b"}
    await mine("insert", document={"_key": "a", **edge})
    await knows("insert", document={"_key": "b", "_from": "others/a", "_to": "people/b"})
    assert await mine("count", filters={"_to": "people/b"}) == 1
    refused = await told(mine, "update", document={"_key": "a", "_from": "others/a"})
    assert isinstance(refused, PermissionDenied)
