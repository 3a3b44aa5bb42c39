"""What refusals, errors and their timing tell of what one may not see."""

from __future__ import annotations

import gc
import json
import re
import time
from statistics import median
from typing import Any

import pytest

from mallku_contracts.operations import OPERATIONS, Scope
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import NOTES, SCRATCH, SECRET, VAULT
from tests.integration.world import exchange
from tests.support.simulated_caller import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNSEEN, MISSING = "v0", "x0"
"""A note of the victim's, and one that nobody has; the names are equally long."""

PROBES: dict[str, Any] = {
    "get": {"document": "KEY"},
    "exists": {"document": "KEY"},
    "get-many": {"documents": ["KEY"]},
    "find": {"filters": {"_key": "KEY"}},
    "count": {"filters": {"_key": "KEY"}},
    "update": {"document": {"_key": "KEY", "hit": True}},
    "update-many": {"documents": [{"_key": "KEY", "hit": True}]},
    "update-match": {"filters": {"_key": "KEY"}, "body": {"hit": True}},
    "replace": {"document": {"_key": "KEY"}, "return_old": True},
    "replace-many": {"documents": [{"_key": "KEY"}]},
    "replace-match": {"filters": {"_key": "KEY"}, "body": {"hit": True}},
    "delete": {"document": "KEY", "return_old": True},
    "delete-many": {"documents": ["KEY"], "return_old": True},
    "delete-match": {"filters": {"_key": "KEY"}},
}


async def _ask(attacker: Attacker, operation: str, arguments: Any, where: str | None) -> Answer:
    return await exchange(attacker.connection, attacker.caller.seal(operation, arguments, where))


def _with_key(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_key(item, key) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_key(item, key) for item in value]
    return key if value == "KEY" else value


def _words(answer: Answer, key: str) -> str:
    """What an answer says, without the key that was asked for."""
    said = {name: answer.body.get(name) for name in ("result", "error")}
    return str(said).replace(key, "KEY")


@pytest.mark.parametrize("operation", PROBES)
async def test_a_document_of_others_is_probed_for(
    arena: Arena, attacker: Attacker, operation: str
) -> None:
    """Under a `where`, one that is not to be seen is answered for in the words for none at all."""
    unseen, missing = [
        _words(await _ask(attacker, operation, _with_key(PROBES[operation], key), NOTES), key)
        for key in (UNSEEN, MISSING)
    ]
    assert unseen == missing
    assert SECRET not in unseen


async def test_a_key_that_is_taken_is_probed_for(arena: Arena, attacker: Attacker) -> None:
    """An insert tells that the key it named is taken, in every mode, and nothing of the document.

    That is what a unique key means; rules cannot take it back.
    """
    for mode in ("conflict", "ignore", "replace", "update"):
        body = {"document": {"_key": UNSEEN}, "overwrite_mode": mode, "return_old": True}
        answer = await _ask(attacker, "insert", body, NOTES)
        assert answer.error.code == "unique_violation"
        assert SECRET not in str(answer.body)
        assert "owner" not in str(answer.error.details)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("find", {"filters": {"token": SECRET}}),
        ("count", {"filters": {"token": SECRET}}),
        ("find", {"sort": [{"sort_by": "token"}]}),
        ("update-match", {"filters": {"token": SECRET}, "body": {"hit": True}}),
        ("delete-match", {"filters": {"token": SECRET}}),
        ("upsert", {"filters": {"token": SECRET}, "insert": {}, "update": {}}),
        ("insert", {"document": {"token": "mine"}}),
    ],
)
async def test_a_hidden_field_is_probed_for(
    arena: Arena, attacker: Attacker, operation: str, arguments: Any
) -> None:
    """Nobody filters, sorts or writes by a field that they do not see: refused unsearched."""
    error = (await _ask(attacker, operation, arguments, NOTES)).error
    assert error.code == "permission_denied"
    assert error.details["rule"] == "small/own"
    assert SECRET not in error.message


async def test_a_hidden_field_is_given_back(arena: Arena, attacker: Attacker) -> None:
    """Not even in a document of one's own, by whichever way it is read."""
    key = f"own-{attacker.principal}"
    mine = {"_key": key, "owner": attacker.principal, "token": SECRET}
    notes = arena.operator.collection(NOTES)
    await notes.insert(mine)
    try:
        commands: dict[str, Any] = {
            "get": {"document": key},
            "find": {},
            "get-many": {"documents": [key]},
            "update": {"document": {"_key": key, "n": 1}, "return_old": True, "return_new": True},
            "replace": {"document": {"_key": key}, "return_old": True, "return_new": True},
            "insert": {
                "document": {"_key": key},
                "overwrite_mode": "update",
                "return_old": True,
                "return_new": True,
            },
            "upsert": {
                "filters": {"_key": key},
                "insert": {},
                "update": {"n": 2},
                "return_new": True,
                "return_old": True,
            },
        }
        for operation, arguments in commands.items():
            answer = await _ask(attacker, operation, arguments, NOTES)
            assert answer.result
            assert SECRET not in str(answer.body)
        stored = await notes.get(key)
        assert stored is not None
        assert stored["token"] == SECRET
    finally:
        await notes.delete(key)


async def test_a_query_looks_past_the_document_rules(arena: Arena, attacker: Attacker) -> None:
    """Raw AQL on a collection under `where`, `set` or `hide` is refused, not weakened."""
    for query in (
        "FOR n IN notes RETURN n",
        "RETURN LENGTH(notes)",
        "FOR s IN scratch FOR n IN notes FILTER n.token == s.guess RETURN 1",
        "FOR n IN notes REMOVE n IN notes",
        "INSERT {owner: 'mallku'} INTO notes",
        "RETURN DOCUMENT('notes/v0')",
    ):
        error = (await _ask(attacker, "aql", {"query": query}, None)).error
        assert error.code in {"permission_denied", "not_supported"}
        assert SECRET not in str(error.to_wire())


async def test_a_transaction_looks_past_the_document_rules(
    arena: Arena, attacker: Attacker
) -> None:
    """A step is held to the same rules as the operation alone."""
    for operation, arguments in (
        ("update", {"document": {"_key": UNSEEN, "hit": True}, "return_old": True}),
        ("delete-match", {"filters": {"token": SECRET}}),
        ("replace", {"document": {"_key": UNSEEN}, "return_old": True}),
    ):
        step = {"operation": operation, "collection": NOTES, "arguments": arguments}
        error = (await _ask(attacker, "transaction", {"steps": [step]}, None)).error
        assert error.code in {"document_not_found", "permission_denied", "not_supported"}
        assert SECRET not in str(error.to_wire())


async def test_a_collection_is_probed_for(arena: Arena, attacker: Attacker) -> None:
    """One that may not be used is refused in the words for one that there is not."""
    words = []
    for name in (VAULT, "fault"):
        error = (await _ask(attacker, "get", {"document": "k"}, name)).error
        words.append(str(error.to_wire()).replace(name, "NAME"))
    assert words[0] == words[1]
    assert "permission_denied" in words[0]
    listed = (await _ask(attacker, "list-collections", {}, None)).result
    assert {info["name"] for info in listed} <= {NOTES, SCRATCH, "fc_decisions"}


async def test_a_collection_is_probed_for_by_a_query(arena: Arena, attacker: Attacker) -> None:
    """The same holds for collections that a query or a transaction names."""
    for operation, arguments in (
        ("aql", {"query": "FOR d IN NAME RETURN d"}),
        ("aql", {"query": "RETURN DOCUMENT('NAME/v0')"}),
        (
            "transaction",
            {
                "steps": [
                    {
                        "operation": "insert",
                        "collection": "NAME",
                        "arguments": {"document": {}},
                    }
                ]
            },
        ),
    ):
        words = []
        for name in (VAULT, "fault"):
            asked = json.loads(json.dumps(arguments).replace("NAME", name))
            error = (await _ask(attacker, operation, asked, None)).error
            words.append(str(error.to_wire()).replace(name, "NAME"))
        assert words[0] == words[1]


async def test_what_became_of_somebody_elses_command_is_asked(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """A command of the victim, by its id, is unknown to anybody else, as one that never was."""
    sent = victim.caller.seal("insert", {"document": {"kind": SECRET}}, SCRATCH)
    await exchange(victim.connection, sent)
    words = []
    for name in (sent.header.id, "0" * 36):
        answer = await _ask(attacker, "outcome", {"id": name}, None)
        words.append(_words(answer, name))
        answer = await _ask(attacker, "outcome", {"idempotency_key": name}, None)
        words.append(_words(answer, name))
    assert words[:2] == words[2:]
    assert SECRET not in str(words)


_LEAKS = re.compile(
    r"Traceback|File \"|site-packages|sqlite|\.py\b|/tmp/|0x[0-9a-f]{6}", re.IGNORECASE
)


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {"next"}))
async def test_errors_tell_of_the_inside(arena: Arena, operation: str) -> None:
    """Whatever is asked, an error is a coded one: no path, no statement, no trace of a program."""
    where = SCRATCH if OPERATIONS[operation].scope is Scope.COLLECTION else None
    if operation in {"drop-collection", "truncate"}:
        where = "missing"
    odd: list[Any] = [
        {},
        {"document": None},
        {"document": []},
        {"document": "a/b/c"},
        {"document": "\u0000"},
        {"document": {"_key": "'; DROP TABLE documents; --"}},
        {"documents": [{}, 1, "x" * 300]},
        {"filters": {"a.b.c.'": {"$gt": 1}}},
        {"filters": {"\u0000": 1}, "body": {"_id": 1}},
        {"query": "FOR x IN (", "bind_vars": {"@c": 1}},
        {"query": "RETURN " + "(" * 500},
        {"fields": ["'"], "name": "'"},
        {"name": "'", "edge_definitions": []},
        {"cursor": "'", "page": 1},
        {"index": "'"},
        {"id": "\u0000"},
        {"steps": [{"operation": "x", "collection": "'", "arguments": {}}]},
    ]
    async with arena.attacker(wide=True) as attacker:
        for arguments in odd:
            answer = await _ask(attacker, operation, arguments, where)
            if "error" in answer.body:
                assert answer.error.code != "internal", arguments
                assert not _LEAKS.search(str(answer.body["error"])), arguments


PAIRS = 150
"""Pairs of questions whose times are compared."""

NOISE = 1.6
"""By how much two medians of the same thing may differ on a busy machine."""


async def test_refusals_are_timed_to_find_a_document(arena: Arena, attacker: Attacker) -> None:
    """One that is not to be seen takes as long as one that is not there, as far as can be told.

    Asked in turns, so that both meet the same machine; medians, so that its pauses count for
    nothing. Documents of a size: how long the store reads a large one is not hidden.
    """
    took: dict[str, list[float]] = {UNSEEN: [], MISSING: []}
    gc.collect()
    for _ in range(PAIRS):
        for key, times in took.items():
            sent = attacker.caller.seal("get", {"document": key}, NOTES)
            begun = time.perf_counter()
            await exchange(attacker.connection, sent)
            times.append(time.perf_counter() - begun)
    unseen, missing = median(took[UNSEEN]), median(took[MISSING])
    assert max(unseen, missing) / min(unseen, missing) < NOISE


async def test_refusals_are_timed_to_find_a_collection(arena: Arena, attacker: Attacker) -> None:
    """A collection that may not be used is refused as fast as one that there is not."""
    took: dict[str, list[float]] = {VAULT: [], "fault": []}
    for _ in range(PAIRS):
        for name, times in took.items():
            sent = attacker.caller.seal("get", {"document": "k"}, name)
            begun = time.perf_counter()
            await exchange(attacker.connection, sent)
            times.append(time.perf_counter() - begun)
    there, missing = median(took[VAULT]), median(took["fault"])
    assert max(there, missing) / min(there, missing) < NOISE
