"""What calls mean for the documents that they name."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.errors import DocumentNotFound, RevisionMismatch
from mallku_deploy.checking.history import Call
from mallku_deploy.checking.parts import WIDE, parts_of
from mallku_deploy.checking.register import ABSENT, Part, Register, canonical


def _call(operation: str, arguments: dict[str, Any], result: Any = None, **fields: Any) -> Call:
    told: dict[str, Any] = {"outcome": "done", "end": 2}
    who = ("c", 1, "mallku", "mallku", "anchors")
    mutates = operation not in ("get", "get-many", "find")
    return Call(*who, operation, mutates, "k", "i", arguments, 1, result=result, **(told | fields))


def _ways(call: Call) -> dict[str, tuple[tuple[Part, ...], ...]]:
    return {document.key: one.ways for document, one in parts_of(call).items()}


def test_a_batch_is_one_write_for_each_document() -> None:
    """What was refused did nothing, or saw something; the others wrote."""
    arguments = {"documents": [{"_key": "a", "n": 1}, {"_key": "b"}, {"_key": "c"}]}
    missing = {"error": {"code": DocumentNotFound.code}}
    result = [{"_key": "a", "_rev": "2", "_old_rev": "1"}, missing, True]
    ways = _ways(_call("replace-many", arguments, result))
    assert ways["a"][0][0] == Part("put", True, "1", new_rev="2", body=canonical({"n": 1}))
    assert ways["b"] == ((Part("see", there=False),),)
    assert ways["c"][0][0].new_rev is None


def test_a_document_named_twice_is_written_twice_at_once() -> None:
    """The steps of a transaction follow each other, and nobody comes in between."""
    steps = [
        {"operation": "insert", "collection": "x", "arguments": {"document": {"_key": "a"}}},
        {"operation": "delete", "collection": "x", "arguments": {"document": "a"}},
    ]
    results = [{"_key": "a", "_rev": "1"}, {"_key": "a", "_rev": "1"}]
    call = _call("transaction", {"steps": steps}, results)
    [(document, operation)] = parts_of(call).items()
    assert document.collection == "x"
    assert operation.apply(ABSENT) == [ABSENT]
    assert operation.apply(Register(there=True)) == []


def test_what_an_overwriting_insert_may_have_done() -> None:
    """Without an old revision it may have been either; with one, it was no insert."""
    arguments = {"document": {"_key": "a", "n": 1}, "overwrite_mode": "replace"}
    unknown = parts_of(_call("insert", arguments, outcome="outcome_unknown"))
    [operation] = unknown.values()
    assert operation.end is None
    assert len(operation.ways) == 2
    known = _ways(_call("insert", arguments, {"_key": "a", "_rev": "2", "_old_rev": "1"}))
    assert [way[0].rev for way in known["a"]] == ["1"]


@pytest.mark.parametrize(
    ("mode", "state", "body"),
    [("update", {"m": 1}, {"m": 1, "n": 2}), ("ignore", {"m": 1}, {"m": 1})],
)
def test_modes_of_an_insert(mode: str, state: dict[str, Any], body: dict[str, Any]) -> None:
    """What they leave where a document stands already."""
    arguments = {"document": {"_key": "a", "n": 2}, "overwrite_mode": mode}
    [operation] = parts_of(_call("insert", arguments)).values()
    [after] = operation.apply(Register(True, "1", canonical(state)))
    assert after.body == canonical(body)


def test_refusals_that_say_something_of_the_document() -> None:
    """It was missing, or had another revision; every other refusal says nothing."""
    document = {"_key": "a", "_rev": "7"}
    missing = _call("update", {"document": document}, outcome="failed", code=DocumentNotFound.code)
    assert _ways(missing) == {"a": ((Part("see", there=False),),)}
    other = _call("update", {"document": document}, outcome="failed", code=RevisionMismatch.code)
    assert _ways(other) == {"a": ((Part("see", there=True, other_than="7"),),)}
    assert _ways(_call("update", {"document": document}, outcome="failed", code="busy")) == {}
    assert _ways(_call("insert", {"document": document}, outcome="failed", code="busy")) == {}


def test_a_patch_follows_the_manual() -> None:
    """Objects are merged unless told not to; null removes where `keep_none` is false."""
    before = Register(True, "1", canonical({"a": {"x": 1}, "b": 1}))

    def patched(**options: Any) -> str | None:
        arguments = {"document": {"_key": "k", "a": {"y": None}, "b": 2.0}, **options}
        [operation] = parts_of(_call("update", arguments)).values()
        return operation.apply(before)[0].body

    assert patched() == canonical({"a": {"x": 1, "y": None}, "b": 2})
    assert patched(merge=False) == canonical({"a": {"y": None}, "b": 2})
    assert patched(keep_none=False) == canonical({"a": {"x": 1}, "b": 2})


def test_reads_show_what_stands_there() -> None:
    """By one key, by several, and by a search, which says nothing of what it does not show."""
    found = {"_key": "a", "_rev": "1", "n": 1}
    seen = ((Part("see", True, "1", canonical(found)),),)
    absent = ((Part("see", there=False),),)
    assert _ways(_call("get", {"document": "anchors/a"}, found)) == {"a": seen}
    both = _call("get-many", {"documents": ["a", {"_key": "b"}]}, [found])
    assert _ways(both) == {"a": seen, "b": absent}
    assert _ways(_call("find", {}, {"documents": [found], "more": False})) == {"a": seen}


@pytest.mark.parametrize("operation", sorted(WIDE))
def test_what_names_no_documents_is_left_to_the_trail(operation: str) -> None:
    """No document is guessed."""
    assert parts_of(_call(operation, {"filters": {"a": 1}, "document": {"_key": "a"}})) == {}


def test_an_answer_from_memory_shows_no_other_version() -> None:
    """Documents in it are read again later, and are not what the first answer showed."""
    result = {"_key": "a", "_rev": "2", "_old_rev": "1", "old": {"n": 666}}
    call = _call("replace", {"document": {"_key": "a"}}, result, replayed=True)
    assert _ways(call)["a"][0][0].found is None
