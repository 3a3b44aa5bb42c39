"""Takes a call apart into what it did to each document that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NamedTuple

from mallku_contracts.errors import DocumentNotFound, RevisionMismatch
from mallku_deploy.checking.history import Call
from mallku_deploy.checking.linearizable import Operation
from mallku_deploy.checking.register import Part, canonical

Way = tuple[Part, ...]
"""Parts that happen at once."""

Place = tuple[str, str]
"""Database and collection."""

WIDE: Final = frozenset(
    {
        "aql",
        "upsert",
        "update-match",
        "replace-match",
        "delete-match",
        "truncate",
        "drop-collection",
    }
)
"""Operations that do not name the documents which they change; the trail does."""

EMPTYING: Final = frozenset({"truncate", "drop-collection"})
"""Operations that remove every document of a collection; the trail does not name these either."""

_MANY: Final = {
    "insert-many": ("insert", "document", "documents"),
    "update-many": ("update", "document", "documents"),
    "replace-many": ("replace", "document", "documents"),
    "delete-many": ("delete", "document", "documents"),
}
_SINGLE: Final = frozenset(single for single, _, _ in _MANY.values())
_NO_DOCUMENTS: Final = frozenset(
    {
        "create-collection",
        "create-index",
        "drop-index",
        "create-graph",
        "report-violation",
        "redrive",
    }
)
_MAX_WAYS: Final = 64


class Document(NamedTuple):
    """Which document."""

    database: str
    collection: str
    key: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.key}"


class Told(NamedTuple):
    """What a caller knows of one write: whether it was done, its result, and an error's code.

    A result of an answer from memory is without the documents that the first one showed.
    """

    outcome: str
    result: Any = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a command can have changed.

    Attributes:
        documents: Those that it names.
        fresh: Collections in which it can have made documents that it does not name.
        anything: Collections in which it can have changed any; `@` stands for all of them.
    """

    documents: frozenset[Document] = frozenset()
    fresh: frozenset[Place] = frozenset()
    anything: frozenset[Place] = frozenset()


def reach_of(database: str, collection: str, operation: str, arguments: Any) -> Reach:
    """What a mutating command can have changed; anything where `arguments` cannot be read."""
    documents, fresh, anything = set[Document](), set[Place](), set[Place]()
    try:
        for place, single, reference in _singles(operation, collection, arguments):
            key, _ = _reference(reference)
            if key is not None:
                documents.add(Document(database, place, key))
            else:
                (fresh if single == "insert" else anything).add((database, place))
    except (AttributeError, KeyError, TypeError):
        anything.add((database, collection))
    return Reach(frozenset(documents), frozenset(fresh), frozenset(anything))


def _singles(
    operation: str, collection: str, arguments: dict[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    """Collection, operation and reference of each write that a command consists of."""
    if operation == "transaction":
        for step in arguments["steps"]:
            yield from _singles(step["operation"], step["collection"], step["arguments"])
    elif operation in _MANY:
        single, _, many = _MANY[operation]
        yield from ((collection, single, entry) for entry in arguments[many])
    elif operation in _SINGLE:
        yield collection, operation, arguments["document"]
    elif operation not in _NO_DOCUMENTS:
        yield collection, operation, None


def parts_of(call: Call) -> dict[Document, Operation]:
    """What the call did to each document that it names; nothing for `WIDE` operations.

    What was refused did nothing; that a document was missing, or had another revision, was seen.
    """
    end = call.end if call.outcome != "outcome_unknown" else None
    if call.end is None and not call.mutates:
        return {}
    return {
        document: Operation(call.begin, end, ways, str(call))
        for document, ways in _ways(call).items()
        if ways
    }


def _ways(call: Call) -> dict[Document, tuple[Way, ...]]:
    found: dict[Document, list[tuple[Way, ...]]] = {}
    for collection, key, ways in _each(call):
        found.setdefault(Document(call.database, collection, key), []).append(ways)
    return {document: _in_sequence(several) for document, several in found.items()}


def _in_sequence(several: list[tuple[Way, ...]]) -> tuple[Way, ...]:
    """One document named more than once in a command: one after the other, at once."""
    if len(several) == 1:
        return several[0]
    ways = [tuple(part for way in choice for part in way) for choice in product(*several)]
    return tuple(ways) if len(ways) <= _MAX_WAYS else ()


_Seen = Iterator[tuple[str, str, tuple[Way, ...]]]


def _each(call: Call) -> _Seen:
    """Collection, key and possible ways, one for each document named, in order."""
    if call.operation == "transaction":
        yield from _transaction(call)
    elif call.operation in ("get", "exists", "get-many", "find"):
        yield from ((call.collection, *seen) for seen in _read(call))
    else:
        told = Told(call.outcome, _of_memory(call), call.code)
        writes = _writes(call.operation, call.arguments, told)
        yield from ((call.collection, *written) for written in writes)


def _of_memory(call: Call) -> Any:
    return _without_documents(call.result) if call.replayed else call.result


def _without_documents(result: Any) -> Any:
    if isinstance(result, list):
        return [_without_documents(entry) for entry in result]
    if isinstance(result, dict):
        return {name: value for name, value in result.items() if name not in ("new", "old")}
    return result


def _transaction(call: Call) -> _Seen:
    if call.outcome == "failed":
        return
    steps = call.arguments.get("steps", [])
    results = _of_memory(call)
    if not isinstance(results, list) or len(results) != len(steps):
        results = [None] * len(steps)
    for step, result in zip(steps, results, strict=True):
        told = Told(call.outcome, result, call.code)
        for key, ways in _writes(step["operation"], step.get("arguments", {}), told):
            yield step["collection"], key, ways


def _writes(
    operation: str, arguments: dict[str, Any], told: Told
) -> Iterator[tuple[str, tuple[Way, ...]]]:
    if operation in _MANY:
        single, one, many = _MANY[operation]
        entries = arguments.get(many, [])
        results = told.result
        if not isinstance(results, list) or len(results) != len(entries):
            results = [None] * len(entries)
        for entry, result in zip(entries, results, strict=True):
            yield from _write(single, arguments | {one: entry}, _told_of(told, result))
    else:
        yield from _write(operation, arguments, told)


def _told_of(told: Told, result: Any) -> Told:
    """What is known of one document of a batch."""
    if isinstance(result, dict) and "error" in result:
        return Told("failed", None, str(result["error"].get("code", "")))
    return Told(told.outcome, result, told.code)


def _write(
    operation: str, arguments: dict[str, Any], told: Told
) -> Iterator[tuple[str, tuple[Way, ...]]]:
    if operation not in ("insert", "update", "replace", "delete"):
        return
    key, rev = _reference(arguments.get("document"))
    if key is None and isinstance(told.result, dict):
        key = told.result.get("_key")
    if not isinstance(key, str):
        return
    if told.outcome == "failed":
        ways = _refused(operation, arguments, told.code, rev)
    elif operation == "insert":
        ways = tuple(_inserted(arguments, told))
    else:
        ways = _changed(operation, arguments, told, rev)
    yield key, ways


def _reference(document: Any) -> tuple[str | None, str | None]:
    """The key and the revision that a reference names."""
    if isinstance(document, str):
        return document.rpartition("/")[2], None
    if not isinstance(document, dict):
        return None, None
    key = document.get("_key")
    if key is None and isinstance(document.get("_id"), str):
        key = document["_id"].rpartition("/")[2]
    rev = document.get("_rev")
    return (key if isinstance(key, str) else None), (rev if isinstance(rev, str) else None)


def _expected(arguments: dict[str, Any], rev: str | None) -> str | None:
    if arguments.get("check_rev", True) is False:
        return None
    named: str | None = arguments.get("rev")
    return named or rev


def _refused(
    operation: str, arguments: dict[str, Any], code: str, rev: str | None
) -> tuple[Way, ...]:
    """What a refusal says of the document; an insert's may be about another one's unique value."""
    if operation == "insert":
        return ()
    if code == DocumentNotFound.code:
        return ((Part("see", there=False),),)
    expected = _expected(arguments, rev)
    if code == RevisionMismatch.code and expected is not None:
        return ((Part("see", there=True, other_than=expected),),)
    return ()


def _inserted(arguments: dict[str, Any], told: Told) -> Iterator[Way]:
    body = canonical(arguments["document"])
    mode = arguments.get("overwrite_mode")
    if mode is None:
        mode = "replace" if arguments.get("overwrite") else "conflict"
    new_rev, old_rev, _, whole = _result(told.result)
    if old_rev is None:
        yield (Part("put", there=False, new_rev=new_rev, body=body),)
    if mode == "replace":
        yield (Part("put", there=True, rev=old_rev, new_rev=new_rev, body=body),)
    elif mode == "update":
        yield (_patch(arguments, body, Part("patch", True, old_rev, new_rev=new_rev, whole=whole)),)
    elif mode == "ignore":
        yield (Part("see", there=True, rev=new_rev),)


def _changed(
    operation: str, arguments: dict[str, Any], told: Told, rev: str | None
) -> tuple[Way, ...]:
    expected = _expected(arguments, rev)
    new_rev, old_rev, old, whole = _result(told.result)
    if operation == "delete":
        if told.result is False:
            return ((Part("see", there=False),),)
        if arguments.get("ignore_missing") and told.result is None:
            return ((Part("remove", rev=expected),), (Part("see", there=False),))
        found = old_rev or (new_rev if isinstance(told.result, dict) else None) or expected
        return ((Part("remove", there=True, rev=found, found=old),),)
    body = canonical(arguments["document"])
    found = old_rev or expected
    if operation == "replace":
        return ((Part("put", True, found, old, new_rev=new_rev, body=body),),)
    part = Part("patch", True, found, old, new_rev=new_rev, whole=whole)
    return ((_patch(arguments, body, part),),)


def _patch(arguments: dict[str, Any], body: str, part: Part) -> Part:
    return Part(
        "patch",
        part.there,
        part.rev,
        part.found,
        None,
        part.new_rev,
        body,
        part.whole,
        keep_none=arguments.get("keep_none", True) is not False,
        merge=arguments.get("merge", True) is not False,
    )


def _result(result: Any) -> tuple[str | None, str | None, str | None, str | None]:
    """New and old revision, old and new body, as far as a result tells them."""
    if not isinstance(result, dict):
        return None, None, None, None
    old, new = result.get("old"), result.get("new")
    return (
        result.get("_rev"),
        result.get("_old_rev"),
        canonical(old) if isinstance(old, dict) else None,
        canonical(new) if isinstance(new, dict) else None,
    )


def _read(call: Call) -> Iterable[tuple[str, tuple[Way, ...]]]:
    if call.outcome != "done" or call.code:
        if call.operation == "get" and call.outcome == "failed":
            key, rev = _reference(call.arguments.get("document"))
            if key is not None:
                yield key, _refused("get", call.arguments, call.code, rev)
        return
    if call.operation == "find":
        yield from ((each["_key"], _seen(each)) for each in call.result["documents"])
    elif call.operation == "get-many":
        found = {each["_key"]: each for each in call.result}
        for reference in call.arguments["documents"]:
            key, _ = _reference(reference)
            if key is not None:
                yield key, _seen(found.get(key))
    else:
        key, _ = _reference(call.arguments.get("document"))
        if key is None:
            return
        if call.operation == "exists":
            yield key, ((Part("see", there=call.result is True),),)
        else:
            yield key, _seen(call.result)


def _seen(document: Any) -> tuple[Way, ...]:
    if document is None:
        return ((Part("see", there=False),),)
    return ((Part("see", True, document.get("_rev"), canonical(document)),),)
