"""Functions that ask the store, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.analysis import collection_name
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS
from mallku_workers.stores.embedded.aql.run import Evaluate, Row, Run, failed

CompileArgument = Callable[[t.Expression], Evaluate]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A function that is answered by the store."""

    min_args: int
    max_args: int
    compile: Callable[[Run, t.Call, CompileArgument], Evaluate]


def find_document(run: Run, handle: Any) -> dict[str, Any] | None:
    """The document of an id, None where there is none, or none that this query may read."""
    if not isinstance(handle, str):
        return None
    name, slash, key = handle.partition("/")
    if run.may_read is not None and not run.may_read(name):
        return None
    collection = run.source.catalog.collections.get(name)
    return run.source.get(collection, key) if slash and collection is not None else None


def _document(run: Run, node: t.Call, compile_argument: CompileArgument) -> Evaluate:
    arguments = [compile_argument(argument) for argument in _named(run, node)]
    if len(arguments) == 1:
        (single,) = arguments
        return lambda row: _documents(run, single(row), "")
    name, keys = arguments
    return lambda row: _documents(run, keys(row), name(row))


def _named(run: Run, node: t.Call) -> list[t.Expression]:
    """The arguments; a collection in the first place of several is its name.

    Raises:
        CollectionNotFound: There is none of that name; one that a string names may be missing.
    """
    first, *rest = node.arguments
    if rest and isinstance(first, t.Collection | t.CollectionBind):
        collection = run.source.catalog.collection(collection_name(first, run.binds))
        first = t.Literal(collection.name)
    return [first, *rest]


def _same_collection(run: Run, node: t.Call, compile_argument: CompileArgument) -> Evaluate:
    name, handle = (compile_argument(argument) for argument in _named(run, node))
    same, call = FUNCTIONS["IS_SAME_COLLECTION"].call, run.call
    return lambda row: same(call, name(row), handle(row))


def _documents(run: Run, wanted: Any, collection: Any) -> Any:
    if not isinstance(collection, str):
        return run.call.wrong_type("DOCUMENT")
    prefix = f"{collection}/" if collection else ""

    def one(handle: Any) -> Any:
        if prefix and isinstance(handle, str) and "/" not in handle:
            handle = prefix + handle
        if prefix and not (isinstance(handle, str) and handle.startswith(prefix)):
            return None
        return find_document(run, handle)

    if isinstance(wanted, list):
        return [found for found in map(one, wanted) if found is not None]
    return one(wanted)


def _length(run: Run, node: t.Call, compile_argument: CompileArgument) -> Evaluate:
    (argument,) = node.arguments
    if isinstance(argument, t.Collection | t.CollectionBind):
        return _size(run, argument)
    value = compile_argument(argument)
    length, call = FUNCTIONS["LENGTH"].call, run.call
    return lambda row: length(call, value(row))


def _size(run: Run, name: t.CollectionName) -> Evaluate:
    collection = run.source.catalog.collection(collection_name(name, run.binds))
    return lambda _row: run.source.count(collection)


def _collection_count(run: Run, node: t.Call, compile_argument: CompileArgument) -> Evaluate:
    (argument,) = node.arguments
    if isinstance(argument, t.Collection | t.CollectionBind):
        return _size(run, argument)
    value = compile_argument(argument)

    def count(row: Row) -> int:
        name = value(row)
        if not isinstance(name, str):
            raise failed(node, "COLLECTION_COUNT() takes a name", w.ARGUMENT_TYPE)
        return run.source.count(run.source.catalog.collection(name))

    return count


def _collections(run: Run, _node: t.Call, _compile: CompileArgument) -> Evaluate:
    def collections(_row: Row) -> list[dict[str, Any]]:
        known = sorted(run.source.catalog.collections.values(), key=lambda one: one.name)
        return [{"_id": str(one.id), "name": one.name} for one in known]

    return collections


LOOKUPS: Final[Mapping[str, Lookup]] = {
    "DOCUMENT": Lookup(1, 2, _document),
    "LENGTH": Lookup(1, 1, _length),
    "COUNT": Lookup(1, 1, _length),
    "COLLECTION_COUNT": Lookup(1, 1, _collection_count),
    "IS_SAME_COLLECTION": Lookup(2, 2, _same_collection),
    "COLLECTIONS": Lookup(0, 0, _collections),
}
"""Every function that needs the store, by its name."""
