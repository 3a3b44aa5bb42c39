"""Collections, indexes and graphs: reading them, and the changes that no transaction can hold.

A change is made repeatable instead: its claim is entered as begun, the change is made, the entry is
completed. Who finds the own claim begun asks for the same state again, and what is there already
counts as done.

Changes that decide whether there are documents, and which, are made while the ledger belongs to
them alone: no write commits between the change and its entry, so that commit positions tell what
came before it and what behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import structlog

from mallku_contracts import arguments as a
from mallku_contracts.errors import (
    CollectionExists,
    CollectionNotFound,
    DeadlineExceeded,
    GraphExists,
    GraphNotFound,
    IndexNotFound,
    InvalidIndex,
    MallkuError,
    NotSupported,
    OutcomeUnknown,
    UniqueViolation,
)
from mallku_contracts.policy import is_reserved
from mallku_contracts.results import (
    CollectionDescription,
    CollectionInfo,
    GraphInfo,
    IndexInfo,
)
from mallku_contracts.subjects import check_name
from mallku_workers.stores.arango import reading, texts
from mallku_workers.stores.arango.budget import Budget, budget_for, current_budget, spending
from mallku_workers.stores.arango.errors import Conflict
from mallku_workers.stores.arango.ledger import claimed, entry, frame, opened, position
from mallku_workers.stores.arango.server import KILL_S, Server, Transaction
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.base import Done, LedgerClaim, Work
from mallku_workers.stores.names import check_definition, check_new_name

EDGES: Final = 3
DOCUMENTS: Final = 2
"""The two types of collections, by ArangoDB's numbers."""

_BUILT_IN: Final = frozenset({"primary", "edge", "0", "1", "2"})
_INDEX: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_LIKE_PERSISTENT: Final = frozenset({"hash", "skiplist"})
_BESIDE_WRITES: Final = frozenset({"create-index"})
"""What may take long, and no document depends on: writes go on meanwhile, other changes do not."""

_FIRST_INDEXES: Final = ("primary", "edge")

_log = structlog.get_logger("mallku.store")


# Reading


def list_collections(server: Server, _work: Work, _arguments: a.Arguments) -> list[CollectionInfo]:
    """All collections by name, but for the gateway's own."""
    answer = server.call("GET", "/_api/collection", params={"excludeSystem": True})
    shown = (one for one in answer["result"] if not is_reserved(one["name"]))
    return [_info(one) for one in sorted(shown, key=lambda one: str(one["name"]))]


def describe_collection(
    server: Server, work: Work, _arguments: a.Arguments
) -> CollectionDescription:
    """A collection, its kind and its size."""
    known = server.call("GET", _collection(work.collection))
    count = reading.count(server, work, a.Count())
    indexes = len(list_indexes(server, work, a.NoArguments()))
    return {**_info(known), "count": count, "indexes": indexes}


def list_indexes(server: Server, work: Work, _arguments: a.Arguments) -> list[IndexInfo]:
    """All indexes of a collection, the primary and the edge index first."""
    answer = server.call("GET", "/_api/index", params={"collection": work.collection})
    indexes = [_index(one) for one in answer["indexes"]]
    return sorted(indexes, key=_index_order)


def list_graphs(server: Server, _work: Work, _arguments: a.Arguments) -> list[GraphInfo]:
    """All graphs by name."""
    graphs = server.call("GET", "/_api/gharial")["graphs"]
    return [_graph(one) for one in sorted(graphs, key=lambda one: str(_graph_name(one)))]


def _info(known: Mapping[str, Any]) -> CollectionInfo:
    return {"name": known["name"], "type": "edge" if known["type"] == EDGES else "document"}


def _index(known: Mapping[str, Any]) -> IndexInfo:
    kind: Any = "persistent" if known["type"] in _LIKE_PERSISTENT else known["type"]
    return {
        "id": known["id"],
        "name": known.get("name") or kind,
        "type": kind,
        "fields": list(known["fields"]),
        "unique": bool(known.get("unique")),
        "sparse": bool(known.get("sparse")),
    }


def _index_order(index: IndexInfo) -> tuple[int, int]:
    kinds = _FIRST_INDEXES
    first = kinds.index(index["type"]) if index["type"] in kinds else len(kinds)
    number = index["id"].rpartition("/")[2]
    return first, int(number) if number.isdecimal() else 0


def _graph_name(known: Mapping[str, Any]) -> str:
    return str(known.get("name") or known["_key"])


def _graph(known: Mapping[str, Any]) -> GraphInfo:
    return {
        "name": _graph_name(known),
        "edge_definitions": [
            {
                "edge_collection": one["collection"],
                "from_vertex_collections": sorted(one["from"]),
                "to_vertex_collections": sorted(one["to"]),
            }
            for one in known["edgeDefinitions"]
        ],
        "orphan_collections": sorted(known["orphanCollections"]),
    }


def _collection(name: str) -> str:
    return f"/_api/collection/{quote(name, safe='')}"


# Changing


def create_collection(server: Server, work: Work, arguments: a.CreateCollection) -> CollectionInfo:
    """A new, empty collection."""
    kind = EDGES if arguments.edge else DOCUMENTS
    body = {"name": work.collection, "type": kind}
    return _info(server.call("POST", "/_api/collection", body=body))


def drop_collection(server: Server, work: Work, arguments: a.DropCollection) -> bool:
    """Remove a collection with its documents; False where a missing one is ignored."""
    try:
        server.call("DELETE", _collection(work.collection))
    except CollectionNotFound:
        if arguments.ignore_missing:
            return False
        raise
    return True


def truncate(server: Server, work: Work, _arguments: a.NoArguments) -> int:
    """Remove every document; how many there were a moment before."""
    path = _collection(work.collection)
    number: int = server.call("GET", f"{path}/count")["count"]
    server.call("PUT", f"{path}/truncate")
    return number


def create_index(server: Server, work: Work, arguments: a.CreateIndex) -> IndexInfo:
    """A new index, or the same one that exists already."""
    check_definition(tuple(arguments.fields), arguments.name)
    body: dict[str, Any] = {
        "type": "persistent",
        "fields": arguments.fields,
        "unique": arguments.unique,
        "sparse": arguments.sparse,
        "inBackground": True,
    }
    if arguments.name is not None:
        body["name"] = arguments.name
    try:
        made = server.call("POST", "/_api/index", params={"collection": work.collection}, body=body)
    except CollectionExists:
        raise InvalidIndex(
            f"there is another index {arguments.name} in {work.collection}"
        ) from None
    return {**_index(made), "new": bool(made.get("isNewlyCreated"))}


def drop_index(server: Server, work: Work, arguments: a.DropIndex) -> bool:
    """Remove the index with this id or name; False where a missing one is ignored."""
    wanted = arguments.index.removeprefix(f"{work.collection}/")
    if wanted in _BUILT_IN:
        raise InvalidIndex(f"{arguments.index}: this index belongs to the collection")
    try:
        if not _INDEX.fullmatch(wanted):
            raise _no_index(arguments.index)
        server.call("DELETE", f"/_api/index/{quote(work.collection, safe='')}/{wanted}")
    except IndexNotFound:
        if arguments.ignore_missing:
            return False
        raise
    return True


def _no_index(name: str) -> IndexNotFound:
    return IndexNotFound(f"there is no index {name!r:.80}")


def create_graph(server: Server, _work: Work, arguments: a.CreateGraph) -> GraphInfo:
    """A new graph; collections that it names and that are missing are made."""
    check_name(arguments.name, "graph")
    definitions = [
        {
            "collection": one.edge_collection,
            "from": sorted(set(one.from_vertex_collections)),
            "to": sorted(set(one.to_vertex_collections)),
        }
        for one in arguments.edge_definitions
    ]
    for one in definitions:
        for name in (one["collection"], *one["from"], *one["to"]):
            check_new_name(str(name))
    for name in arguments.orphan_collections:
        check_new_name(name)
    body = {
        "name": arguments.name,
        "edgeDefinitions": definitions,
        "orphanCollections": sorted(set(arguments.orphan_collections)),
    }
    answer = server.call("POST", "/_api/gharial", params={"waitForSync": True}, body=body)
    return _graph(answer["graph"])


def drop_graph(server: Server, _work: Work, arguments: a.DropGraph) -> bool:
    """Remove a graph, and none of its collections; False where a missing one is ignored."""
    if arguments.drop_collections:
        raise NotSupported("drop_collections: drop each collection by its name instead")
    try:
        path = f"/_api/gharial/{quote(arguments.name, safe='')}"
        server.call("DELETE", path, params={"dropCollections": False})
    except GraphNotFound:
        if arguments.ignore_missing:
            return False
        raise
    return True


def _same_collection(server: Server, work: Work, arguments: a.CreateCollection) -> CollectionInfo:
    known = _info(server.call("GET", _collection(work.collection)))
    if (known["type"] == "edge") != arguments.edge:
        raise CollectionExists(f"there is a collection {work.collection} already")
    return known


def _same_graph(server: Server, _work: Work, arguments: a.CreateGraph) -> GraphInfo:
    answer = server.call("GET", f"/_api/gharial/{quote(arguments.name, safe='')}")
    return _graph(answer["graph"])


def _gone(_server: Server, _work: Work, _arguments: a.Arguments) -> bool:
    return True


Act = Callable[[Server, Work, Any], Any]

READS: Final[Mapping[str, Act]] = {
    "list-collections": list_collections,
    "describe-collection": describe_collection,
    "list-indexes": list_indexes,
    "list-graphs": list_graphs,
}
"""Reads of what there is."""

CHANGES: Final[Mapping[str, Act]] = {
    "create-collection": create_collection,
    "drop-collection": drop_collection,
    "truncate": truncate,
    "create-index": create_index,
    "drop-index": drop_index,
    "create-graph": create_graph,
    "drop-graph": drop_graph,
}
"""Administrative operations."""

_AS_ASKED: Final[Mapping[str, tuple[type[MallkuError], Act]]] = {
    "create-collection": (CollectionExists, _same_collection),
    "drop-collection": (CollectionNotFound, _gone),
    "drop-index": (IndexNotFound, _gone),
    "create-graph": (GraphExists, _same_graph),
    "drop-graph": (GraphNotFound, _gone),
}
"""For a change begun before: the error that says it was made, and what is answered then."""


def administer(server: Server, work: Work, now_ms: int) -> Done:
    """Make a change of the catalog, repeatable under its claim.

    Raises:
        OutcomeUnknown: the change may have been made; the same claim may be sent again.
        MallkuError: it was not made.
    """
    claim = claimed(work.claim, now_ms)
    budget = current_budget()
    with spending(Budget(budget.ends)):
        begun = _begin(server, work, claim)
    if isinstance(begun, Done):
        return begun
    try:
        shared = [texts.LEDGER] if work.operation.name in _BESIDE_WRITES else []
        alone = [] if shared else [texts.LEDGER]
        with server.transaction(shared, alone) as transaction, spending(budget):
            return _finish(transaction, claim, _act(server, work, again=begun), server.settings)
    except OutcomeUnknown:
        raise
    except MallkuError:
        _forget(server, claim)
        raise


def _finish(within: Transaction, claim: LedgerClaim, result: Any, settings: ArangoSettings) -> Done:
    """Complete the entry of a change that was made; what goes wrong now leaves it begun."""
    whole = entry(claim, result, settings.ledger_body_bytes)
    try:
        rows = within.query(texts.FINISH, {"works": [{"entry": whole}]})
        within.commit()
    except MallkuError as error:
        raise OutcomeUnknown(f"the change was made, and not entered: {error.message}") from error
    return Done(result, (), position(rows[0]["position"]))


def _begin(server: Server, work: Work, claim: LedgerClaim) -> Done | bool:
    """Enter the claim as begun; the answer of an earlier attempt, or whether one was begun."""
    [answer] = server.query(texts.ENTRY, {"claims": [claim.key]})
    for known in answer["entries"]:
        if known["expires_ms"] < answer["now"]:
            server.query(texts.FORGET, {"claims": [claim.key]})
        else:
            done = opened(known).answer(claim)
            return True if known.get("begun") else done
    begun = {"deadline": work.deadline_ms, "entry": {**frame(claim), "begun": True}}
    try:
        rows = server.query(texts.ENTER, {"works": [begun]})
    except (UniqueViolation, Conflict):
        raise Conflict("the same command is being carried out elsewhere") from None
    if not rows:
        raise DeadlineExceeded("the caller's time was over by the database's clock")
    return False


def _act(server: Server, work: Work, *, again: bool) -> Any:
    name = work.operation.name
    arguments: Any = work.arguments
    if not again or name not in _AS_ASKED:
        return CHANGES[name](server, work, arguments)
    made, answer = _AS_ASKED[name]
    try:
        return CHANGES[name](server, work, arguments)
    except made:
        return answer(server, work, arguments)


def _forget(server: Server, claim: LedgerClaim) -> None:
    try:
        with spending(budget_for(KILL_S)):
            server.query(texts.FORGET, {"claims": [claim.key]})
    except MallkuError as error:
        _log.warning("begun_entry_stays", reason=str(error))
