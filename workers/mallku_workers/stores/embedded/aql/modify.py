"""INSERT, UPDATE, REPLACE, REMOVE and UPSERT: changes that rows ask for, within one transaction.

All rows are known before the first change is made, so that no loop meets its own changes. A row
that fails undoes the whole query, unless `ignoreErrors` was asked for: then it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mallku_contracts.aql import tree as t
from mallku_contracts.arguments import Document
from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidDocument,
    QueryFailed,
    RequestError,
    UniqueViolation,
)
from mallku_workers.stores.documents import SYSTEM, own_key, patched, whole
from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.access import Bound, choose
from mallku_workers.stores.embedded.aql.run import (
    POINTER_BYTES,
    Evaluate,
    Row,
    Run,
    Shares,
    failed,
    weigh,
    wrong,
)
from mallku_workers.stores.embedded.aql.source import SessionSource, Source
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.paths import Path, lookup

if TYPE_CHECKING:
    from mallku_workers.stores.embedded.aql.expressions import Expressions
    from mallku_workers.stores.embedded.aql.scope import Scope
    from mallku_workers.stores.embedded.aql.statements import Stage

MISSING_KEY: Final = 1226
READ_ONLY: Final = 1479

WEIGHT_OF_A_BYTE: Final = POINTER_BYTES // 2
"""What `weigh` says at most of one byte of JSON: every value has two of them, its comma with it."""

Change: TypeAlias = tuple[Document | None, Document | None]
"""The old and the new version of a document."""

OverwriteMode: TypeAlias = Literal["conflict", "ignore", "replace", "update"]

_MODES: Final[dict[Any, OverwriteMode]] = {
    "conflict": "conflict",
    "ignore": "ignore",
    "replace": "replace",
    "update": "update",
}


@dataclass(frozen=True, slots=True)
class Options:
    """OPTIONS of a change, under the document API's names."""

    ignore_errors: bool = False
    keep_none: bool = True
    merge: bool = True
    overwrite_mode: OverwriteMode = "conflict"


def compile_modification(
    expressions: Expressions, run: Run, node: t.Modification, scope: Scope
) -> Stage:
    """A stage that changes one document for each row, and gives OLD and NEW to what follows."""
    collection = expressions.collection(node.collection)
    options = read_options(expressions, node.options, scope)
    writing = _Writing(run.source, collection, options, node)
    change = _compile(expressions, writing, node, scope)
    old_slot = scope.find("OLD") if isinstance(node, t.Upsert) else None
    old_slot = scope.declare("OLD") if old_slot is None else old_slot
    new_slot = scope.declare("NEW")
    return _Modifying(run, change, options, old_slot, new_slot).stage


def read_options(expressions: Expressions, node: t.ObjectLiteral | None, scope: Scope) -> Options:
    """The options of a change, each by its truth; unknown ones are ignored, as ArangoDB does."""
    given: dict[str, Any] = {} if node is None else expressions.constant(node, scope)
    mode = _MODES.get(given.get("overwriteMode"))
    if mode is None:
        mode = "replace" if o.to_bool(given.get("overwrite")) else "conflict"
    return Options(
        ignore_errors=o.to_bool(given.get("ignoreErrors")),
        keep_none=o.to_bool(given.get("keepNull", True)),
        merge=o.to_bool(given.get("mergeObjects", True)),
        overwrite_mode=mode,
    )


@dataclass(frozen=True)
class _Modifying:
    run: Run
    change: Callable[[Row], Change]
    options: Options
    old_slot: int
    new_slot: int

    def stage(self, rows: Iterator[Row], _base: Row) -> Iterator[Row]:
        """Every row, with what it changed."""
        for row in self._all(rows):
            self.run.turn()
            row[self.old_slot], row[self.new_slot] = self._apply(row)
            yield row

    def _all(self, rows: Iterator[Row]) -> list[Row]:
        found, shares = [], Shares(self.run.memory)
        for row in rows:
            shares.keep(row)
            found.append(row)
        return found

    def _apply(self, row: Row) -> Change:
        try:
            change = self.change(row)
        except RequestError:
            if not self.options.ignore_errors:
                raise
            self.run.statistics.writes_ignored += 1
            return None, None
        self.run.statistics.writes_executed += 1
        return change


def _compile(
    expressions: Expressions, writing: _Writing, node: t.Modification, scope: Scope
) -> Callable[[Row], Change]:
    match node:
        case t.Insert():
            body = expressions.compile(node.document, scope)
            return lambda row: writing.insert(body(row))
        case t.Update():
            patch = expressions.compile(node.patch, scope)
            named = patch if node.key is None else expressions.compile(node.key, scope)
            return lambda row: writing.update(named(row), patch(row))
        case t.Replace():
            body = expressions.compile(node.document, scope)
            named = body if node.key is None else expressions.compile(node.key, scope)
            return lambda row: writing.replace(named(row), body(row))
        case t.Remove():
            named = expressions.compile(node.key, scope)
            return lambda row: writing.remove(named(row))
        case t.Upsert():
            return _compile_upsert(expressions, writing, node, scope)


def _compile_upsert(
    expressions: Expressions, writing: _Writing, node: t.Upsert, scope: Scope
) -> Callable[[Row], Change]:
    search = expressions.compile(node.search, scope)
    insert = expressions.compile(node.insert, scope)
    slot = scope.declare("OLD")
    body: Evaluate = expressions.compile(node.change, scope)
    change = writing.put if node.replace else writing.patch

    def upsert(row: Row) -> Change:
        old = writing.find(search(row))
        if old is None:
            return writing.insert(insert(row))
        row[slot] = old
        return change(old, body(row))

    return upsert


@dataclass(frozen=True)
class _Writing:
    """Changes of one collection's documents."""

    source: Source
    collection: Collection
    options: Options
    node: t.Modification

    @property
    def _session(self) -> Session:
        if not isinstance(self.source, SessionSource):
            raise wrong(self.node, "a query that may only read would change this", READ_ONLY)
        return self.source.session

    def insert(self, body: Any) -> Change:
        """A new document, or what the overwrite mode says where its key is taken."""
        document = self._object(body)
        key = own_key(self.collection, document)
        old = None if key is None else self._session.get(self.collection, key)
        if old is not None:
            return self._overwrite(old, document)
        if key is None:
            key = self._session.new_key(self.collection)
        else:
            self._session.note_own_key(self.collection, key)
        return self._store(None, whole(self.collection, key, self._revision(), document))

    def _overwrite(self, old: Document, body: Document) -> Change:
        match self.options.overwrite_mode:
            case "replace":
                return self.put(old, body)
            case "update":
                return self.patch(old, body)
            case "ignore":
                return old, None
            case "conflict":
                raise UniqueViolation(f"a document with this key exists already: {old['_id']}")

    def update(self, named: Any, patch: Any) -> Change:
        """Merge `patch` into the document that is named."""
        return self.patch(self._target(named), patch)

    def replace(self, named: Any, body: Any) -> Change:
        """Put `body` in the place of the document that is named."""
        return self.put(self._target(named), body)

    def remove(self, named: Any) -> Change:
        """Remove the document that is named."""
        old = self._target(named)
        self._session.remove(self.collection, old)
        return old, None

    def patch(self, old: Document, patch: Any) -> Change:
        """The document with the attributes of `patch`."""
        changes = self._object(patch)
        if SYSTEM.issuperset(changes):
            return old, old
        new = patched(
            self.collection,
            old,
            changes,
            keep_none=self.options.keep_none,
            merge=self.options.merge,
        )
        new["_rev"] = self._revision()
        return self._store(old, new)

    def put(self, old: Document, body: Any) -> Change:
        """Another document under the same key."""
        return self._store(
            old, whole(self.collection, old["_key"], self._revision(), self._object(body))
        )

    def find(self, example: Any) -> Document | None:
        """The first document that agrees with the example, attribute by attribute."""
        if not isinstance(example, dict):
            raise failed(self.node, "UPSERT searches by an object", InvalidDocument.error_code or 0)
        wanted = list(_flattened(self._object(example)))
        bounds = [Bound(path, "==", value) for path, value in wanted]
        for document in self.source.documents(choose(self.collection, bounds)):
            if all(o.equal(lookup(document, path), value) for path, value in wanted):
                return self._session.get(self.collection, document["_key"])
        return None

    def _target(self, named: Any) -> Document:
        key = named.get("_key") if isinstance(named, dict) else named
        if not isinstance(named, dict | str):
            raise InvalidDocument(
                f"a document is named by a key or an object, not {o.type_name(named)}"
            )
        if not isinstance(key, str):
            raise QueryFailed(
                f"{self.node.at}: the document is named by no _key", error_code=MISSING_KEY
            )
        old = self._session.get(self.collection, key)
        if old is None:
            raise DocumentNotFound(f"there is no document {self.collection.prefix}{key:.254}")
        return old

    def _store(self, old: Document | None, new: Document) -> Change:
        return old, self._session.put(self.collection, old, new)

    def _revision(self) -> str:
        return self._session.next_revision()

    def _object(self, value: Any) -> Document:
        """An object, as far as can be told not too large for a document."""
        if not isinstance(value, dict):
            raise InvalidDocument(f"a document has to be an object, not {o.type_name(value)}")
        limit = self._session.settings.max_document_bytes
        if weigh(value, WEIGHT_OF_A_BYTE * limit) > WEIGHT_OF_A_BYTE * limit:
            raise InvalidDocument(f"the document has more than the {limit} bytes allowed")
        return value


def _flattened(example: Document, before: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in example.items():
        if isinstance(value, dict) and value:
            yield from _flattened(value, (*before, name))
        else:
            yield (*before, name), value
