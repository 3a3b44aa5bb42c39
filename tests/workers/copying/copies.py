"""What tests copy, how, and what they put in front of a store meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mallku_workers.stores.base import Done, Work
from mallku_workers.stores.copying import (
    Credentials,
    Side,
    Spec,
    StateFile,
    Verified,
    copy,
    open_source,
    open_target,
    read_spec,
)

NOBODY = Credentials()
KEYS = [f"k{number:05}" for number in range(2_500)]


@dataclass
class Noted:
    """A watch that remembers."""

    begun: list[tuple[str, str, int]] = field(default_factory=list)
    documents: int = 0
    notes: list[str] = field(default_factory=list)

    def begin(self, phase: Any, collection: str, total: int) -> None:
        """Remember it."""
        self.begun.append((phase, collection, total))

    def advance(self, documents: int) -> None:
        """Count."""
        self.documents += documents

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


@dataclass
class Bent:
    """A store with something in front of it that looks at every work."""

    side: Side
    before: Callable[[Work], None] = lambda _work: None
    works: list[Work] = field(default_factory=list)

    async def execute(self, work: Work) -> Done:
        """Look, then let the store do it."""
        self.works.append(work)
        self.before(work)
        return await self.side.store.execute(work)

    @property
    def bent(self) -> Side:
        """A side with this store."""
        return Side(self, self.side.database, self.side.name)


def embedded(folder: Path, name: str) -> Spec:
    """A side in files."""
    return read_spec(f"embedded:{folder / name}")


@asynccontextmanager
async def sides(source: Spec, target: Spec) -> AsyncGenerator[tuple[Side, Side]]:
    """Both, open."""
    async with open_source(source, NOBODY) as one, open_target(target, NOBODY) as other:
        yield one, other


async def fill(spec: Spec, count: int = len(KEYS)) -> None:
    """Documents, edges, indexes and a graph, as many kinds of values as JSON has."""
    async with open_target(spec, NOBODY) as side:
        for name, edge in (("people", False), ("empty", False), ("knows", True)):
            await side.ask("create-collection", name, edge=edge)
        await side.ask(
            "create-index", "people", fields=["email"], name="by_email", unique=True, sparse=True
        )
        await side.ask("create-index", "people", fields=["n", "a.b"], name="by_n")
        people = [person(key, number) for number, key in enumerate(KEYS[:count])]
        for start in range(0, count, 500):
            await side.ask("insert-many", "people", documents=people[start : start + 500])
        edges = [
            {"_key": key, "_from": f"people/{key}", "_to": "people/k00000", "since": 1999.5}
            for key in KEYS[:100]
        ]
        await side.ask("insert-many", "knows", documents=edges)
        ends = {"from_vertex_collections": ["people"], "to_vertex_collections": ["people"]}
        await side.ask(
            "create-graph",
            name="friends",
            edge_definitions=[{"edge_collection": "knows", **ends}],
            orphan_collections=["empty"],
        )


def person(key: str, number: int) -> dict[str, Any]:
    """A document with all that JSON has."""
    return {
        "_key": key,
        "n": number,
        "email": f"{key}@example.org",
        "whole": float(number),
        "half": number + 0.5,
        "large": 2**53 + number,
        "a": {"b": [None, True, 'ü\u2028\\"', {"z": 1, "y": -0.0}], "": 1e300},
    }


async def content(spec: Spec) -> dict[str, Any]:
    """All there is in a database, but for revisions and what the store numbers itself."""
    found: dict[str, Any] = {}
    async with open_source(spec, NOBODY) as side:
        for one in await side.ask("list-collections"):
            page = await side.ask("find", one["name"], batch_size=10_000)
            documents = [
                {name: value for name, value in document.items() if name != "_rev"}
                for document in page["documents"]
            ]
            indexes = [
                {name: index[name] for name in ("name", "type", "fields", "unique", "sparse")}
                for index in await side.ask("list-indexes", one["name"])
            ]
            indexes.sort(key=lambda index: index["name"])
            found[one["name"]] = (one["type"], documents, indexes)
        found["graphs"] = await side.ask("list-graphs")
    return found


async def copied(
    source: Spec,
    target: Spec,
    state: Path,
    *,
    into_existing: bool = False,
    bend_source: Callable[[Work], None] | None = None,
    bend_target: Callable[[Work], None] | None = None,
    watch: Noted | None = None,
) -> list[Verified]:
    """Copy as the command does, with something in front of either side."""
    async with sides(source, target) as (one, other):
        reading = Bent(one, bend_source).bent if bend_source else one
        writing = Bent(other, bend_target).bent if bend_target else other
        with StateFile(state, str(source), str(target)) as file:
            return await copy(reading, writing, file, watch or Noted(), into_existing=into_existing)
