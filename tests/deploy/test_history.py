"""The history of a document: what the trail knows of it, and what it says it does not know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.audit import Record
from mallku_contracts.errors import ConfigurationError, DocumentNotFound
from mallku_contracts.trail.digests import Digests
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing import versions as versions_module
from mallku_deploy.auditing.changes import Change, changes_between, conceal
from mallku_deploy.auditing.hiding import HIDDEN, Hiding
from mallku_deploy.auditing.history import document_at, read_document, shown_versions
from mallku_deploy.auditing.version_lines import (
    MAX_SHOWN_CHANGES,
    as_map,
    describe,
    path_text,
    value_text,
)
from mallku_deploy.auditing.versions import History, State, Version, Wanted, at
from tests.deploy.shown_trail import HIDING, START_MS, command, effect

WANTED = Wanted("mallku", "people", "k")
NOTHING_HIDDEN = Hiding(None)
Told = tuple[TrailEntry, Record]


def _document(rev: str, **values: Any) -> dict[str, Any]:
    return {"_key": "k", "_id": "people/k", "_rev": rev, **values}


def _write(
    sequence: int, new: dict[str, Any] | None, old_rev: str | None = None, **more: Any
) -> Told:
    """One commit to the document, at the position of its sequence."""
    known: dict[str, Any] = {"position": sequence, "after_ms": 1_000 * sequence}
    known["effects"] = (effect("k", new, old_rev=old_rev),)
    return command(sequence, "done", **(known | more))


def _history(*told: Told, wanted: Wanted = WANTED) -> list[Version]:
    found = History(wanted)
    for entry, record in told:
        found.add(entry, record)
    return found.versions()


FIRST = _write(2, _document("a", n=1, tags=["x"]))
SECOND = _write(4, _document("b", n=2, tags=["x", "y"]), "a", operation="update")
REMOVED = _write(6, None, "b", operation="delete", principal="operator")


def test_versions_say_who_when_under_which_rule_and_what_changed() -> None:
    """From the first to the removal, against the version before."""
    first, second, removed = _history(FIRST, SECOND, REMOVED)
    assert first.changes == (Change("added", ("n",), new=1), Change("added", ("tags",), new=["x"]))
    assert second.changes == (
        Change("changed", ("n",), 1, 2),
        Change("added", ("tags", "1"), new="y"),
    )
    assert (second.principal, second.operation, second.rule) == ("mallku", "update", "writer/all")
    assert (second.time, second.sequence) == (START_MS + 4_000, 4)
    assert (removed.state, removed.principal, removed.changes) == (State.REMOVED, "operator", None)
    assert all(version.follows for version in (first, second, removed))


def test_commits_count_and_not_the_order_of_their_records() -> None:
    """Two workers may write their outcomes in another order than the store committed."""
    late = _write(9, _document("a", n=1), position=1)
    assert [version.new_rev for version in _history(SECOND, late)] == ["a", "b"]
    without = _write(3, _document("c"), "b", position=None)
    assert [one.new_rev for one in _history(FIRST, without, SECOND)] == ["a", "c", "b"]


def test_what_is_not_about_the_document_is_passed_over() -> None:
    """Other documents, other collections, other databases, failures, and answers given again."""
    others = [
        command(10, "done", effects=(effect("other", _document("x")),)),
        command(11, "done", effects=(effect("k", _document("x"), collection="animals"),)),
        _write(12, _document("x"), database="elsewhere"),
        _write(13, _document("x"), replayed_of="id-2"),
        command(14, "failed", code="unique_violation"),
        command(15, "resolved", resolution="not-applied"),
        command(16, "intent", arguments={"document": {"_key": "k"}}),
        command(17, "done", "truncate", "animals"),
    ]
    assert len(_history(FIRST, *others)) == 1
    assert _history(*others) == []


def test_transactions_and_queries_make_versions_too() -> None:
    """They stand under no collection; several versions may come of one commit."""
    effects = (
        effect("k", _document("a", n=1)),
        effect("other", _document("x")),
        effect("k", _document("b", n=2), old_rev="a"),
    )
    found = _history(command(5, "done", "transaction", None, effects=effects, position=5))
    assert [version.new_rev for version in found] == ["a", "b"]
    assert found[1].changes == (Change("changed", ("n",), 1, 2),)


@pytest.mark.parametrize("operation", ["truncate", "drop-collection"])
def test_what_empties_the_collection_removes_the_document(operation: str) -> None:
    """Such records name no document; the next version begins anew."""
    emptied = command(5, "done", operation, position=5)
    again = _write(7, _document("z", n=9))
    found = _history(FIRST, SECOND, emptied, emptied, again)
    assert [one.state for one in found] == ["document", "document", "removed", "document"]
    assert found[-1].follows
    assert found[-1].changes == (Change("added", ("n",), new=9),)
    assert _history(emptied, again)[0].operation == "insert"


def test_a_version_that_was_left_out_is_said_to_be() -> None:
    """The record was too large: its revision is known, and the next has nothing to compare with."""
    touched = effect("k", None, old_rev="a", omitted=True) | {"new_rev": "b"}
    omitted = _write(4, None, effects=(touched,))
    third = _write(8, _document("c", n=3), "b")
    found = _history(FIRST, omitted, third)
    assert (found[1].state, found[1].new_rev, found[1].changes) == (State.OMITTED, "b", None)
    assert (found[2].changes, found[2].follows) == (None, True)
    assert "too large" in _said(found[1])
    assert "made of revision b" in _said(found[2])


def test_records_that_name_no_document_may_have_changed_it() -> None:
    """All that such a record says is how many there were."""
    counted = command(5, "done", "update-match", effects=({"omitted": 40_000},), position=5)
    found = _history(FIRST, counted, SECOND)
    assert [one.state for one in found] == ["document", "document", "uncertain"]
    assert "may have changed it" in _said(found[2])


def test_a_version_that_does_not_follow_is_marked() -> None:
    """Its old revision is not the one before: something in between is not on this trail."""
    third = _write(8, _document("d", n=4), "c")
    found = _history(FIRST, SECOND, third)
    assert [one.follows for one in found] == [True, True, False]
    assert found[2].changes is None
    assert "does not hold what came between" in _said(found[2])


def test_the_trail_may_begin_after_the_document() -> None:
    """Its first version here was made of one that nobody recorded."""
    [only] = _history(SECOND)
    assert (only.changes, only.follows) == (None, True)
    assert "made of revision a" in _said(only)


def test_a_resolution_counts_once_and_less_than_the_outcome() -> None:
    """A reconciler told of it for a worker that died; an outcome that comes after all counts."""
    bare = effect("k", None, omitted=True) | {"new_rev": "a"}
    found_out: dict[str, Any] = {"resolution": "committed", "position": 2, "id": "id-2"}
    resolved = command(3, "resolved", effects=(bare,), **found_out)
    for told in ((resolved,), (resolved, resolved)):
        [version] = _history(*told)
        assert version.resolved
        assert "died before it could say so" in _said(version)
    for told in ((resolved, FIRST), (FIRST, resolved)):
        [version] = _history(*told)
        assert (version.resolved, version.state) == (False, State.DOCUMENT)


def test_hashes_are_said_to_be_hashes() -> None:
    """A digest is found by the hash of its key; what changed is seen, and no value."""
    digests = Digests(bytes(32))
    written = [(_document("a", n=1), None), (_document("b", n=2), "a")]
    told = [
        command(
            sequence,
            "done",
            effects=digests.effects([effect("k", new, old_rev=old)]),
            position=sequence,
        )
        for sequence, (new, old) in enumerate(written, 1)
    ]
    found = History(WANTED)
    for entry, record in told:
        found.add(entry, record)
    assert (found.versions(), found.hashed) == ([], 2)
    hashed = WANTED._replace(key=digests.of("k"))
    first, second = _history(*told, wanted=hashed)
    assert (first.state, second.state) == (State.DIGEST, State.DIGEST)
    assert second.changes == (Change("changed", ("n",), digests.of(1), digests.of(2)),)
    with pytest.raises(DocumentNotFound, match="keyed hashes"):
        document_at([first, second], second.time, hashed, NOTHING_HIDDEN)


def test_too_many_commits_let_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is counted."""
    monkeypatch.setattr(versions_module, "MAX_VERSIONS", 2)
    found = History(WANTED)
    for entry, record in (FIRST, SECOND, REMOVED):
        found.add(entry, record)
    assert found.left_out == 1
    assert [version.sequence for version in found.versions()] == [4, 6]


def test_a_spoilt_effect_is_not_taken_for_another() -> None:
    """Whoever reads is told which record it was."""
    with pytest.raises(KeyError):
        _history(command(1, "done", effects=({"collection": "people", "key": "k"},)))


# The document at a time


def _at(moment_ms: int, *told: Told) -> dict[str, Any]:
    return document_at(_history(*told), START_MS + moment_ms, WANTED, Hiding(HIDING))


def test_the_document_as_it_was() -> None:
    """The last version that was recorded by then, without what is hidden."""
    paid = _write(2, _document("a", n=1, salary=99999))
    assert _at(2_000, paid, SECOND) == _document("a", n=1, salary=HIDDEN)
    assert _at(3_999, paid, SECOND)["_rev"] == "a"
    assert _at(4_000, paid, SECOND)["_rev"] == "b"


@pytest.mark.parametrize(
    ("moment_ms", "told", "said"),
    [
        (1_999, (FIRST,), "not there yet"),
        (3_999, (SECOND,), "there before"),
        (6_000, (FIRST, SECOND, REMOVED), "removed by operator"),
    ],
)
def test_when_there_was_none_it_is_said_why(
    moment_ms: int, told: tuple[Told, ...], said: str
) -> None:
    """Not yet, not on this trail, or not any more."""
    with pytest.raises(DocumentNotFound, match=said):
        _at(moment_ms, *told)


def test_the_version_at_a_time_is_the_last_commit_by_then() -> None:
    """Both ends of the history, and the boundary itself."""
    found = _history(FIRST, SECOND)
    assert at(found, START_MS + 1_999) is None
    assert at(found, START_MS + 2_000) is found[0]
    assert at(found, START_MS + 10**9) is found[1]


# Changes


def test_changes_are_found_inside_maps_and_lists() -> None:
    """Each with its path; revisions say nothing; true is not 1."""
    old = {"_rev": "1", "a": {"b": [1, {"c": 2}], "x": 1}, "gone": None, "same": 1.0, "t": True}
    new = {"_rev": "2", "a": {"b": [1, {"c": 3}, 4], "y": 1}, "same": 1, "t": 1}
    assert changes_between(old, new) == [
        Change("changed", ("a", "b", "1", "c"), 2, 3),
        Change("added", ("a", "b", "2"), new=4),
        Change("added", ("a", "y"), new=1),
        Change("removed", ("a", "x"), old=1),
        Change("changed", ("t",), True, 1),
        Change("removed", ("gone",), old=None),
    ]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
_DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4)


@given(old=_DOCUMENTS, new=_DOCUMENTS)
def test_changes_lead_from_one_version_to_the_other(old: Any, new: Any) -> None:
    """Nothing is left out: the old version with the changes applied is the new one."""
    changed = {"root": _copied(old)}
    removals = [change for change in changes_between(old, new) if change.what == "removed"]
    for change in changes_between(old, new):
        if change.what != "removed":
            _put(changed["root"], change.path, change.new)
    for change in reversed(removals):
        _take(changed["root"], change.path)
    assert _tagged(changed["root"]) == _tagged(new)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _holder(value: Any, path: tuple[str, ...]) -> tuple[Any, Any]:
    for step in path[:-1]:
        value = value[int(step) if isinstance(value, list) else step]
    return value, int(path[-1]) if isinstance(value, list) else path[-1]


def _put(value: Any, path: tuple[str, ...], new: Any) -> None:
    holder, step = _holder(value, path)
    if isinstance(holder, list) and step == len(holder):
        holder.append(_copied(new))
    else:
        holder[step] = _copied(new)


def _take(value: Any, path: tuple[str, ...]) -> None:
    holder, step = _holder(value, path)
    del holder[step]


def _tagged(value: Any) -> Any:
    """Values that are equal in Python and not in JSON are told apart."""
    if isinstance(value, dict):
        return {name: _tagged(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return (isinstance(value, bool), value)


def test_hidden_fields_change_without_their_values() -> None:
    """That something changed may be seen: in the field, inside it, and in what holds it."""
    hidden = (("salary",), ("home", "street"), ("voices", "token"))
    changes = [
        Change("changed", ("salary",), 1, 2),
        Change("changed", ("salary", "base"), 1, 2),
        Change("added", ("home",), new={"street": "Calle Sol", "town": "Lima"}),
        Change("changed", ("voices", "0", "token"), "old", "new"),
        Change("added", ("voices",), new=[{"token": "t", "n": 1}]),
        Change("changed", ("name",), "Ana", "Inés"),
    ]
    shown = [conceal(change, hidden) for change in changes]
    assert [(one.old, one.new) for one in shown] == [
        (HIDDEN, HIDDEN),
        (HIDDEN, HIDDEN),
        (None, {"street": HIDDEN, "town": "Lima"}),
        (HIDDEN, HIDDEN),
        (None, [{"token": HIDDEN, "n": 1}]),
        ("Ana", "Inés"),
    ]


# How it is shown


def _said(version: Version) -> str:
    return "\n".join(line.plain for line in describe(1, version))


def test_people_see_signs_paths_and_short_values() -> None:
    """One line for each field; what drives a terminal is escaped."""
    second = _history(FIRST, SECOND)[1]
    assert _said(second).splitlines() == [
        "  1  2026-11-24T00:21:49.000Z  update by mallku  writer/all  seq 4",
        "     ~ n: 1 → 2",
        '     + tags[1]: "y"',
    ]
    assert path_text(("a", "0", "b c", "12")) == "a[0].b c[12]"
    assert value_text("x" * 500).endswith("x…")
    assert "\x9b" not in value_text("\x1b[2J\x9b")
    many = _document("a", **{f"f{number}": number for number in range(MAX_SHOWN_CHANGES + 5)})
    assert "and 5 more fields" in _said(_history(_write(2, many))[0])
    same = _history(FIRST, _write(4, _document("b", n=1, tags=["x"]), "a"))[1]
    assert "nothing changed" in _said(same)


def test_door_that_carried_a_version_is_named() -> None:
    """People read it behind the principal; machines find it beside it."""
    carried = _history(_write(2, _document("a", n=1), via={"door": "front"}))[0]
    assert "insert by mallku via front  " in _said(carried)
    assert as_map(carried)["via"] == "front"
    assert as_map(_history(FIRST)[0])["via"] is None


def test_machines_see_everything_but_what_is_hidden() -> None:
    """One map for each version, with document and changes."""
    paid = _write(2, _document("a", salary=99999))
    raised = _write(4, _document("b", salary=100000), "a")
    shown = shown_versions(_history(paid, raised, REMOVED), WANTED, Hiding(HIDING))
    first, second, third = map(as_map, shown)
    assert first["document"] == _document("a", salary=HIDDEN)
    assert second["changes"] == [
        {"what": "changed", "path": ["salary"], "old": HIDDEN, "new": HIDDEN}
    ]
    assert (third["state"], third["document"], third["changes"]) == ("removed", None, None)
    assert "9999" not in str([first, second, third])


@pytest.mark.parametrize("text", ["", "people", "people/", "/k"])
def test_what_names_no_document_is_said(text: str) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match="COLLECTION/KEY"):
        read_document(text, "mallku")


def test_keys_may_hold_slashes() -> None:
    """Everything behind the first one is the key, as in references."""
    assert read_document("people/a:b@c", "mallku") == Wanted("mallku", "people", "a:b@c")
