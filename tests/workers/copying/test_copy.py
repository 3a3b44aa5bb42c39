"""Copies between stores: whole, resumed, refused, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import (
    CollectionExists,
    InvalidDocument,
    Unavailable,
    UniqueViolation,
)
from mallku_contracts.limits import MIB
from mallku_workers.stores import asking
from mallku_workers.stores.base import Done, Work
from mallku_workers.stores.copying import (
    StateFile,
    copy,
    open_source,
    open_target,
    read_spec,
)
from mallku_workers.stores.copying.documents import BATCH_BYTES, BATCH_DOCUMENTS
from tests.support.simulated_arango import SimulatedArango
from tests.workers.copying.copies import (
    KEYS,
    NOBODY,
    Bent,
    Noted,
    content,
    copied,
    embedded,
    fill,
    sides,
)


async def test_everything_arrives(tmp_path: Path) -> None:
    """Documents with their keys, edges, indexes and graphs; the state is gone, progress told."""
    source, target = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    await fill(source)
    watch = Noted()
    found = await copied(source, target, tmp_path / "state", watch=watch)
    assert [(one.collection, one.documents, one.same) for one in found] == [
        ("empty", 0, True),
        ("knows", 100, True),
        ("people", len(KEYS), True),
    ]
    assert await content(source) == await content(target)
    assert not (tmp_path / "state").exists()
    assert ("copy", "people", len(KEYS)) in watch.begun
    assert ("verify", "people", len(KEYS)) in watch.begun
    assert watch.documents == 2 * (len(KEYS) + 100)


async def test_to_arangodb_and_back(tmp_path: Path, server: SimulatedArango) -> None:
    """A round trip through the other store changes nothing, and its ledger does not travel."""
    source, back = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    middle = read_spec(f"arango:{server.url}#mallku")
    await fill(source, 1_200)
    there = await copied(source, middle, tmp_path / "one")
    assert all(one.same for one in there)
    again = await copied(middle, back, tmp_path / "two")
    assert [one.source_digest for one in again] == [one.source_digest for one in there]
    assert await content(source) == await content(back)


async def test_a_source_is_only_read(tmp_path: Path, server: SimulatedArango) -> None:
    """Copying from an ArangoDB makes no ledger and sends no write."""
    source = read_spec(f"arango:{server.url}#mallku")
    target = embedded(tmp_path, "b")
    with server.databases["mallku"].session() as session:
        server.databases["mallku"].create_collection(session, "people", edge=False)
    assert all(one.same for one in await copied(source, target, tmp_path / "state"))
    asked = {f"{asked.method} {asked.path}" for asked in server.asked}
    assert not any(line.startswith(("PUT", "PATCH", "DELETE")) for line in asked)
    assert {line for line in asked if line.startswith("POST")} == {
        "POST /_open/auth",
        "POST /_api/cursor",
    }
    assert "mallku_ledger" not in str(asked)


async def test_an_interrupted_copy_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure half-way only the rest is copied, and nothing is there twice."""
    monkeypatch.setattr("mallku_workers.stores.copying.state.SAVE_EVERY_S", 0.0)
    source, target, state = embedded(tmp_path, "a"), embedded(tmp_path, "b"), tmp_path / "state"
    await fill(source)
    batches = 0

    def full(work: Work) -> None:
        nonlocal batches
        if work.operation.name == "insert-many" and work.collection == "people":
            batches += 1
            if batches > 1:
                raise Unavailable("the database cannot be used: SQLITE_FULL")

    with pytest.raises(Unavailable, match="SQLITE_FULL"):
        await copied(source, target, state, bend_target=full)
    assert batches == 1 + asking.TRIES
    kept = json.loads(state.read_text())["collections"]["people"]
    assert kept == {"after": KEYS[BATCH_DOCUMENTS - 1], "documents": BATCH_DOCUMENTS, "done": False}
    sent: list[str] = []

    def listen(work: Work) -> None:
        if work.operation.name == "insert-many":
            arguments: Any = work.arguments
            sent.extend(document["_key"] for document in arguments.documents)

    assert all(one.same for one in await copied(source, target, state, bend_target=listen))
    assert sent == KEYS[BATCH_DOCUMENTS:]
    assert await content(source) == await content(target)


async def test_a_batch_may_be_sent_twice(tmp_path: Path) -> None:
    """An answer that was lost, or a state that is behind, leaves neither gaps nor doubles."""
    source, target, state = embedded(tmp_path, "a"), embedded(tmp_path, "b"), tmp_path / "state"
    await fill(source)
    lost = iter([True])

    class Losing(Bent):
        async def execute(self, work: Work) -> Done:
            done = await super().execute(work)
            if work.operation.name == "insert-many" and next(lost, False):
                raise Unavailable("the answer was lost on its way")
            return done

    async with sides(source, target) as (one, other):
        with StateFile(state, str(source), str(target)) as file:
            found = await copy(one, Losing(other).bent, file, Noted())
    assert all(one.same for one in found)
    assert await content(source) == await content(target)


async def test_a_target_that_was_emptied_is_filled_from_the_start(tmp_path: Path) -> None:
    """The state is not believed against what the target holds."""
    source, target, state = embedded(tmp_path, "a"), embedded(tmp_path, "b"), tmp_path / "state"
    await fill(source)

    def no_graphs(work: Work) -> None:
        if work.operation.name == "create-graph":
            raise Unavailable("not now")

    with pytest.raises(Unavailable):
        await copied(source, target, state, bend_target=no_graphs)
    kept = json.loads(state.read_text())
    kept["collections"]["people"]["done"] = False
    state.write_text(json.dumps(kept))
    async with open_target(target, NOBODY) as side:
        await side.ask("truncate", "people")
    assert all(one.same for one in await copied(source, target, state))
    assert await content(source) == await content(target)


async def test_documents_of_others_are_not_touched(tmp_path: Path) -> None:
    """A target collection that holds documents is refused by name, before anything is copied."""
    source, target = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    await fill(source)
    async with open_target(target, NOBODY) as side:
        await side.ask("create-collection", "people")
        await side.ask("insert", "people", document={"_key": "theirs"})
    before = await content(target)
    with pytest.raises(CollectionExists, match=r"documents in people; nothing was copied"):
        await copied(source, target, tmp_path / "state")
    assert await content(target) == before
    assert not (tmp_path / "state").exists()


async def test_into_existing_leaves_other_keys_alone(tmp_path: Path) -> None:
    """Asked for, documents are put beside those that are there; equal keys are replaced."""
    source, target = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    await fill(source, 10)
    async with open_target(target, NOBODY) as side:
        await side.ask("create-collection", "people")
        await side.ask("insert", "people", document={"_key": "theirs", "kept": True})
        await side.ask("insert", "people", document={"_key": KEYS[0], "old": True})
    found = await copied(source, target, tmp_path / "state", into_existing=True)
    assert [(one.documents, one.found, one.same) for one in found][-1] == (10, 11, True)
    async with open_source(target, NOBODY) as side:
        assert (await side.ask("get", "people", document="theirs"))["kept"]
        assert "old" not in await side.ask("get", "people", document=KEYS[0])


async def test_collections_of_another_kind_are_refused(tmp_path: Path) -> None:
    """Edges do not fit into a collection of documents."""
    source, target = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    await fill(source, 10)
    async with open_target(target, NOBODY) as side:
        await side.ask("create-collection", "knows")
    with pytest.raises(CollectionExists, match="knows is a collection of edges"):
        await copied(source, target, tmp_path / "state", into_existing=True)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("update", {"document": {"_key": KEYS[7], "n": -1}}), (KEYS[7], "differs")),
        (("delete", {"document": KEYS[7]}), (KEYS[7], "missing")),
        (("insert", {"document": {"_key": "a-new-one"}}), ("a-new-one", "only in the target")),
    ],
)
async def test_what_changes_meanwhile_is_found(
    tmp_path: Path, change: tuple[str, dict[str, Any]], difference: tuple[str, str]
) -> None:
    """A target that is not what was copied is told with its first key, and mended the next time."""
    source, target, state = embedded(tmp_path, "a"), embedded(tmp_path, "b"), tmp_path / "state"
    await fill(source, 50)

    class Moving(Bent):
        async def execute(self, work: Work) -> Done:
            if work.operation.name == "create-graph":
                operation, arguments = change
                await self.side.ask(operation, "people", **arguments)
            return await super().execute(work)

    async with sides(source, target) as (one, other):
        with StateFile(state, str(source), str(target)) as file:
            found = await copy(one, Moving(other).bent, file, Noted())
    wrong = {one.collection: (one.key, one.difference) for one in found if not one.same}
    assert wrong == {"people": difference}
    again = await copied(source, target, state)
    mended = difference[1] != "only in the target"
    assert all(one.same for one in again) is mended
    assert state.exists() is not mended


async def test_a_unique_index_in_the_way_is_told_by_key(tmp_path: Path) -> None:
    """The document that the target cannot take is named, with the index."""
    source, target = embedded(tmp_path, "a"), embedded(tmp_path, "b")
    await fill(source, 50)
    async with open_target(target, NOBODY) as side:
        await side.ask("create-collection", "people")
        document = {"_key": "theirs", "email": f"{KEYS[30]}@example.org"}
        await side.ask("insert", "people", document=document)
    with pytest.raises(UniqueViolation, match=f"refuses people/{KEYS[30]}: .*by_email") as refused:
        await copied(source, target, tmp_path / "state", into_existing=True)
    assert refused.value.details == {"collection": "people", "_key": KEYS[30]}


async def test_large_documents_go_alone(tmp_path: Path, server: SimulatedArango) -> None:
    """A batch is bounded by bytes; documents as large as a store takes arrive whole."""
    source, middle = embedded(tmp_path, "a"), read_spec(f"arango:{server.url}")
    async with open_target(source, NOBODY) as side:
        await side.ask("create-collection", "people")
        for number in range(6):
            size = MIB * 19 // 10 if number % 2 else MIB // 2
            await side.ask("insert", "people", document={"_key": f"k{number}", "x": "x" * size})
    sent: list[list[int]] = []

    def listen(work: Work) -> None:
        if work.operation.name == "insert-many":
            arguments: Any = work.arguments
            sent.append([len(document["x"]) for document in arguments.documents])

    found = await copied(source, middle, tmp_path / "state", bend_target=listen)
    assert found[0].same
    assert all(len(sizes) == 1 or sum(sizes) <= BATCH_BYTES for sizes in sent)
    assert all(one.same for one in await copied(middle, embedded(tmp_path, "b"), tmp_path / "s2"))


async def test_a_document_too_large_for_the_target_is_named(
    tmp_path: Path, server: SimulatedArango
) -> None:
    """What ArangoDB holds and the gateway does not take is refused by key, not left out."""
    source = read_spec(f"arango:{server.url}")
    engine = server.databases["mallku"]
    with engine.session() as session:
        people = engine.create_collection(session, "people", edge=False)
        for key, size in (("small", 10), ("vast", 3 * MIB)):
            document = {"_key": key, "x": "x" * size}
            engine.write(session, "insert", people, document, {"return_new": False})
    with pytest.raises(InvalidDocument, match="people/vast"):
        await copied(source, embedded(tmp_path, "b"), tmp_path / "state")


async def test_indexes_that_the_gateway_does_not_make_are_told(
    tmp_path: Path, server: SimulatedArango
) -> None:
    """An index of another type is left out, and said; the rest is copied."""
    source = read_spec(f"arango:{server.url}")
    engine = server.databases["mallku"]
    with engine.session() as session:
        engine.create_collection(session, "people", edge=False)
    engine.extra["people"] = [
        {"id": "people/9", "name": "near", "type": "geo", "fields": ["p"], "unique": False}
    ]
    watch = Noted()
    found = await copied(source, embedded(tmp_path, "b"), tmp_path / "state", watch=watch)
    assert found[0].same
    assert watch.notes == [
        "people: index near of type geo was not copied; the gateway does not make such"
    ]
