"""Collections that must not be copied: the trail never holds what was written to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.errors import AuditUnavailable
from mallku_contracts.trail.entry import read_entry
from mallku_workers.authorization import Authorizer
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.reconciling.question import read_question
from mallku_workers.stores.embedded import EmbeddedStore
from tests.workers.rebuilding.world import DIGESTS, World, started

SECRET = "rumi-maki-7141"
NUMBER = 7_141_714_171
DOCUMENT: dict[str, Any] = {"_key": SECRET, "name": SECRET, "deep": [{"n": NUMBER}]}
EVERYTHING: list[tuple[str, str | None, dict[str, Any]]] = [
    ("insert", "hidden", {"document": DOCUMENT, "return_new": True}),
    ("insert-many", "hidden", {"documents": [{**DOCUMENT, "_key": f"{SECRET}-2"}]}),
    ("get", "hidden", {"document": SECRET}),
    ("find", "hidden", {"filters": {"name": SECRET}}),
    ("update", "hidden", {"document": {"_key": SECRET, "more": SECRET}}),
    ("update-match", "hidden", {"filters": {"name": SECRET}, "body": {"x": NUMBER}}),
    ("upsert", "hidden", {"filters": {"_key": SECRET}, "insert": {}, "update": {"y": SECRET}}),
    (
        "transaction",
        None,
        {
            "steps": [
                {"operation": "insert", "collection": "people", "arguments": {"document": {}}},
                {
                    "operation": "update",
                    "collection": "hidden",
                    "arguments": {"document": {"_key": SECRET, "z": SECRET}},
                },
            ]
        },
    ),
    ("aql", None, {"query": f"FOR h IN hidden FILTER h.name == '{SECRET}' RETURN h"}),
    (
        "aql",
        None,
        {"query": "UPDATE @k WITH {w: @k} IN @@c", "bind_vars": {"k": SECRET, "@c": "hidden"}},
    ),
    ("aql", None, {"query": f"FOR v IN 1..1 ANY 'hidden/{SECRET}' GRAPH 'g' RETURN v"}),
    ("replace", "hidden", {"document": DOCUMENT}),
    ("delete", "hidden", {"document": SECRET}),
]


async def _made(world: World) -> None:
    for name in ("hidden", "people"):
        await world.call("create-collection", name)
    await world.call("create-graph", name="g", orphan_collections=["hidden"])


async def test_no_record_holds_a_value_of_a_hidden_collection(tmp_path: Path) -> None:
    """Whatever is done to it, by itself, in a transaction or by a query; nor its signed body."""
    async with started(EmbeddedStore(tmp_path / "store")) as world:
        await _made(world)
        for operation, collection, arguments in EVERYTHING:
            await world.call(operation, collection, **arguments)
        entries = world.entries()
    assert len(entries) == 2 * (len(EVERYTHING) + 3)
    packed = NUMBER.to_bytes(8)
    for entry in entries:
        assert SECRET.encode() not in entry.data, entry.subject
        assert packed not in entry.data, entry.subject
        assert not read_entry(entry.sequence, entry.subject, entry.data).problems


async def test_a_known_value_is_found_by_its_hash(tmp_path: Path) -> None:
    """In what was asked and in what came of it."""
    async with started(EmbeddedStore(tmp_path / "store")) as world:
        await _made(world)
        await world.call("insert", "hidden", document=DOCUMENT)
        intent, done = (Record.read(entry.data) for entry in world.entries()[-2:])
        sent = intent.command
    assert sent is not None
    assert (sent[1], sent[2]) == (b"", b"")
    assert intent.bound["audit"] == "digest"
    assert intent.bound["mutates"] is True
    assert intent.bound["asked"]["document"]["name"] == DIGESTS.of(SECRET)
    assert intent.bound["body"].startswith("hmac:")
    [effect] = done.effects
    assert (effect["collection"], effect["key"]) == ("hidden", DIGESTS.of(SECRET))
    assert effect["new"]["deep"] == [{"n": DIGESTS.of(NUMBER)}]
    assert effect["new_rev"].startswith("_")


async def test_other_collections_are_recorded_as_they_are(tmp_path: Path) -> None:
    """Only what has to do with a hidden one is hidden."""
    async with started(EmbeddedStore(tmp_path / "store")) as world:
        await _made(world)
        await world.call("insert", "people", document=DOCUMENT)
        await world.call(
            "aql", query="FOR p IN people FILTER p.name == @n RETURN p", bind_vars={"n": 1}
        )
        records = [Record.read(entry.data) for entry in world.entries()[-4:]]
    assert records[1].effects[0]["new"]["name"] == SECRET
    assert all("audit" not in record.bound for record in records)
    assert all(record.command is None or record.command[1] for record in records)


async def test_without_a_key_nothing_is_done_to_a_hidden_collection(tmp_path: Path) -> None:
    """A worker that cannot hash must not write; others are served."""
    async with started(EmbeddedStore(tmp_path / "store")) as world:
        await _made(world)
        world.worker.pipeline = replace(
            world.worker.pipeline,
            authorizer=Authorizer(QueryAuthorizer(world.store.collections_of)),
        )
        for operation, collection, arguments in EVERYTHING:
            with pytest.raises(AuditUnavailable):
                await world.call(operation, collection, **arguments)
        await world.call("insert", "people", document={})
        entries = world.entries()
    assert all(SECRET.encode() not in entry.data for entry in entries)


async def test_a_reconciler_can_still_ask_about_a_hidden_command(tmp_path: Path) -> None:
    """The protected part says under which key; what the body was it need not know."""
    async with started(EmbeddedStore(tmp_path / "store")) as world:
        await _made(world)
        await world.call("insert", "hidden", document=DOCUMENT)
        await world.call("aql", query="FOR h IN hidden RETURN h")
        records = [Record.read(entry.data) for entry in world.entries()]
    insert, query = (record for record in records if record.kind == "intent" and record.bound)
    asked = read_question(insert, skew_ms=0)
    assert (asked.mutates, asked.hidden, asked.fingerprint) == (True, True, b"")
    assert not read_question(query, skew_ms=0).mutates
