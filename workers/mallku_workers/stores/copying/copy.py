"""Copying a database: look, refuse, make, fill, connect, verify.

1. **look** what both sides have.
2. **refuse** where a target collection holds documents that are not this copy's.
3. **make** the collections with their unique indexes, which then tell by key what does not fit.
4. **fill** them, in the order of keys; progress is written down behind what was acknowledged.
5. **connect**: the other indexes, which are quicker to make of everything at once, and the graphs.
6. **verify** every collection, document by document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from mallku_contracts.arguments import Document
from mallku_contracts.errors import (
    BY_CODE,
    CollectionExists,
    GraphExists,
    MallkuError,
    StoreFailure,
)
from mallku_contracts.results import CollectionInfo, GraphInfo, IndexInfo
from mallku_workers.stores.copying.documents import batches, body, pages
from mallku_workers.stores.copying.sides import Side
from mallku_workers.stores.copying.state import Progress, StateFile
from mallku_workers.stores.copying.verify import Verified, verify

MAX_NAMED: Final = 5
"""Documents, or collections, that one error names."""


class Watch(Protocol):
    """Is told what happens; observes only."""

    def begin(self, phase: Literal["copy", "verify"], collection: str, total: int) -> None:
        """A collection of about `total` documents begins."""
        ...

    def advance(self, documents: int) -> None:
        """So many more documents of it are done."""
        ...

    def note(self, text: str) -> None:
        """Something that should be known."""
        ...


async def copy(
    source: Side, target: Side, state: StateFile, watch: Watch, *, into_existing: bool = False
) -> list[Verified]:
    """Copy everything but the gateway's own, or go on with it; what the comparison found.

    Where a collection is not the same, its state goes back to the beginning: the next run copies it
    again. Where all are, the state is removed.

    Raises:
        CollectionExists: a target collection holds documents, or is of another type.
        UniqueViolation, …: a document was refused; the message names it. What was copied stays.
        Unavailable, StoreFailure: the same; run it again.
    """
    copier = Copier(source, target, state, watch, into_existing=into_existing)
    return await copier.run()


class Copier:
    """One copy; see `copy`."""

    def __init__(
        self, source: Side, target: Side, state: StateFile, watch: Watch, *, into_existing: bool
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._watch = watch
        self._into_existing = into_existing

    async def run(self) -> list[Verified]:
        """Do all of it."""
        collections: list[CollectionInfo] = await self._source.ask("list-collections")
        await self._refuse(collections)
        for one in collections:
            await self._copy(one)
        await self._connect_graphs()
        return await self._verify([one["name"] for one in collections])

    # Look and refuse

    async def _refuse(self, collections: Sequence[CollectionInfo]) -> None:
        there = {one["name"]: one for one in await self._target.ask("list-collections")}
        filled: list[str] = []
        for one in collections:
            known = there.get(one["name"])
            if known is None:
                continue
            if known["type"] != one["type"]:
                raise CollectionExists(
                    f"{one['name']} is a collection of {one['type']}s in the source and of"
                    f" {known['type']}s in the target; nothing was copied"
                )
            foreign = not self._into_existing and not self._state.knows(one["name"])
            if foreign and await self._target.ask("count", one["name"]):
                filled.append(one["name"])
        if filled:
            more = f" and {len(filled) - MAX_NAMED} more" if len(filled) > MAX_NAMED else ""
            raise CollectionExists(
                f"the target holds documents in {', '.join(filled[:MAX_NAMED])}{more};"
                " nothing was copied (--into-existing puts others beside them)"
            )

    # Make and fill

    async def _copy(self, collection: CollectionInfo) -> None:
        name = collection["name"]
        progress = self._state.progress(name)
        self._state.save()  # from here on, what the target has under this name is ours
        await self._make(collection)
        indexes = [one for one in await self._source.ask("list-indexes", name) if _is_ours(one)]
        await self._index(name, [one for one in indexes if one["unique"]])
        if not progress.done:
            await self._fill(name, progress)
        await self._index(name, [one for one in indexes if not one["unique"]])

    async def _make(self, collection: CollectionInfo) -> None:
        there = {one["name"] for one in await self._target.ask("list-collections")}
        if collection["name"] not in there:
            edge = collection["type"] == "edge"
            await self._target.ask("create-collection", collection["name"], edge=edge)

    async def _index(self, collection: str, indexes: Sequence[IndexInfo]) -> None:
        for one in indexes:
            if one["type"] != "persistent":
                what = f"{collection}: index {one['name']} of type {one['type']}"
                self._watch.note(f"{what} was not copied; the gateway does not make such")
                continue
            values = {name: one[name] for name in ("fields", "name", "unique", "sparse")}
            await self._target.ask("create-index", collection, **values)

    async def _fill(self, name: str, progress: Progress) -> None:
        if await self._target.ask("count", name) < progress.documents:
            progress.after, progress.documents = "", 0  # somebody emptied it meanwhile
        self._watch.begin("copy", name, await self._source.ask("count", name))
        self._watch.advance(progress.documents)
        async for page in pages(self._source, name, progress.after):
            for batch in batches(page):
                await self._put(name, batch)
                progress.after = batch[-1]["_key"]
                progress.documents += len(batch)
                self._state.save(now=False)
                self._watch.advance(len(batch))
        progress.done = True
        self._state.save()

    async def _put(self, name: str, batch: Sequence[Document]) -> None:
        """Documents that are there already are put there again: a batch may be sent twice."""
        documents = [body(document) for document in batch]
        results = await self._target.ask(
            "insert-many", name, documents=documents, overwrite_mode="replace", silent=True
        )
        refused = [
            (document["_key"], result["error"])
            for document, result in zip(batch, results, strict=True)
            if isinstance(result, dict) and "error" in result
        ]
        if refused:
            raise _refusal(name, refused)

    # Connect and verify

    async def _connect_graphs(self) -> None:
        there = {one["name"]: one for one in await self._target.ask("list-graphs")}
        for graph in await self._source.ask("list-graphs"):
            known = there.get(graph["name"])
            if known is None:
                await self._target.ask("create-graph", **graph)
            elif shape(known) != shape(graph):
                raise GraphExists(f"graph {graph['name']} connects otherwise in the target")

    async def _verify(self, collections: Sequence[str]) -> list[Verified]:
        found: list[Verified] = []
        for name in collections:
            self._watch.begin("verify", name, await self._source.ask("count", name))
            one = await verify(
                self._source,
                self._target,
                name,
                others_allowed=self._into_existing,
                advance=self._watch.advance,
            )
            found.append(one)
            if not one.same:
                self._state.state.collections[name] = Progress()
        if all(one.same for one in found):
            self._state.remove()
        else:
            self._state.save()
        return found


def _is_ours(index: IndexInfo) -> bool:
    """Whether it is to be made: a primary or an edge index comes with its collection."""
    return index["type"] not in ("primary", "edge")


def shape(graph: GraphInfo) -> Any:
    """What a graph connects, whatever the order in which a store lists it."""
    definitions = (
        (
            one["edge_collection"],
            sorted(one["from_vertex_collections"]),
            sorted(one["to_vertex_collections"]),
        )
        for one in graph["edge_definitions"]
    )
    return sorted(definitions), sorted(graph["orphan_collections"])


def _refusal(collection: str, refused: Sequence[tuple[str, Mapping[str, Any]]]) -> MallkuError:
    """The first error, with the key that it belongs to, and the number of the others."""
    key, error = refused[0]
    kind = BY_CODE.get(str(error.get("code")), StoreFailure)
    message = f"the target refuses {collection}/{key}: {error.get('message')}"
    if len(refused) > 1:
        others = ", ".join(other for other, _ in refused[1 : MAX_NAMED + 1])
        message += f"; and {len(refused) - 1} more of this batch ({others}"
        message += ", …)" if len(refused) > MAX_NAMED + 1 else ")"
    return kind(message, details={"collection": collection, "_key": key})
