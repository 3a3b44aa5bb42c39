"""find, count and the writes that match: equality as ArangoDB has it, pages that lose nothing."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import InvalidArguments, InvalidEdge
from tests.stores.calling import Caller, plain

HOSTILE = [
    "a\"]') OR 1=1 --",
    "'; DROP TABLE c1001; --",
    "with blank",
    "4f6c9a52-2a3c-4c9e-9d35-0e8a0f3c7a10",
    "ünï😀",
    'quo"te',
    "back\\slash",
    "$",
    "[0]",
    "%s",
    "?",
    "\x00",
    "\n",
]


async def keys(people: Caller, **filters: Any) -> list[str]:
    """The keys of what `find` finds."""
    return [doc["_key"] for doc in (await people("find", filters=filters))["documents"]]


VALUES: dict[str, Any] = {
    "null": None,
    "false": False,
    "true": True,
    "zero": 0,
    "minuszero": -0.0,
    "one": 1,
    "onepoint": 1.0,
    "half": 0.5,
    "big": 2**53 + 1,
    "bigger": 2**53 + 2,
    "huge": 2**64 - 1,
    "empty": "",
    "text1": "1",
    "textlist": "[1]",
    "list0": [],
    "listnull": [None],
    "list1": [1],
    "list1null": [1.0, None],
    "list12": [1, 2],
    "object0": {},
    "objectnull": {"a": None},
    "object1": {"a": 1, "b": [1]},
    "object1more": {"c": None, "b": [1, None], "a": 1.0},
}
EQUAL = [
    {"null", "missing"},
    {"zero", "minuszero"},
    {"one", "onepoint"},
    {"list0", "listnull"},
    {"list1", "list1null"},
    {"object0", "objectnull"},
    {"object1", "object1more"},
]


@pytest.mark.parametrize("indexed", [False, True])
async def test_equality_is_arangodbs(people: Caller, indexed: bool) -> None:
    """Null matches missing, 1 is 1.0 but not true, containers are padded with null."""
    documents = [{"_key": key, "deep": {"v": value}} for key, value in VALUES.items()]
    await people("insert-many", documents=[*documents, {"_key": "missing"}])
    if indexed:
        await people("create-index", fields=["deep.v"])
    for key, value in VALUES.items():
        expected = next((group for group in EQUAL if key in group), {key})
        assert set(await keys(people, **{"deep.v": value})) == expected
        assert await people("count", filters={"deep.v": value}) == len(expected)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
async def test_any_attribute_name_is_only_a_name(people: Caller, name: str, indexed: bool) -> None:
    """Quotes, statements, UUIDs and control characters find what they name and nothing else."""
    await people("insert", document={"_key": "a", name: {"x y": "v'\"\\"}})
    await people("insert", document={"_key": "b", "other": {"x y": "v'\"\\"}})
    if indexed and "[*]" not in name:
        await people("create-index", fields=[f"{name}.x y"])
    assert await keys(people, **{f"{name}.x y": "v'\"\\"}) == ["a"]
    assert await keys(people, **{f"{name}.x y": None}) == ["b"]
    assert await people("update-match", filters={name: None}, body={name: 1}) == 1
    assert await keys(people, **{name: 1.0}) == ["b"]


async def test_system_attributes_can_be_filtered(knows: Caller) -> None:
    """`_key`, `_id`, `_rev`, `_from` and `_to`; what they cannot be finds nothing."""
    edge = {"_from": "people/a", "_to": "people/b"}
    meta = await knows("insert", document={"_key": "e", **edge})
    await knows("insert", document={"_key": "f", "_from": "people/a", "_to": "people/c"})
    for name, value in {**meta, "_to": "people/b"}.items():
        assert await keys(knows, **{name: value}) == ["e"]
        assert await keys(knows, **{name: 7}) == []
    assert await keys(knows, _from="people/a") == ["e", "f"]
    assert await keys(knows, _from="people/a", _to="people/c") == ["f"]
    assert await keys(knows, _key="e", _to="people/c") == []
    assert await keys(knows, _id="people/e") == []


async def test_every_filter_has_to_hold(people: Caller) -> None:
    """Several filters are joined by and, with an index for none, some or all of them."""
    await people(
        "insert-many",
        documents=[
            {"_key": f"{a}{b}{c}", "a": a, "b": b, "c": c} for a in "xy" for b in "xy" for c in "xy"
        ],
    )
    for fields in ([], ["a"], ["b", "a"], ["c", "b", "a"]):
        if fields:
            await people("create-index", fields=fields)
        assert await keys(people, a="x", b="y") == ["xyx", "xyy"]
        assert await keys(people, a="x", b="y", c="x") == ["xyx"]
        assert await keys(people, c="y") == ["xxy", "xyy", "yxy", "yyy"]
        assert await people("count", filters={"b": "x", "c": "y"}) == 2
        assert await people("count", filters={"b": "x", "c": "z"}) == 0


async def test_without_filters_everything_comes_in_the_order_of_keys(people: Caller) -> None:
    """Keys are ordered by code point."""
    await people("insert-many", documents=[{"_key": key} for key in ("b", "10", "9", "B", "a")])
    assert await keys(people) == ["10", "9", "B", "a", "b"]
    assert await people("count") == 5


@pytest.mark.parametrize("filters", [{}, {"even": True}, {"third": 0}])
@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
async def test_pages_behind_each_other_are_the_whole(
    people: Caller, filters: dict[str, Any], size: int
) -> None:
    """Following `after` while there is `more` gives every match once, in order."""
    await people("create-index", fields=["even"])
    documents = [{"_key": f"k{n:04d}", "even": n % 2 == 0, "third": n % 3} for n in range(300)]
    await people("insert-many", documents=documents)
    expected = [
        doc["_key"] for doc in documents if all(doc[name] == filters[name] for name in filters)
    ]
    found: list[str] = []
    after: str | None = None
    while True:
        page = await people("find", filters=filters, batch_size=size, after=after)
        found += [doc["_key"] for doc in page["documents"]]
        assert len(page["documents"]) <= size
        after = page["after"]
        assert page["more"] == (after is not None)
        if not page["more"]:
            break
        assert after == found[-1]
    assert found == expected


@pytest.mark.parametrize("filters", [{}, {"n": 1}, {"i": 1}])
@pytest.mark.parametrize(
    ("arguments", "expected", "more"),
    [
        ({"limit": 0}, [], False),
        ({"limit": 2}, [0, 1], False),
        ({"limit": 5}, [0, 1, 2, 3, 4], False),
        ({"limit": 9}, [0, 1, 2, 3, 4], False),
        ({"batch_size": 5}, [0, 1, 2, 3, 4], False),
        ({"batch_size": 4}, [0, 1, 2, 3], True),
        ({"batch_size": 2, "limit": 3}, [0, 1], True),
        ({"batch_size": 3, "limit": 3}, [0, 1, 2], False),
        ({"skip": 3}, [3, 4], False),
        ({"skip": 1, "limit": 2}, [1, 2], False),
        ({"skip": 1, "batch_size": 2}, [1, 2], True),
        ({"skip": 5}, [], False),
        ({"skip": 99}, [], False),
    ],
)
async def test_more_is_said_exactly_when_more_was_asked_for_and_exists(
    people: Caller,
    filters: dict[str, Any],
    arguments: dict[str, Any],
    expected: list[int],
    more: bool,
) -> None:
    """`limit` ends the search, `batch_size` only the page."""
    await people("create-index", fields=["i"])
    await people("insert-many", documents=[{"_key": str(n), "n": 1, "i": 1} for n in range(5)])
    page = await people("find", filters=filters, **arguments)
    assert [int(doc["_key"]) for doc in page["documents"]] == expected
    assert page["more"] is more
    assert page["after"] == (str(expected[-1]) if more else None)


async def test_a_sort_follows_arangodbs_order_of_types(people: Caller) -> None:
    """Null < bool < number < string < array < object, missing as null, ties by key."""
    ordered: list[Any] = [
        None,
        False,
        True,
        -1.5,
        0,
        2,
        10,
        "",
        "10",
        "2",
        "A",
        "a",
        "é",
        [],
        [None, 1],
        [0],
        [1],
        [1, False],
        {},
        {"b": 1},
        {"a": 1},
        {"a": 1, "b": 1},
        {"a": 2},
    ]
    shuffled = [{"_key": f"{n:02d}", "v": value} for n, value in enumerate(ordered)][::-1]
    await people("insert-many", documents=[*shuffled, {"_key": "000"}])
    numbered = [f"{n:02d}" for n in range(len(ordered))]
    page = await people("find", sort=[{"sort_by": "v"}])
    upwards = [doc["_key"] for doc in page["documents"]]
    assert upwards == [numbered[0], "000", *numbered[1:]]
    page = await people("find", sort=[{"sort_by": "v", "sort_order": "DESC"}])
    downwards = [doc["_key"] for doc in page["documents"]]
    assert downwards == [*numbered[:0:-1], numbered[0], "000"]


async def test_several_sort_fields_decide_one_after_the_other(people: Caller) -> None:
    """The second field decides where the first is equal, each in its own direction."""
    await people(
        "insert-many", documents=[{"a": a, "b": {"c": c}} for a in ("x", "xy") for c in (1, 2)]
    )
    page = await people("find", sort=[{"sort_by": "a", "sort_order": "DESC"}, {"sort_by": "b.c"}])
    assert [(doc["a"], doc["b"]["c"]) for doc in page["documents"]] == [
        ("xy", 1),
        ("xy", 2),
        ("x", 1),
        ("x", 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected", "more"),
    [
        ({}, [4, 3, 2, 1, 0], False),
        ({"limit": 2}, [4, 3], False),
        ({"skip": 1, "limit": 2}, [3, 2], False),
        ({"batch_size": 2}, [4, 3], True),
        ({"batch_size": 2, "skip": 3}, [1, 0], False),
        ({"batch_size": 2, "limit": 3}, [4, 3], True),
        ({"skip": 9}, [], False),
    ],
)
async def test_a_sorted_page_is_continued_by_skip(
    people: Caller, arguments: dict[str, Any], expected: list[int], more: bool
) -> None:
    """There is no key to continue behind; `more` says whether `skip` would find something."""
    await people("insert-many", documents=[{"n": n} for n in range(5)])
    page = await people("find", sort=[{"sort_by": "n", "sort_order": "DESC"}], **arguments)
    assert [doc["n"] for doc in page["documents"]] == expected
    assert (page["more"], page["after"]) == (more, None)


@pytest.mark.parametrize("sort", [[], [{"sort_by": "_key"}]])
async def test_a_page_ends_early_where_a_reply_would_be_full(
    people: Caller, sort: list[dict[str, str]]
) -> None:
    """Large documents make short pages instead of errors."""
    for key in "abcd":
        await people("insert", document={"_key": key, "text": "x" * 1_200_000})
    found: list[str] = []
    for _ in range(4):
        more = {"skip": len(found)} if sort else {"after": found[-1] if found else None}
        page = await people("find", sort=sort, **more)
        assert 1 <= len(page["documents"]) < 4
        found += [doc["_key"] for doc in page["documents"]]
        if not page["more"]:
            break
    assert found == list("abcd")


async def test_continuing_behind_what_is_no_key_is_refused(people: Caller) -> None:
    """`after` is a key."""
    with pytest.raises(InvalidArguments):
        await people("find", after="no key")


async def test_matches_are_changed_together(people: Caller) -> None:
    """update-match merges, replace-match replaces, delete-match removes, each says how many."""
    await people(
        "insert-many", documents=[{"_key": str(n), "n": n % 2, "o": {"x": n}} for n in range(6)]
    )
    done = await people.done("update-match", filters={"n": 1}, body={"o": {"y": 1}, "n": None})
    assert done.result == 3
    assert [effect.key for effect in done.effects] == ["1", "3", "5"]
    assert await people.document("3") == {"n": None, "o": {"x": 3, "y": 1}}
    drop = {"filters": {"n": None}, "body": {"n": None, "o": {"z": 1}}}
    assert await people("update-match", **drop, keep_none=False, merge=False, limit=2) == 2
    assert await people.document("1") == {"o": {"z": 1}}
    assert await people.document("5") == {"n": None, "o": {"x": 5, "y": 1}}
    assert await people("replace-match", filters={"n": 0}, body={"_key": "no", "r": 1}) == 3
    assert await people.document("0") == {"r": 1}
    done = await people.done("delete-match", filters={"r": 1}, limit=2)
    assert done.result == 2
    assert [(effect.key, effect.new) for effect in done.effects] == [("0", None), ("2", None)]
    assert await people("delete-match", filters={}, limit=0) == 0
    assert await people("count") == 4
    assert await people("delete-match", filters={}) == 4


async def test_one_failing_match_undoes_all(knows: Caller) -> None:
    """A change that one of the matches cannot take leaves every one of them alone."""
    edges = [{"_key": str(n), "_from": "people/a", "_to": "people/b"} for n in range(3)]
    await knows("insert-many", documents=edges)
    with pytest.raises(InvalidEdge):
        await knows("replace-match", filters={}, body={"x": 1})
    assert await knows.document("0") == plain(edges[0])


async def test_an_upsert_inserts_or_changes(people: Caller) -> None:
    """It inserts where nothing matches and changes the match, by update or by replace."""
    arguments = {"filters": {"name": "inti"}, "insert": {"name": "inti", "n": 0}}
    made = await people("upsert", **arguments, update={"n": 1}, return_new=True, return_old=True)
    assert (made["type"], made["old"], plain(made["new"])) == (
        "insert",
        None,
        {"name": "inti", "n": 0},
    )
    changed = await people("upsert", **arguments, update={"m": 1}, return_new=True, return_old=True)
    assert (changed["type"], changed["_key"]) == ("update", made["_key"])
    assert changed["_old_rev"] == made["_rev"]
    assert plain(changed["new"]) == {"name": "inti", "n": 0, "m": 1}
    put = await people("upsert", **arguments, replace={"name": "inti", "p": 1})
    assert put == {
        "_id": made["_id"],
        "_key": made["_key"],
        "_rev": put["_rev"],
        "_old_rev": changed["_rev"],
        "type": "replace",
    }
    assert await people.document(made["_key"]) == {"name": "inti", "p": 1}
    assert await people("count") == 1


async def test_an_upsert_changes_one_match_alone(people: Caller) -> None:
    """Of several matches the one with the smallest key."""
    await people("insert-many", documents=[{"_key": key, "n": 1} for key in "ba"])
    result = await people("upsert", filters={"n": 1.0}, insert={}, update={"n": 2})
    assert (result["_key"], await people("count", filters={"n": 1})) == ("a", 1)
    same = await people("upsert", filters={"n": 2}, insert={}, update={})
    assert same["_rev"] == same["_old_rev"] == result["_rev"]
