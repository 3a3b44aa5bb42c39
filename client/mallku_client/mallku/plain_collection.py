"""A collection behind the gateway, in the shape of python-arango's: what `_collection` is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any

import mallku_client as awaited
from mallku_client.mallku.absent import OF_COLLECTIONS, TTL, absent
from mallku_client.mallku.calls import Face, at_once, failed, give, start
from mallku_client.mallku.gateway import Gateway
from mallku_client.mallku.inserting import insert_once, prepare, submit
from mallku_client.mallku.pages import Documents, QueryPages
from mallku_client.mallku.rows import DEFAULT_PAGE_ROWS, Rows
from mallku_client.mallku.values import plain
from mallku_contracts.document_keys import check_key
from mallku_contracts.errors import CollectionNotFound, MallkuError, NotSupported
from mallku_contracts.subjects import check_name

Document = dict[str, Any]
Work = Coroutine[Any, Any, Any]


class PlainCollection:
    """One collection behind the gateway.

    Args:
        creates: A write makes the collection where it is missing, and a read finds nothing then.
    """

    def __init__(
        self, gateway: Gateway, name: str, face: Face = Face.BLOCKING, *, creates: bool = False
    ) -> None:
        self._gateway = gateway
        self._name = check_name(name, "collection")
        self._face = face
        self._creates = creates

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def __getattr__(self, name: str) -> Any:
        return absent("a collection", name, self._face, OF_COLLECTIONS)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    def facing(self, face: Face) -> PlainCollection:
        """The same collection with the other face."""
        if face is self._face:
            return self
        return PlainCollection(self._gateway, self._name, face, creates=self._creates)

    def __await__(self) -> Generator[Any, None, PlainCollection]:
        return at_once(self.facing(Face.AWAITED)).__await__()

    # --- one document

    def insert(self, document: Document, **options: Any) -> Any:
        """Put in a new document: `{"_id", "_key", "_rev"}`.

        Where a document with all of these attributes is there already, under a key that the caller
        made, it counts as put in: an insert that is repeated is no conflict. Further attributes do
        not count: the policy may have put them in (`set`).

        Raises:
            UniqueViolation: another document has the key, or a unique value.
            InvalidKey, InvalidArguments: it cannot be stored; nothing is sent.
        """

        def work() -> Work:
            made = prepare(document)
            if not options and self._gateway.submits(self._name):
                return submit(self._gateway, self._name, made)
            return self._write(lambda found: insert_once(found, made, options), made)

        return self._call(work)

    def get(self, document: Any, **options: Any) -> Any:
        """The document with this key, None when there is none.

        Gets of the same moment become one command, but for those that name a revision.

        Raises:
            RevisionMismatch: the document is there in another revision than the `_rev` given.
        """
        if options.keys() - {"model"}:
            return self._named("get", None, document, options)
        try:
            reference = _reference(self._name, document)
        except MallkuError as error:
            return failed(self._face, error)
        if isinstance(reference, dict) and reference.get("_rev") is not None:
            named = {name: reference[name] for name in ("_key", "_rev")}
            return self._named("get", None, named, options)
        key = reference["_key"] if isinstance(reference, dict) else reference
        future = self._gateway.reads.ask(self._name, key, options.get("model"), self._creates)
        return give(self._face, future, self._gateway.reads.flush)

    def has(self, document: Any, **options: Any) -> Any:
        """Whether there is a document with this key."""
        return self._named("has", False, document, options)

    def update(self, document: Any, values: Document | None = None, **options: Any) -> Any:
        """Change the given attributes: of the document that `_key` names, or a first argument."""
        return self._change("update", document, values, options)

    def replace(self, document: Any, values: Document | None = None, **options: Any) -> Any:
        """Put a document in the place of the one with its `_key`."""
        return self._change("replace", document, values, options)

    def _change(
        self, method: str, document: Any, values: Document | None, options: dict[str, Any]
    ) -> Any:
        def work() -> Work:
            made = prepare(_merged(document, values))
            return self._send(method, (made,), options)

        return self._call(work)

    def delete(self, document: Any, **options: Any) -> Any:
        """Remove the document with this key."""
        return self._call(
            lambda: self._send("delete", (_reference(self._name, document),), options)
        )

    def upsert(self, filters: Document, insert: Document, **options: Any) -> Any:
        """Put in `insert` unless a document equals `filters`; else change that one."""

        def work() -> Work:
            given = (plain(filters, "filters"), prepare(insert))
            changes = {name: plain(value, name) for name, value in options.items()}
            return self._write(lambda found: found.upsert(*given, **changes), given[1])

        return self._call(work)

    # --- several

    def insert_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Put in several documents: a result or an error for each."""

        def work() -> Work:
            made = [prepare(document) for document in documents]
            first = made[0] if made else {}
            return self._write(lambda found: found.insert_many(made, **options), first)

        return self._call(work)

    def get_many(self, documents: Sequence[Any], **options: Any) -> Any:
        """Those of the documents with these keys that are there."""
        return self._call(lambda: self._read("get_many", [], (plain(list(documents)),), options))

    def update_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Change several documents."""
        return self._through("update_many", documents, **options)

    def replace_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Replace several documents."""
        return self._through("replace_many", documents, **options)

    def delete_many(self, documents: Sequence[Any], **options: Any) -> Any:
        """Remove several documents."""
        return self._through("delete_many", documents, **options)

    def update_match(self, filters: Document, body: Document, **options: Any) -> Any:
        """Change whatever equals the filters; how many."""
        return self._through_any("update_match", filters, body, **options)

    def replace_match(self, filters: Document, body: Document, **options: Any) -> Any:
        """Replace whatever equals the filters; how many."""
        return self._through_any("replace_match", filters, body, **options)

    def delete_match(self, filters: Document, **options: Any) -> Any:
        """Remove whatever equals the filters; how many."""
        return self._through_any("delete_match", filters, **options)

    def truncate(self, **options: Any) -> Any:
        """Remove every document; how many."""
        return self._through_any("truncate", **options)

    def find(
        self, filters: Document, skip: int = 0, limit: int | None = None, **options: Any
    ) -> Rows:
        """The documents that equal every filter, in pages."""
        given = plain(filters, "filters")
        return self._rows(given, {"skip": skip or None, "limit": limit, **options})

    def all(self, skip: int = 0, limit: int | None = None, **options: Any) -> Rows:
        """All documents, in the order of their keys, in pages."""
        return self.find({}, skip, limit, **options)

    def keys(self, **_hints: Any) -> Rows:
        """The key of every document, in pages."""
        return self._each("_key")

    def ids(self, **_hints: Any) -> Rows:
        """The id of every document, in pages."""
        return self._each("_id")

    def count(self, filters: Document | None = None) -> Any:
        """How many documents there are, or how many equal every filter."""
        return self._call(lambda: self._read("count", 0, (plain(filters),), {}))

    # --- what the collection is

    def exists(self) -> Any:
        """Whether the collection is there."""
        return start(self._face, self._gateway.has_collection(self._name))

    def properties(self) -> Any:
        """What the collection is: name, type, number of documents and of indexes."""
        return self._through("describe")

    def indexes(self) -> Any:
        """All indexes of the collection."""
        return self._call(lambda: self._read("indexes", [], (), {}))

    def add_index(self, data: Document) -> Any:
        """Make the index that `data` describes.

        Raises:
            NotSupported: it would remove documents.
        """
        given = plain(data)
        if isinstance(given, dict) and given.get("type") == "ttl":
            return failed(self._face, NotSupported(f"an index of type ttl: {TTL}"))
        return self._call(lambda: self._write(lambda found: found.add_index(given), {}))

    def add_persistent_index(
        self,
        fields: Sequence[str],
        unique: bool | None = None,
        sparse: bool | None = None,
        name: str | None = None,
    ) -> Any:
        """Make an index over `fields`; asking again for the same one is no error."""
        wanted = {"fields": fields, "unique": unique, "sparse": sparse, "name": name}
        given = {key: value for key, value in wanted.items() if value is not None}
        return self.add_index({"type": "persistent", **given})

    def delete_index(self, index_id: str, ignore_missing: bool = False) -> Any:
        """Remove an index by its id or name."""
        return self._through("delete_index", index_id, ignore_missing)

    # --- how

    def _call(self, make: Callable[[], Work]) -> Any:
        """Begin what `make` prepares in the caller's own thread, from values as they are now."""
        try:
            work = make()
        except MallkuError as error:
            return failed(self._face, error)
        return start(self._face, work)

    def _named(self, method: str, nothing: Any, document: Any, options: dict[str, Any]) -> Any:
        """Something about the document that a reference names."""
        return self._call(
            lambda: self._read(method, nothing, (_reference(self._name, document),), options)
        )

    def _through(self, method: str, *values: Any, **options: Any) -> Any:
        return self._call(lambda: self._send(method, tuple(map(plain, values)), options))

    def _through_any(self, method: str, *values: Any, **options: Any) -> Any:
        """As `_through`, for what touches no document where there is no collection."""
        return self._call(lambda: self._read(method, 0, tuple(map(plain, values)), options))

    async def _send(self, method: str, values: tuple[Any, ...], options: dict[str, Any]) -> Any:
        collection = await self._gateway.collection(self._name)
        return await getattr(collection, method)(*values, **options)

    async def _read(
        self, method: str, nothing: Any, values: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        try:
            return await self._send(method, values, options)
        except CollectionNotFound:
            if not self._creates:
                raise
            return nothing

    async def _write(
        self, write: Callable[[awaited.Collection], Awaitable[Any]], document: Document
    ) -> Any:
        if not self._creates:
            return await write(await self._gateway.collection(self._name))
        edge = "_from" in document and "_to" in document
        return await self._gateway.write(self._name, edge, write)

    def _rows(self, filters: Document, options: dict[str, Any]) -> Rows:
        async def begin() -> Documents:
            collection = await self._gateway.collection(self._name)
            asked: Any = {"batch_size": DEFAULT_PAGE_ROWS, **options}
            cursor = collection.find(filters, **asked)
            try:
                await cursor
            except CollectionNotFound:
                if not self._creates:
                    raise
                return Documents(None)
            return Documents(cursor)

        return Rows(self._face, begin())

    def _each(self, attribute: str) -> Rows:
        """One attribute of every document."""

        async def begin() -> Documents | QueryPages:
            database = await self._gateway.database()
            try:
                cursor = await database.aql.execute(
                    "FOR d IN @@collection RETURN d[@attribute]",
                    bind_vars={"@collection": self._name, "attribute": attribute},
                    batch_size=DEFAULT_PAGE_ROWS,
                    read_only=True,
                )
            except CollectionNotFound:
                if not self._creates:
                    raise
                return Documents(None)
            return QueryPages(cursor, None)

        return Rows(self._face, begin())


def _reference(collection: str, document: Any) -> Any:
    """What names a document: a key of this collection, or a map that has one and a revision.

    Raises:
        InvalidKey: it is no key, or of another collection.
    """
    value = plain(document, "document")
    if isinstance(value, dict):
        return {**value, "_key": check_key(str(_key_of(collection, value)))}
    return check_key(str(value).removeprefix(f"{collection}/"))


def _key_of(collection: str, reference: Document) -> Any:
    key = reference.get("_key")
    return key if key is not None else str(reference.get("_id")).removeprefix(f"{collection}/")


def _merged(document: Any, values: Document | None) -> Document:
    """What an update sends, of both ways in which Mallku calls it."""
    if values is None:
        return document  # type: ignore[no-any-return]  # `prepare` refuses what is no document
    reference = plain(document, "document")
    named = reference if isinstance(reference, dict) else {"_key": reference}
    return {**named, **values, **{name: named[name] for name in ("_key", "_id") if name in named}}
