"""What every store does with one document: ArangoDB's keys, revisions, merges and errors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mallku_contracts.errors import (
    CollectionNotFound,
    DatabaseNotFound,
    DeadlineExceeded,
    DocumentNotFound,
    InvalidDocument,
    InvalidEdge,
    NotSupported,
    RevisionMismatch,
    UniqueViolation,
)
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.base import Store
from tests.stores.calling import Caller, make_work, now_ms, plain


async def test_an_inserted_document_is_read_back_whole(people: Caller) -> None:
    """What was inserted comes back with `_id`, `_key` and `_rev`, and nothing else changed."""
    body = {"age": 30, "n": None, "tags": ["a", {"b": [1.5, True]}], "deep": {"ü": "\x00é😀"}}
    meta = await people("insert", document={"_key": "inti", **body})
    assert meta == {"_id": "people/inti", "_key": "inti", "_rev": meta["_rev"]}
    assert await people("get", document="inti") == {**meta, **body}


async def test_a_taken_key_is_a_unique_violation(people: Caller) -> None:
    """ArangoDB's error 1210; the document stays as it was."""
    await people("insert", document={"_key": "inti", "n": 1})
    with pytest.raises(UniqueViolation) as refusal:
        await people("insert", document={"_key": "inti", "n": 2})
    assert refusal.value.error_code == 1210
    assert await people.document("inti") == {"n": 1}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"overwrite": True}, {"deep": {"y": 2}, "none": None}),
        ({"overwrite_mode": "replace"}, {"deep": {"y": 2}, "none": None}),
        (
            {"overwrite_mode": "update"},
            {"deep": {"x": 1, "y": 2}, "none": None, "kept": True},
        ),
        (
            {"overwrite_mode": "update", "keep_none": False},
            {"deep": {"x": 1, "y": 2}, "kept": True},
        ),
        (
            {"overwrite_mode": "update", "merge": False},
            {"deep": {"y": 2}, "none": None, "kept": True},
        ),
        ({"overwrite_mode": "ignore"}, {"deep": {"x": 1}, "none": 1, "kept": True}),
    ],
)
async def test_an_insert_over_a_taken_key_does_what_the_mode_says(
    people: Caller, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    """replace, update (with `keep_none` and `merge`) or ignore."""
    old = {"_key": "a", "deep": {"x": 1}, "none": 1, "kept": True}
    before = await people("insert", document=old)
    meta = await people("insert", document={"_key": "a", "deep": {"y": 2}, "none": None}, **options)
    assert await people.document("a") == expected
    if options.get("overwrite_mode") == "ignore":
        assert meta == before
    else:
        assert meta["_old_rev"] == before["_rev"]
        assert meta["_rev"] != before["_rev"]


async def test_conflict_is_the_mode_that_refuses(people: Caller) -> None:
    """`overwrite_mode` decides also where `overwrite` says otherwise."""
    await people("insert", document={"_key": "a"})
    with pytest.raises(UniqueViolation):
        await people("insert", document={"_key": "a"}, overwrite_mode="conflict", overwrite=True)


async def test_both_versions_come_back_on_request(people: Caller) -> None:
    """`return_new` and `return_old` give whole documents; an insert has no old one."""
    made = await people("insert", document={"_key": "a", "n": 1}, return_new=True, return_old=True)
    assert plain(made["new"]) == {"n": 1}
    assert "old" not in made
    changed = await people(
        "update", document={"_key": "a", "n": 2}, return_new=True, return_old=True
    )
    assert (plain(changed["new"]), plain(changed["old"])) == ({"n": 2}, {"n": 1})
    assert changed["old"]["_rev"] == changed["_old_rev"] == made["_rev"]
    gone = await people("delete", document="a", return_old=True)
    assert gone == {
        "_id": "people/a",
        "_key": "a",
        "_rev": changed["_rev"],
        "old": changed["new"],
    }


async def test_silence_answers_true(people: Caller) -> None:
    """A silent write says that it happened and nothing else."""
    assert await people("insert", document={"_key": "a"}, silent=True) is True
    assert await people("update", document={"_key": "a", "n": 1}, silent=True) is True
    assert await people("replace", document={"_key": "a", "n": 2}, silent=True) is True
    assert await people.document("a") == {"n": 2}
    assert await people("delete", document="a", silent=True) is True


@pytest.mark.parametrize(
    ("patch", "options", "expected"),
    [
        ({"a": None}, {}, {"a": None, "o": {"x": 1, "n": None}, "l": [1, None]}),
        ({"a": None}, {"keep_none": False}, {"o": {"x": 1, "n": None}, "l": [1, None]}),
        ({"o": {"y": 2}}, {}, {"a": 1, "o": {"x": 1, "n": None, "y": 2}, "l": [1, None]}),
        ({"o": {"y": 2}}, {"merge": False}, {"a": 1, "o": {"y": 2}, "l": [1, None]}),
        (
            {"o": {"x": None, "new": {"p": None, "q": 1}}},
            {"keep_none": False},
            {"a": 1, "o": {"n": None, "new": {"q": 1}}, "l": [1, None]},
        ),
        (
            {"l": [None, 2]},
            {"keep_none": False},
            {"a": 1, "o": {"x": 1, "n": None}, "l": [None, 2]},
        ),
        ({"a": {"z": 1}}, {}, {"a": {"z": 1}, "o": {"x": 1, "n": None}, "l": [1, None]}),
        (
            {"_id": "people/a", "_rev": "ignored", "a": 3},
            {"check_rev": False},
            {"a": 3, "o": {"x": 1, "n": None}, "l": [1, None]},
        ),
    ],
)
async def test_an_update_merges_as_arangodb_does(
    people: Caller, patch: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Objects are merged, arrays replaced; nulls of the patch stay unless they are not wanted."""
    await people("insert", document={"_key": "a", "a": 1, "o": {"x": 1, "n": None}, "l": [1, None]})
    await people("update", document={"_key": "a", **patch}, **options)
    assert await people.document("a") == expected


async def test_a_patch_without_attributes_changes_no_revision(people: Caller) -> None:
    """ArangoDB takes it for done: same revision, no effect."""
    meta = await people("insert", document={"_key": "a", "n": 1})
    done = await people.done("update", document={"_key": "a"})
    assert done.result["_rev"] == meta["_rev"]
    assert not done.effects


async def test_a_replace_keeps_nothing_but_the_key(people: Caller) -> None:
    """Whatever the new document does not name is gone."""
    await people("insert", document={"_key": "a", "x": 1})
    meta = await people("replace", document={"_key": "a", "y": 2}, return_old=True)
    assert plain(meta["old"]) == {"x": 1}
    assert await people.document("a") == {"y": 2}


@pytest.mark.parametrize("operation", ["update", "replace", "delete"])
async def test_a_missing_document_is_not_found(people: Caller, operation: str) -> None:
    """ArangoDB's error 1202."""
    with pytest.raises(DocumentNotFound) as refusal:
        await people(operation, document={"_key": "none", "n": 1})
    assert refusal.value.error_code == 1202


async def test_a_missing_document_may_be_ignored(people: Caller) -> None:
    """`ignore_missing` answers False instead."""
    assert await people("delete", document="none", ignore_missing=True) is False


@pytest.mark.parametrize("operation", ["update", "replace", "delete", "get", "exists"])
async def test_another_revision_than_expected_is_refused(people: Caller, operation: str) -> None:
    """ArangoDB's error 1200 with the revision that stands there; unchecked it is no hindrance."""
    meta = await people("insert", document={"_key": "a", "n": 1})
    reference = {"_key": "a", "_rev": "_other", "n": 2}
    with pytest.raises(RevisionMismatch) as refusal:
        await people(operation, document=reference)
    assert refusal.value.error_code == 1200
    assert refusal.value.details == meta
    assert await people.document("a") == {"n": 1}
    assert await people(operation, document=reference, check_rev=False)


@pytest.mark.parametrize("operation", ["get", "exists", "delete"])
async def test_an_expected_revision_may_stand_beside_the_reference(
    people: Caller, operation: str
) -> None:
    """`rev` weighs more than the `_rev` inside the reference."""
    meta = await people("insert", document={"_key": "a"})
    with pytest.raises(RevisionMismatch):
        await people(operation, document={"_key": "a", "_rev": meta["_rev"]}, rev="_other")
    assert await people(operation, document={"_key": "a", "_rev": "_other"}, rev=meta["_rev"])


async def test_a_missing_document_has_no_revision_to_mismatch(people: Caller) -> None:
    """Where nothing is, an expected revision is no error for readers."""
    assert await people("get", document="none", rev="_x") is None
    assert await people("exists", document="none", rev="_x") is False


@pytest.mark.parametrize(
    "ends",
    [
        {"_to": "people/b"},
        {"_from": "people/a"},
        {"_from": "nonsense", "_to": "people/b"},
        {"_from": "people/a", "_to": "people/"},
        {"_from": "people/a/b", "_to": "people/b"},
        {"_from": "1people/a", "_to": "people/b"},
        {"_from": 7, "_to": "people/b"},
        {"_from": None, "_to": "people/b"},
    ],
)
async def test_an_edge_needs_two_ids(knows: Caller, ends: dict[str, Any]) -> None:
    """ArangoDB's error 1233, for inserts and replaces."""
    with pytest.raises(InvalidEdge) as refusal:
        await knows("insert", document=ends)
    assert refusal.value.error_code == 1233
    await knows("insert", document={"_key": "e", "_from": "people/a", "_to": "people/b"})
    with pytest.raises(InvalidEdge):
        await knows("replace", document={"_key": "e", **ends})


async def test_an_update_may_turn_an_edge_but_not_break_it(knows: Caller) -> None:
    """`_from` and `_to` can be changed to other ids and to nothing else."""
    edge = {"_key": "e", "_from": "people/a", "_to": "people/b", "w": 1}
    await knows("insert", document=edge)
    await knows("update", document={"_key": "e", "_to": "people/c"})
    assert await knows.document("e") == {"_from": "people/a", "_to": "people/c", "w": 1}
    for broken in (None, "nonsense"):
        with pytest.raises(InvalidEdge):
            await knows("update", document={"_key": "e", "_to": broken}, keep_none=False)


async def test_only_edges_have_ends(people: Caller) -> None:
    """ArangoDB leaves `_from` and `_to` out of documents that are no edges."""
    await people("insert", document={"_key": "a", "_from": "people/b", "_to": 1, "n": 1})
    await people("update", document={"_key": "a", "_from": "people/c", "m": 2})
    assert await people.document("a") == {"n": 1, "m": 2}


async def test_what_is_no_json_is_refused(people: Caller) -> None:
    """ArangoDB's error 1227; nothing is stored."""
    for value in (float("nan"), float("inf"), b"bytes", "\ud800"):
        with pytest.raises(InvalidDocument) as refusal:
            await people("insert", document={"value": value})
        assert refusal.value.error_code == 1227
    assert await people("count") == 0


async def test_numbers_keep_their_kind_and_their_digits(people: Caller) -> None:
    """Integers of 64 bits are exact, doubles come back as the same double."""
    numbers = [0, -1, 2**53 + 1, -(2**63), 2**64 - 1, 0.1, -0.0, 1e308, 5e-324, 1.0, 1e22]
    await people("insert", document={"_key": "a", "numbers": numbers})
    found = (await people("get", document="a"))["numbers"]
    assert [(type(n), n) for n in found] == [(type(n), n) for n in numbers]


async def test_a_collection_that_is_not_there_is_not_found(people: Caller) -> None:
    """ArangoDB's error 1203, for every operation on a collection's documents."""
    nobody = people.on("nobody")
    for operation, arguments in (
        ("get", {"document": "a"}),
        ("exists", {"document": "a"}),
        ("get-many", {"documents": ["a"]}),
        ("find", {}),
        ("count", {}),
        ("insert", {"document": {}}),
        ("insert-many", {"documents": [{}]}),
        ("delete", {"document": "a", "ignore_missing": True}),
        ("update-match", {"filters": {}, "body": {}}),
        ("truncate", {}),
        ("list-indexes", {}),
    ):
        with pytest.raises(CollectionNotFound) as refusal:
            await nobody(operation, **arguments)
        assert refusal.value.error_code == 1203


async def test_a_database_that_is_not_there_is_not_found(store: Store) -> None:
    """ArangoDB's error 1228."""
    with pytest.raises(DatabaseNotFound):
        await store.execute(make_work("get", "people", {"document": "a"}, database="other"))
    with pytest.raises(DatabaseNotFound):
        await store.recall("other", "key")


@pytest.mark.parametrize("name", ["redrive", "report-violation"])
async def test_what_the_worker_does_itself_is_refused_by_name(people: Caller, name: str) -> None:
    """The refusal names the operation."""
    work = make_work("count", "people", {})
    with pytest.raises(NotSupported, match=name):
        await people.store.execute(
            type(work)(OPERATIONS[name], "mallku", "people", work.arguments, work.deadline_ms)
        )


async def test_nothing_begins_after_the_deadline(people: Caller) -> None:
    """A work whose time is over leaves no trace, reads as well as writes."""
    late = now_ms() - 1
    works = [
        make_work("insert", "people", {"document": {"_key": "late"}}, deadline_ms=late),
        make_work("insert-many", "people", {"documents": [{"_key": "late"}]}, deadline_ms=late),
        make_work("truncate", "people", {}, deadline_ms=late),
        make_work("get", "people", {"document": "late"}, deadline_ms=late),
        make_work("find", "people", {}, deadline_ms=late),
    ]
    for work in works:
        with pytest.raises(DeadlineExceeded):
            await people.store.execute(work)
    assert await people("exists", document="late") is False


async def test_each_write_reports_its_effects_in_order(people: Caller) -> None:
    """Old revision, new revision and the whole new version, enough to rebuild the collection."""
    made = await people.done("insert", document={"_key": "a", "n": 1})
    changed = await people.done("update", document={"_key": "a", "n": 2})
    gone = await people.done("delete", document="a")
    [first], [second], [third] = made.effects, changed.effects, gone.effects
    assert (first.collection, first.key, first.old_rev) == ("people", "a", None)
    assert first.new == {**made.result, "n": 1}
    assert (second.old_rev, second.new_rev) == (first.new_rev, changed.result["_rev"])
    assert plain(second.new or {}) == {"n": 2}
    assert (third.old_rev, third.new_rev, third.new) == (second.new_rev, None, None)
    positions = [done.position for done in (made, changed, gone)]
    assert positions == sorted(positions, key=lambda position: position or 0)
    assert len(set(positions)) == 3


async def test_reads_have_neither_effects_nor_position(people: Caller) -> None:
    """What changes nothing says so."""
    for operation, arguments in (("get", {"document": "a"}), ("find", {}), ("count", {})):
        done = await people.done(operation, **arguments)
        assert (tuple(done.effects), done.position, done.replayed) == ((), None, None)


async def test_a_document_handed_out_is_the_callers_own(people: Caller) -> None:
    """What one reader does to its copy reaches neither another reader nor the store."""
    await people("insert", document={"_key": "a", "deep": {"x": 1}})
    first, second = await asyncio.gather(*(people("get", document="a") for _ in range(2)))
    first["deep"]["x"] = 99
    assert plain(second) == {"deep": {"x": 1}}
    assert await people.document("a") == {"deep": {"x": 1}}
