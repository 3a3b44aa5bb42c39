"""What a rebuild makes of a trail that does not hold everything, and of one that is interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    CollectionExists,
    NotSupported,
    UniqueViolation,
)
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.rebuilding import Wanted
from mallku_workers.stores import asking
from mallku_workers.stores.copying import open_target, read_spec
from mallku_workers.stores.copying.sides import Credentials
from mallku_workers.stores.embedded import EmbeddedStore
from tests.workers.rebuilding.losing import (
    Alter,
    altered,
    counted,
    is_repeatable,
    resolved,
    without_versions,
)
from tests.workers.rebuilding.world import DATABASE, Job, World, described, live, started

EDGE = {"_from": "people/a", "_to": "people/b"}
# What records leave out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lose", [counted, without_versions])
async def test_what_records_leave_out_is_carried_out_again(
    tmp_path: Path, job: Job, lose: Alter, seed: int
) -> None:
    """Under the rules and bind values that it was bound to, at its own place among the others."""
    lost = 0

    def alter(intent: Record, record: Record) -> Record | None:
        nonlocal lost
        if not record.effects or not is_repeatable(intent):
            return record
        lost += 1
        return lose(intent, record)

    async with started(EmbeddedStore(tmp_path / "source")) as world:
        await live(world, 100 + seed, 300)
        rebuilt = await job.run(altered(world.entries(), alter))
        found = await job.compared(world.store)
    assert lost > 60
    assert rebuilt.whole, (rebuilt.missing, rebuilt.lost)
    assert found.same, described(found)


@pytest.mark.parametrize("data", [b"\xc1", b"\x81\xa1v\x01", b""])
async def test_one_record_that_cannot_be_read_is_missing(
    world: World, job: Job, data: bytes
) -> None:
    """It is named, and everything else is there: nobody stops a rebuild with one record."""
    for key in "abc":
        await world.call("insert", "people", document={"_key": key})
    entries = world.entries()
    place = next(n for n, one in enumerate(entries) if one.subject.endswith("insert.done"))
    entries[place] = entries[place]._replace(data=data)
    rebuilt = await job.run(entries)
    assert not rebuilt.whole
    [said] = rebuilt.missing
    assert f"record {entries[place].sequence} (done of insert on people by mallku)" in said
    [people] = (await job.compared(world.store)).collections
    assert [key for key, _ in people.differences] == ["a"]


async def test_what_a_reconciler_found_counts_as_done(tmp_path: Path, job: Job) -> None:
    """Its resolutions take the place of outcomes that were never written."""
    async with started(EmbeddedStore(tmp_path / "source")) as world:
        await live(world, 5, 200)
        rebuilt = await job.run(altered(world.entries(), resolved))
        found = await job.compared(world.store)
    assert rebuilt.whole
    assert found.same, described(found)


@pytest.mark.parametrize(
    ("worker", "code", "rule"),
    [("w2", "replayed", "r/1"), ("w2", "throttled", "r/1"), ("", "replayed", None)],
)
async def test_a_command_that_is_sent_again_takes_nothing_away(
    world: World, job: Job, worker: str, code: str, rule: str | None
) -> None:
    """Anybody may send the same bytes while it is under way; that refusal ends no intent."""
    await world.call("create-collection", "more")
    entries = world.entries()
    place = next(n for n, entry in enumerate(entries) if "create-collection" in entry.subject)
    intent = Record.read(entries[place].data)
    refusal = replace(
        intent, kind="denied", worker=worker or intent.worker, code=code, rule=rule, command=None
    )
    subject = entries[place].subject.removesuffix("intent") + "denied"
    refused = entries[place]._replace(subject=subject, data=refusal.pack())
    told = [*entries[: place + 1], refused, *entries[place + 1 :]]
    rebuilt = await job.run([each._replace(sequence=n) for n, each in enumerate(told, 1)])
    assert rebuilt.whole, rebuilt.missing


async def test_an_outcome_takes_the_place_of_what_a_reconciler_found(
    world: World, job: Job
) -> None:
    """One that was late in coming; the commit counts once."""
    await world.call("insert", "people", document={"_key": "a", "n": 1})
    entries = world.entries()
    poorer = altered(entries, lambda i, r: resolved(i, without_versions(i, r)))
    again = [entry._replace(sequence=entry.sequence + len(poorer)) for entry in entries]
    rebuilt = await job.run([*poorer, *again])
    assert rebuilt.whole
    assert (await job.compared(world.store)).same


async def test_keys_that_nobody_recorded_are_missing_by_name(world: World, job: Job) -> None:
    """No other store would make the same key: the record and the command are named."""
    await world.call("insert", "people", document={"n": 1})
    await world.call("aql", query="INSERT {n: 2} INTO people")
    await world.call("insert", "people", document={"_key": "kept"})

    def alter(intent: Record, record: Record) -> Record:
        return record if not record.effects or is_repeatable(intent) else counted(intent, record)

    rebuilt = await job.run(altered(world.entries(), alter))
    assert not rebuilt.whole
    assert [text.split(" (")[0] for text in rebuilt.missing] == [
        "record 4: insert on people",
        "record 6: aql on @",
    ]
    found = await job.compared(world.store)
    assert {what for _, what in found.collections[0].differences} == {"missing"}
    assert found.collections[0].found == 1


async def test_a_version_that_was_lost_matters_only_while_it_is_the_last(
    world: World, job: Job
) -> None:
    """Where a later one is recorded, nothing is missing; else the document is named."""
    for key in ("a", "b"):
        await world.call("insert", "people", document={"n": 1, "_key": key})
    await world.call("update", "people", document={"_key": "a", "n": 2})

    def alter(intent: Record, record: Record) -> Record:
        if not intent.subject.endswith("insert"):
            return record
        return without_versions(intent, record)

    entries = [
        entry if not entry.subject.endswith("insert.intent") else _bodiless(entry)
        for entry in altered(world.entries(), alter)
    ]
    rebuilt = await job.run(entries)
    assert rebuilt.lost == ["people/b"]
    assert not rebuilt.missing
    assert not rebuilt.whole


def _bodiless(entry: TrailEntry) -> TrailEntry:
    record = Record.read(entry.data)
    protected, _, _, key = record.command or (b"", b"", b"", b"")
    return entry._replace(data=replace(record, command=(protected, b"", b"", key)).pack())


async def test_commits_that_nobody_can_place_are_missing(world: World, job: Job) -> None:
    """A change of the catalog that was begun, crashed, and is there: its place is not known."""
    await world.call("insert", "people", document={"_key": "a"})
    entries = altered(
        world.entries(),
        lambda i, r: replace(resolved(i, r), position=None) if "insert" in i.subject else r,
    )
    rebuilt = await job.run(entries)
    assert len(rebuilt.missing) == 1
    assert "nobody recorded where" in rebuilt.missing[0]


async def test_commands_without_outcome_are_named(world: World, job: Job) -> None:
    """They may have been carried out; reads, which changed nothing, are not."""
    await world.call("insert", "people", document={"_key": "a"})
    await world.call("aql", query="FOR p IN people RETURN p")
    await world.call("aql", query="FOR p IN people REMOVE p IN people")
    entries = altered(world.entries(), lambda i, r: r if "create" in i.subject else None)
    rebuilt = await job.run(entries)
    kinds = sorted(text.rpartition(".")[2] for text in rebuilt.unresolved)
    assert kinds == ["aql", "insert"]


async def test_changes_past_the_gateway_are_noticed(world: World, job: Job) -> None:
    """Revisions tell that a version is not on the trail, and collections that no record makes."""
    await world.call("insert", "people", document={"_key": "a", "n": 1})
    await asking.ask(world.store, DATABASE, "update", "people", document={"_key": "a", "n": 2})
    await world.call("update", "people", document={"_key": "a", "m": 3})
    await asking.ask(world.store, DATABASE, "create-collection", "knows", edge=True)
    await world.call("insert", "knows", document={"_key": "e", **EDGE})
    rebuilt = await job.run(world.entries())
    assert rebuilt.whole
    assert len(rebuilt.gaps) == 1
    assert "people/a" in rebuilt.gaps[0]
    assert rebuilt.implied == ["knows"]
    found = await job.compared(world.store)
    assert found.same, described(found)


# Which part of the trail


async def test_the_past_is_rebuilt_as_it_was(world: World, job: Job) -> None:
    """Up to a sequence, nothing of what came later is there."""
    await world.call("insert", "people", document={"_key": "a", "n": 1})
    until = len(world.entries())
    await world.call("truncate", "people")
    await world.call("create-collection", "pets")
    await job.run(world.entries()[:until])
    async with open_target(read_spec(job.target), Credentials()) as side:
        assert (await side.ask("get", "people", document="a"))["n"] == 1
        assert [one["name"] for one in await side.ask("list-collections")] == ["people"]


async def test_some_collections_are_rebuilt_alone(tmp_path: Path, job: Job) -> None:
    """With their indexes, and the graphs of these alone."""
    some = replace(job, wanted=Wanted(DATABASE, frozenset({"people", "pets"})))
    async with started(EmbeddedStore(tmp_path / "source")) as world:
        await live(world, 11, 250)
        rebuilt = await some.run(world.entries())
        found = await some.compared(world.store)
        async with open_target(read_spec(job.target), Credentials()) as side:
            names = {one["name"] for one in await side.ask("list-collections")}
    assert rebuilt.whole
    assert found.same, described(found)
    assert names
    assert names <= {"people", "pets"}


async def test_a_database_with_something_in_it_is_refused(world: World, job: Job) -> None:
    """By name, before anything is written."""
    async with open_target(read_spec(job.target), Credentials()) as side:
        await side.ask("create-collection", "others")
    with pytest.raises(CollectionExists, match="others"):
        await job.run(world.entries())


async def test_a_unique_value_may_have_been_another_documents_before(
    world: World, job: Job
) -> None:
    """Indexes come last: in between, recorded versions may meet in any way."""
    await world.call("create-index", "people", fields=["email"], unique=True)
    await world.call("insert", "people", document={"_key": "b", "email": "x"})
    await world.call("update", "people", document={"_key": "b", "email": "y"})
    await world.call("insert", "people", document={"_key": "a", "email": "x"})
    await job.run(world.entries())
    assert (await job.compared(world.store)).same
    async with open_target(read_spec(job.target), Credentials()) as side:
        with pytest.raises(UniqueViolation):
            await side.ask("insert", "people", document={"email": "x"})


async def test_indexes_are_dropped_by_whatever_names_them(world: World, job: Job) -> None:
    """Names that a store made by itself, and ids, are the source's: the trail tells which."""
    by_id = await world.call("create-index", "people", fields=["a"])
    by_name = await world.call("create-index", "people", fields=["b"])
    await world.call("create-index", "people", fields=["c"])
    await world.call("drop-index", "people", index=by_id["id"])
    await world.call("drop-index", "people", index=by_name["name"])
    await job.run(world.entries())
    found = await job.compared(world.store)
    assert found.same, described(found)


# What must not be copied


async def test_hashed_collections_are_refused_by_name(world: World, job: Job) -> None:
    """Before anything is written; the others can be named."""
    await world.call("create-collection", "hidden")
    await world.call("insert", "hidden", document={"_key": "a", "name": "secret"})
    await world.call("insert", "people", document={"_key": "a"})
    with pytest.raises(NotSupported, match="hidden"):
        await job.run(world.entries())
    others = replace(job, wanted=Wanted(DATABASE, frozenset({"people"})))
    job.file().remove()
    assert (await others.run(world.entries())).whole
