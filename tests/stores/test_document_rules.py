"""Document rules: what is not to be seen is not there, and nothing is stored outside a rule."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import (
    DocumentNotFound,
    PermissionDenied,
    UniqueViolation,
)
from tests.stores.calling import Caller, plain
from tests.stores.ruled import RULE, Held, everything, held, make_rules, told, transact

MINE = {"owner": "me"}


@pytest.fixture
async def mine(people: Caller) -> Held:
    """Somebody who may see their own: `a` and `c` are, `b` and `d` are another's."""
    for key, owner in (("a", "me"), ("b", "you"), ("c", "me"), ("d", "you")):
        await people("insert", document={"_key": key, "owner": owner, "n": 1, "tag": f"t{key}"})
    return held(people, make_rules(MINE))


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


# Transactions


async def test_every_step_of_a_transaction_is_held_to_its_own_rules(
    mine: Held, people: Caller, knows: Caller
) -> None:
    """Rules change from step to step, and what a step may not do undoes all of them."""
    hiding = make_rules(hidden=["tag"], forced={"sealed": True})
    edge = {"_key": "e", "_from": "people/a", "_to": "people/b", "tag": "te"}
    await knows("insert", document=edge)
    results = await transact(
        people,
        ("update", "people", {"document": {"_key": "a", "n": 5}, "return_new": True}, mine.rules),
        ("update", "knows", {"document": {"_key": "e", "n": 5}, "return_new": True}, hiding),
        ("update", "people", {"document": {"_key": "b", "n": 5}, "return_new": True}, None),
    )
    assert [result["new"].get("tag") for result in results] == ["ta", None, "tb"]
    assert [result["new"].get("sealed") for result in results] == [None, True, None]
    before = await everything(people)
    for forbidden in (
        ("update", "people", {"document": {"_key": "b", "n": 6}}, mine.rules),
        ("update-many", "people", {"documents": [{"_key": "b", "n": 6}]}, mine.rules),
        ("insert", "people", {"document": {"_key": "z", "owner": "you"}}, mine.rules),
    ):
        first = ("update", "people", {"document": {"_key": "a", "n": 6}}, mine.rules)
        with pytest.raises((PermissionDenied, DocumentNotFound)) as refused:
            await transact(people, first, forbidden)
        assert refused.value.details["step"] == 1
        assert await everything(people) == before


async def test_the_steps_of_a_transaction_count_together(people: Caller) -> None:
    """What one command may touch cannot be had in portions, by a step's rule or the whole's."""
    rules = make_rules(max_affected=3)

    def insert(count: int) -> tuple[str, str, dict[str, Any], Any]:
        return ("insert-many", "people", {"documents": [{} for _ in range(count)]}, rules)

    def freely(count: int) -> tuple[str, str, dict[str, Any], Any]:
        return (*insert(count)[:3], None)

    assert len(await transact(people, insert(2), insert(1))) == 2
    with pytest.raises(PermissionDenied):
        await transact(people, insert(2), insert(2))
    assert len(await transact(people, freely(2), freely(1), rules=rules)) == 2
    with pytest.raises(PermissionDenied):
        await transact(people, freely(2), freely(2), rules=rules)
    assert await people("count") == 6
