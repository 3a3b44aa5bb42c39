"""Two databases side by side: what is not the same is named, whatever it is."""

from __future__ import annotations

from pathlib import Path

from mallku_workers.stores.copying import Compared, compare
from mallku_workers.stores.copying.verify import MAX_DIFFERENCES
from tests.workers.copying.copies import Noted, embedded, fill, sides

ENDS = {"from_vertex_collections": ["people"], "to_vertex_collections": ["people"]}


async def compared(folder: Path, *, only: tuple[str, ...] = ()) -> Compared:
    """What a comparison of `one` with `other` finds."""
    async with sides(embedded(folder, "one"), embedded(folder, "other")) as (source, target):
        return await compare(source, target, Noted(), only=only)


async def filled(folder: Path, count: int = 150) -> None:
    """The same in both."""
    for name in ("one", "other"):
        await fill(embedded(folder, name), count)


async def test_the_same_is_the_same(tmp_path: Path) -> None:
    """Whatever a store numbers itself: revisions, and names of indexes that nobody named."""
    await filled(tmp_path)
    async with sides(embedded(tmp_path, "one"), embedded(tmp_path, "other")) as (one, other):
        await other.ask("create-index", "people", fields=["half"])
        await other.ask("create-index", "empty", fields=["x"])
        for side in (one, other):
            await side.ask("create-index", "empty", fields=["later"])
        await one.ask("create-index", "empty", fields=["x"])
        await one.ask("create-index", "people", fields=["half"])
    found = await compared(tmp_path)
    assert found.same, found.catalog
    assert [one.documents for one in found.collections] == [0, 100, 150]


async def test_every_kind_of_difference_is_named(tmp_path: Path) -> None:
    """Collections, indexes, graphs, and documents by their keys."""
    await filled(tmp_path)
    async with sides(embedded(tmp_path, "one"), embedded(tmp_path, "other")) as (one, other):
        await one.ask("create-collection", "mine")
        await other.ask("create-collection", "yours", edge=True)
        await one.ask("drop-index", "people", index="by_n")
        await other.ask("create-index", "people", fields=["large"], unique=True, sparse=True)
        await other.ask("drop-graph", name="friends")
        await other.ask(
            "create-graph",
            name="friends",
            edge_definitions=[{"edge_collection": "knows", **ENDS}],
        )
        await other.ask("update", "people", document={"_key": "k00003", "n": -3})
        await other.ask("delete", "people", document="k00004")
        await other.ask("insert", "people", document={"_key": "zz"})
    found = await compared(tmp_path)
    assert not found.same
    names = [text.split(":")[0] for text in found.catalog]
    assert names == [
        "collection mine",
        "collection yours",
        "index of people by_n",
        "index of people persistent unique sparse over large",
        "graph friends",
    ]
    people = found.collections[-1]
    assert people.differences == [
        ("k00003", "differs"),
        ("k00004", "missing"),
        ("zz", "only in the target"),
    ]
    alone = await compared(tmp_path, only=("knows",))
    assert alone.same


async def test_many_differences_are_counted(tmp_path: Path) -> None:
    """The first are named, so that what is kept is bounded."""
    await filled(tmp_path)
    async with sides(embedded(tmp_path, "one"), embedded(tmp_path, "other")) as (_, other):
        await other.ask("truncate", "people")
        await other.ask("insert", "people", document={"_key": "zz"})
    found = await compared(tmp_path)
    people = found.collections[-1]
    assert len(people.differences) == MAX_DIFFERENCES
    assert people.different == 151
