"""The plain operations through the gateway, in the shape of a python-arango database.

What stands here is what Mallku's callers reach through `_database` and `_collection`: no security
policy of the client's own is looked at (the workers' is), and nothing comes into being by a write
unless the object was made so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Final

from mallku_client.mallku.absent import OF_DATABASES, OF_QUERIES, absent
from mallku_client.mallku.calls import Face, at_once, failed, start
from mallku_client.mallku.gateway import Database, Gateway
from mallku_client.mallku.pages import QueryPages, Reading
from mallku_client.mallku.plain_collection import PlainCollection
from mallku_client.mallku.rows import DEFAULT_PAGE_ROWS, Rows
from mallku_client.mallku.values import plain
from mallku_contracts.errors import InvalidKey

_FLAGS: Final = frozenset({"count", "fail_on_warning", "full_count", "profile"})
_CALL: Final = frozenset({"idempotency_key", "on_answer"})

HINTS: Final = frozenset(
    {
        "allow_dirty_read",
        "allow_retry",
        "cache",
        "fill_block_cache",
        "force_one_shard_attribute_value",
        "intermediate_commit_count",
        "intermediate_commit_size",
        "max_plans",
        "max_runtime",
        "max_transaction_size",
        "max_warning_count",
        "memory_limit",
        "optimizer_rules",
        "satellite_sync_wait",
        "skip_inaccessible_cols",
        "stream",
        "ttl",
        "use_plan_cache",
    }
)
"""Options of python-arango's queries that are the worker's, or the policy's, to decide."""


class CollectionName(str):  # noqa: SLOT000 - it has its type beside the text
    """A collection as `collections()` lists it: its name, and `item["name"]`, `item["type"]`."""

    type: str

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> CollectionName:
        """What a gateway says of a collection."""
        made = cls(info["name"])
        made.type = info["type"]
        return made

    @property
    def name(self) -> str:
        """The name alone."""
        return str(self)

    def __getitem__(self, key: Any) -> Any:
        if key in ("name", "type"):
            return getattr(self, key)
        if key in ("system", "id", "status"):
            return {"system": False, "id": str(self), "status": "loaded"}[key]
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As a map's `get`."""
        return self[key] if key in ("name", "type", "system", "id", "status") else default


class PlainAQL:
    """Queries, where python-arango has them."""

    def __init__(self, gateway: Gateway, face: Face = Face.BLOCKING) -> None:
        self._gateway = gateway
        self._face = face

    def __getattr__(self, name: str) -> Any:
        return absent("aql", name, self._face, OF_QUERIES)

    def execute(
        self,
        query: str,
        bind_vars: Mapping[str, Any] | None = None,
        *,
        batch_size: int | None = None,
        timeout: float | None = None,
        read_only: bool = True,
        reading: Reading | None = None,
        **options: Any,
    ) -> Rows:
        """Have a query run; its rows come in pages.

        Args:
            bind_vars: Values, never put into the text.
            timeout: For the query, and for each page, seconds.
            read_only: Have the worker refuse whatever would change documents. Mallku's queries
                only read, and words of its users come into some of their texts.
            reading: What is done with each page before anybody has it.
            options: `count`, `full_count`, `fail_on_warning`, `profile`, `idempotency_key` and
                `on_answer`, as `mallku_client.AQL.execute`. What python-arango tells the server of
                how to go about it (`HINTS`) is taken, and comes to nothing.

        Raises:
            TypeError: there is no such option.
            MallkuError: on the blocking face, whatever is wrong with the query.
        """
        values = plain(dict(bind_vars or {}), "bind_vars")
        sent: Any = _sent(options)
        if timeout is not None:
            sent["timeout"] = timeout

        async def begin() -> QueryPages:
            database = await self._gateway.database()
            cursor = await database.aql.execute(
                query,
                bind_vars=values,
                batch_size=batch_size or DEFAULT_PAGE_ROWS,
                read_only=read_only,
                **sent,
            )
            return QueryPages(cursor, reading)

        return Rows(self._face, begin())


def _sent(options: Mapping[str, Any]) -> dict[str, Any]:
    """What goes to the gateway of a query's options; None is as good as not given."""
    for name in options:
        if name not in _FLAGS and name not in _CALL and name not in HINTS:
            raise TypeError(f"execute() got an unexpected keyword argument {name!r}")
    given = {name: value for name, value in options.items() if value is not None}
    flags = {name: bool(value) for name, value in given.items() if name in _FLAGS}
    return flags | {name: value for name, value in given.items() if name in _CALL}


class PlainDatabase:
    """A database behind the gateway, with python-arango's names: what `_database` is."""

    def __init__(self, gateway: Gateway, face: Face = Face.BLOCKING) -> None:
        self.gateway = gateway
        self._face = face
        self.aql = PlainAQL(gateway, face)

    def __getattr__(self, name: str) -> Any:
        return absent("a database", name, self._face, OF_DATABASES)

    def facing(self, face: Face) -> PlainDatabase:
        """The same database with the other face."""
        return self if face is self._face else PlainDatabase(self.gateway, face)

    def __await__(self) -> Generator[Any, None, PlainDatabase]:
        return at_once(self.facing(Face.AWAITED)).__await__()

    def collection(self, name: str, *, creates: bool = False) -> PlainCollection:
        """A collection by its name; nothing is sent."""
        return PlainCollection(self.gateway, name, self._face, creates=creates)

    def has_collection(self, name: str) -> Any:
        """Whether there is a collection of this name."""
        return start(self._face, self.gateway.has_collection(name))

    def create_collection(self, name: str, edge: bool = False, **_hints: Any) -> Any:
        """Make a collection: the collection.

        Raises:
            CollectionExists: there is one of this name.
        """

        async def work() -> PlainCollection:
            await (await self.gateway.database()).create_collection(name, edge=edge)
            return self.collection(name)

        return start(self._face, work())

    def ensure(self, name: str, edge: bool, then: Callable[[], Any]) -> Any:
        """Make a collection unless it is there; what `then` gives."""

        async def work() -> Any:
            await self.gateway.make(name, edge)
            return then()

        return start(self._face, work())

    def delete_collection(self, name: str, ignore_missing: bool = False) -> Any:
        """Remove a collection with everything in it."""
        return self._do(lambda database: database.delete_collection(name, ignore_missing))

    def collections(self) -> Any:
        """All collections: names, of each of which `["name"]` and `["type"]` can be asked."""

        async def work() -> list[CollectionName]:
            infos = await (await self.gateway.database()).collections()
            return [CollectionName.of(info) for info in infos]

        return start(self._face, work())

    # --- documents by their ids

    def insert_document(self, collection: str, document: dict[str, Any], **options: Any) -> Any:
        """Put in a new document, as the collection's `insert`."""
        return self.collection(collection).insert(document, **options)

    def document(self, document: Any, **options: Any) -> Any:
        """The document with this id, None when there is none."""
        return self._of(document, "get", options)

    def has_document(self, document: Any, **options: Any) -> Any:
        """Whether there is a document with this id."""
        return self._of(document, "has", options)

    def update_document(self, document: dict[str, Any], **options: Any) -> Any:
        """Change the given attributes of the document that `_id` names."""
        return self._of(document, "update", options)

    def replace_document(self, document: dict[str, Any], **options: Any) -> Any:
        """Put a document in the place of the one with its `_id`."""
        return self._of(document, "replace", options)

    def delete_document(self, document: Any, **options: Any) -> Any:
        """Remove the document with this id."""
        return self._of(document, "delete", options)

    def _of(self, document: Any, method: str, options: dict[str, Any]) -> Any:
        """A method of the collection that an id names."""
        named = document.get("_id") if isinstance(document, Mapping) else document
        collection, slash, _key = str(named).partition("/")
        if not slash:
            error = InvalidKey("document: its `_id` is asked for, 'collection/key'")
            return failed(self._face, error)
        return getattr(self.collection(collection), method)(document, **options)

    # --- graphs

    def has_graph(self, name: str) -> Any:
        """Whether there is a named graph of this name."""
        return self._do(lambda database: database.has_graph(name))

    def graphs(self) -> Any:
        """All named graphs."""
        return self._do(lambda database: database.graphs())

    def create_graph(self, name: str, edge_definitions: Any = None, **options: Any) -> Any:
        """Make a named graph over edge collections."""
        return self._do(lambda database: database.create_graph(name, edge_definitions, **options))

    def delete_graph(self, name: str, ignore_missing: bool = False) -> Any:
        """Remove a named graph, and none of its collections."""
        return self._do(lambda database: database.delete_graph(name, ignore_missing))

    def _do(self, act: Callable[[Database], Awaitable[Any]]) -> Any:
        async def work() -> Any:
            return await act(await self.gateway.database())

        return start(self._face, work())
