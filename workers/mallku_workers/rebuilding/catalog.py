"""Collections, indexes and graphs of a database that is rebuilt.

Each operation ends in the same state however often it is carried out.
"""

from __future__ import annotations

from typing import Any

from mallku_contracts import arguments as a
from mallku_workers.rebuilding.again import CannotRepeatError
from mallku_workers.rebuilding.gathering import Wanted
from mallku_workers.rebuilding.rebuilt import IMPLIED
from mallku_workers.rebuilding.steps import Step
from mallku_workers.rebuilding.workfile import WorkFile
from mallku_workers.stores.copying.sides import Side


class Catalog:
    """What the target has, and how it comes to have more; indexes are kept in the work file."""

    def __init__(self, file: WorkFile, target: Side, wanted: Wanted) -> None:
        self._file = file
        self._target = target
        self._wanted = wanted
        self._collections: set[str] = set()

    def has(self, collection: str) -> bool:
        """Whether there is such a collection."""
        return collection in self._collections

    async def look(self) -> list[str]:
        """See what there is; the names of collections and graphs."""
        there = [one["name"] for one in await self._target.ask("list-collections")]
        graphs = [one["name"] for one in await self._target.ask("list-graphs")]
        self._collections = set(there)
        return [*there, *graphs]

    async def imply(self, collection: str, *, edge: bool) -> None:
        """Make a collection of which no record says that it was made."""
        self._file.note(IMPLIED, collection)
        self._file.save()
        await self.create(collection, edge=edge)

    async def change(self, step: Step, arguments: Any) -> None:
        """Carry out an operation on the catalog, given what was asked.

        Raises:
            CannotRepeatError: nobody knows what it does.
        """
        name = step.collection
        match step.operation:
            case "create-collection":
                await self.create(name, edge=arguments.edge)
            case "drop-collection":
                await self._target.ask("drop-collection", name, ignore_missing=True)
                self._collections.discard(name)
                self._file.empty(name, dropped=True)
            case "truncate":
                if name in self._collections:
                    await self._target.ask("truncate", name)
                self._file.empty(name, dropped=False)
            case "create-index":
                self._note_index(name, arguments, step.result)
            case "drop-index":
                self._file.drop_index(name, arguments.index)
            case "create-graph":
                await self._connect(arguments)
            case "drop-graph":
                await self._target.ask("drop-graph", name=arguments.name, ignore_missing=True)
            case _:
                raise CannotRepeatError("nothing is known of what it does")

    async def create(self, name: str, *, edge: bool) -> None:
        """Make a collection, unless it is there."""
        if name not in self._collections:
            await self._target.ask("create-collection", name, edge=edge)
            self._collections.add(name)

    def _note_index(self, collection: str, arguments: a.CreateIndex, result: Any) -> None:
        """Remember an index, under the name that the database gave it."""
        made = result if isinstance(result, dict) else {}
        definition: dict[str, Any] = {
            "fields": list(arguments.fields),
            "unique": arguments.unique,
            "sparse": arguments.sparse,
        }
        name = made.get("name") or arguments.name
        if name is not None:
            definition["name"] = name
        key = name or repr(definition)
        self._file.put_index(collection, key, str(made.get("id", "")), definition)

    async def _connect(self, arguments: a.CreateGraph) -> None:
        """A graph, unless one of its collections is not to be made."""
        members = set(arguments.orphan_collections)
        for one in arguments.edge_definitions:
            members |= {one.edge_collection, *one.from_vertex_collections}
            members |= set(one.to_vertex_collections)
        there = {one["name"] for one in await self._target.ask("list-graphs")}
        if arguments.name in there or not all(map(self._wanted.has, members)):
            return
        await self._target.ask("create-graph", **arguments.model_dump())
        self._collections |= members

    async def make_indexes(self) -> None:
        """Make the indexes that there are in the end."""
        for collection, definition in self._file.indexes():
            await self._target.ask("create-index", collection, **definition)
