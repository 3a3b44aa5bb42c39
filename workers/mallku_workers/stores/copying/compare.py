"""Whether two databases hold the same: collections, indexes, graphs, and every document.

Revisions are each store's own, and so are the names that a store gives to an index by itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.results import GraphInfo, IndexInfo
from mallku_workers.stores.copying.copy import Watch, shape
from mallku_workers.stores.copying.sides import Side
from mallku_workers.stores.copying.verify import Verified, verify

_OWN_NAME: Final = re.compile(r"idx_\d+")


@dataclass(slots=True)
class Compared:
    """What a comparison found.

    Attributes:
        catalog: Collections, indexes and graphs that are not the same, in words.
        collections: What was found of the documents of each collection that both sides have.
    """

    catalog: list[str] = field(default_factory=list[str])
    collections: list[Verified] = field(default_factory=list[Verified])

    @property
    def same(self) -> bool:
        """Whether both sides hold the same."""
        return not self.catalog and all(one.same for one in self.collections)


async def compare(
    source: Side, target: Side, watch: Watch, *, only: Collection[str] = ()
) -> Compared:
    """Compare two databases, documents field by field, in bounded memory.

    Args:
        only: Names of the collections that are looked at, and graphs of these alone; all if empty.
    """
    found = Compared()
    kinds = [await _kinds(side, only) for side in (source, target)]
    found.catalog += _differing("collection", *kinds)
    for name in sorted(kinds[0].keys() & kinds[1].keys()):
        indexes = [_by_shape(await side.ask("list-indexes", name)) for side in (source, target)]
        found.catalog += _differing(f"index of {name}", *indexes)
        watch.begin("verify", name, await source.ask("count", name))
        found.collections.append(
            await verify(source, target, name, others_allowed=False, advance=watch.advance)
        )
    graphs = [_graphs(await side.ask("list-graphs"), only) for side in (source, target)]
    found.catalog += _differing("graph", *graphs)
    return found


async def _kinds(side: Side, only: Collection[str]) -> dict[str, str]:
    listed = await side.ask("list-collections")
    return {one["name"]: one["type"] for one in listed if not only or one["name"] in only}


def _by_shape(indexes: Iterable[IndexInfo]) -> dict[str, str]:
    """The indexes as names that two stores agree on, with what they are."""
    found: dict[str, str] = {}
    for one in indexes:
        if one["type"] in ("primary", "edge"):
            continue
        fields = ", ".join(one["fields"])
        marks = [
            mark for mark, holds in (("unique", one["unique"]), ("sparse", one["sparse"])) if holds
        ]
        what = " ".join([one["type"], *marks, f"over {fields}"])
        name = what if _OWN_NAME.fullmatch(one["name"]) else one["name"]
        found[name] = what
    return found


def _graphs(graphs: Iterable[GraphInfo], only: Collection[str]) -> dict[str, str]:
    return {
        one["name"]: repr(shape(one)) for one in graphs if not only or _members(one).issubset(only)
    }


def _members(graph: GraphInfo) -> set[str]:
    members = set(graph["orphan_collections"])
    for one in graph["edge_definitions"]:
        members |= {one["edge_collection"], *one["from_vertex_collections"]}
        members |= set(one["to_vertex_collections"])
    return members


def _differing(what: str, source: Mapping[str, Any], target: Mapping[str, Any]) -> Iterable[str]:
    for name in sorted(source.keys() | target.keys()):
        if name not in target:
            yield f"{what} {name}: missing"
        elif name not in source:
            yield f"{what} {name}: only in the target"
        elif source[name] != target[name]:
            yield f"{what} {name}: {source[name]} in the source, {target[name]} in the target"
