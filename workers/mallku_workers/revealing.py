"""Step 10, what of a result may be shown: as the policy says now, whoever made the result when.

A result may come from the ledger, made under another policy; so it is the reply that is concealed,
not the work. The trail keeps new versions as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_contracts.arguments import Document, is_dry_run
from mallku_contracts.errors import AuthorizationError
from mallku_contracts.operations import OPERATIONS, Operation
from mallku_contracts.policy import DocumentRules
from mallku_contracts.subjects import CommandSubject
from mallku_workers.request import Request
from mallku_workers.stores.base import Done
from mallku_workers.stores.rules import sees

_VERSIONS: Final = ("new", "old")
MATCHING: Final = "-match"
"""Ends the names of the operations that find the documents that they touch."""

_GET: Final = OPERATIONS["get"]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who made the request, through which door, and what they may know beside its own result."""

    request: Request

    def may_know(self, collection: str) -> bool:
        """Whether the asker may hear that there is such a collection."""
        request, subject = self.request, self.request.subject
        hearers = [(subject.principal, request.identity.roles)]
        if request.carrier is not None:
            door = request.carrier.identity
            hearers.append((door.principal, door.roles))
        return all(
            request.policy.mentions(name, subject.database, collection, roles=roles)
            for name, roles in hearers
        )

    def reading(self, collection: str) -> DocumentRules | None:
        """The rules under which the asker may `get` a document of the collection.

        Raises:
            AuthorizationError: the asker may not, or the door may not carry it.
        """
        request, identity = self.request, self.request.identity
        principal = request.subject.principal
        place = CommandSubject(principal, request.subject.database, collection, _GET.name)
        if request.carrier is not None:
            door = request.carrier.identity
            request.policy.refuse_beyond_door(door.principal, door.roles, place, _GET)
        grant = request.policy.decide(place, _GET, roles=identity.roles, issuer=identity.issuer)
        return grant.bind(principal, request.now_ms)


def reveal(done: Done, request: Request) -> Done:
    """The outcome as the asker may see it, and the door may carry it.

    Names of collections that the asker may do nothing with are left out. `outcome` shows the
    documents in an old answer as `get` would show them now, and leaves out those that it would not,
    and the rows of queries, whose documents nobody can tell apart. A dry run of what matches counts
    and names no document to whom `get` might not show it.
    """
    rules, asker = request.rules, _Asker(request)
    match request.operation.name:
        case "list-collections":
            shown: Any = [info for info in done.result if asker.may_know(info["name"])]
        case "list-graphs":
            shown = [info for info in done.result if all(map(asker.may_know, _members(info)))]
        case "describe-flags":
            routes = done.result["collections"].items()
            known = {name: way for name, way in routes if "*" in name or asker.may_know(name)}
            shown = {**done.result, "collections": known}
        case "outcome":
            shown = {**done.result, "result": _Remembered(asker).shown(done.result["result"])}
        case "transaction":
            pairs = zip(done.result, request.steps, strict=True)
            shown = [conceal(result, step.operation, step.rules) for result, step in pairs]
        case _ if is_dry_run(request.arguments) and not _may_be_named(asker):
            shown = {**done.result, "documents": [], "more": bool(done.result["count"])}
        case _ if rules is None:
            return done
        case _:
            shown = conceal(done.result, request.operation, rules)
    return replace(done, result=shown)


def _may_be_named(asker: _Asker) -> bool:
    """Whether the asker may hear which documents its dry run would touch.

    What it named itself it knows; what was found for it, it hears if it could have read it.
    """
    request = asker.request
    if not request.operation.name.endswith(MATCHING):
        return True
    try:
        reading = asker.reading(request.subject.collection)
    except AuthorizationError:
        return False
    where = request.rules.where if request.rules else None
    return reading is None or reading.where is None or reading.where == where


def conceal(result: Any, operation: Operation, rules: DocumentRules | None) -> Any:
    """An operation's result without what the rules hide."""
    if rules is None:
        return result
    match operation.name:
        case "get":
            return None if result is None else rules.conceal(result)
        case "get-many":
            return [rules.conceal(document) for document in result]
        case "find":
            return {**result, "documents": [rules.conceal(d) for d in result["documents"]]}
        case _ if operation.mutates:
            return _conceal_written(result, rules)
        case _:
            return result


def _conceal_written(result: Any, rules: DocumentRules) -> Any:
    """What writes answer: maps that may hold versions, or a list of such maps."""
    if isinstance(result, list):
        return [_conceal_written(entry, rules) for entry in result]
    if not isinstance(result, dict) or not any(name in result for name in _VERSIONS):
        return result
    return {
        name: _conceal_version(value, rules) if name in _VERSIONS else value
        for name, value in result.items()
        if name not in _VERSIONS or not isinstance(value, dict) or sees(rules, value)
    }


def _conceal_version(version: Document | Any, rules: DocumentRules) -> Any:
    return rules.conceal(version) if isinstance(version, dict) else version


class _Remembered:
    """Shows what an earlier command was answered, of whichever collection that was."""

    def __init__(self, asker: _Asker) -> None:
        self._asker = asker
        self._known: dict[str, DocumentRules | AuthorizationError | None] = {}

    def shown(self, result: Any) -> Any:
        """The answer, with the documents in it that may be seen now."""
        if isinstance(result, list):
            return [self.shown(entry) for entry in result]
        if not isinstance(result, dict):
            return result
        if "statistics" in result:
            return {name: value for name, value in result.items() if name != "result"}
        if not any(isinstance(result.get(name), dict) for name in _VERSIONS):
            return result
        collection = str(result.get("_id", "")).partition("/")[0]
        rules = self._rules(collection)
        if isinstance(rules, AuthorizationError):
            return {name: value for name, value in result.items() if name not in _VERSIONS}
        return result if rules is None else _conceal_written(result, rules)

    def _rules(self, collection: str) -> DocumentRules | AuthorizationError | None:
        if collection not in self._known:
            try:
                self._known[collection] = self._asker.reading(collection)
            except AuthorizationError as refusal:
                self._known[collection] = refusal
        return self._known[collection]


def _members(graph: dict[str, Any]) -> Iterator[str]:
    """The collections of a graph."""
    yield from graph["orphan_collections"]
    for definition in graph["edge_definitions"]:
        yield definition["edge_collection"]
        yield from definition["from_vertex_collections"]
        yield from definition["to_vertex_collections"]
