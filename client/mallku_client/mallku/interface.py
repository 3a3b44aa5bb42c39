"""`SecuredDatabaseInterface`: the names that Mallku's code calls, over the gateway.

Two faces, one state: what `get_database()` returns waits for every call, and awaiting it gives the
same database whose collections and queries are awaited. Names that Mallku awaits in any case are
`async def` on the class, so that a mock made with `spec=` has them right.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Final

from mallku_client import portal
from mallku_client.mallku import violations
from mallku_client.mallku.calls import Face, at_once
from mallku_client.mallku.following import SecuredNames
from mallku_client.mallku.gateway import Gateway, connect_to_nothing
from mallku_client.mallku.plain import CollectionName, PlainDatabase
from mallku_client.mallku.policies import CollectionSecurityPolicy, default_policies
from mallku_client.mallku.registry import RegistryStore, SecurityRegistry
from mallku_client.mallku.rows import Rows
from mallku_client.mallku.secured_aql import SecuredAQL, filter_query, semantic_row
from mallku_client.mallku.wrapper import SecuredCollectionWrapper
from mallku_contracts.errors import CollectionNotFound, InvalidArguments, SecurityViolation

Document = dict[str, Any]

SHARED: Final[Any] = object()
"""Stands for the gateway that the environment names."""


class SecuredDatabaseInterface:
    """Mallku's database.

    Args:
        database: What carries operations out. By default the gateway that the environment names;
            None sends nothing and answers empty; any other object with python-arango's names is
            used as it is, and nothing is called on it here.
        registry_path: Not used: the registry stands in the database.
    """

    _face: ClassVar[Face] = Face.BLOCKING

    _database: Any = None
    _skip_database: bool = False
    _initialized: bool = False
    _operation_count: int = 0
    _collection_policies: dict[str, CollectionSecurityPolicy] = {}  # noqa: RUF012  # for mocks; each has its own
    _security_violations: list[Any] = []  # noqa: RUF012  # as above
    _security_registry: Any = None

    def __init__(self, database: Any = SHARED, registry_path: Any = None) -> None:  # noqa: ARG002
        if database is SHARED:
            database = PlainDatabase(Gateway())
        self._database = database
        self._skip_database = database is None
        self._initialized = False
        self._operation_count = 0
        self._collection_policies = {}
        self._security_violations = []
        self._security_registry = SecurityRegistry()
        self._stores: dict[Gateway, RegistryStore] = {}
        self._nowhere = PlainDatabase(Gateway(connect_to_nothing))

    def __repr__(self) -> str:
        return f"<SecuredDatabaseInterface {self._face.value}>"

    def __await__(self) -> Generator[Any, None, SecuredDatabaseInterface]:
        twin = object.__new__(AwaitedDatabaseInterface)
        twin.__dict__ = self.__dict__  # one state, whichever face is looked at
        return at_once(twin).__await__()

    # --- life

    async def initialize(self) -> None:
        """Register the default policies; what a caller registered before stays."""
        if self._initialized:
            return
        for policy in default_policies():
            self._collection_policies.setdefault(policy.collection_name, policy)
        self._initialized = True

    async def close(self) -> None:
        """Close the connection of this process."""
        if isinstance(self._database, PlainDatabase):
            await _on_portal(self._database.gateway.close())

    def is_secured(self) -> bool:
        """Whether access goes through security: it always does."""
        return True

    # --- collections

    def collection(self, name: str) -> SecuredCollectionWrapper:
        """A collection by its name; it comes into being at its first write.

        One without a policy of its own is open here; the worker's policy holds in any case.
        """
        self.count_operation()
        policy = self._collection_policies.get(name) or CollectionSecurityPolicy(
            name, [], requires_security=False
        )
        return self._wrapped(name, policy)

    def has_collection(self, name: str) -> Any:
        """Whether there is a collection of this name."""
        return self._plain().has_collection(name)

    def create_collection(self, name: str, edge: bool = False, **options: Any) -> Any:
        """Make a collection: the collection; one that is there already is it as well."""
        database = self._plain()
        if not isinstance(database, PlainDatabase):
            if not database.has_collection(name):
                database.create_collection(name, edge=edge, **options)
            return self.collection(name)
        return database.ensure(name, edge, lambda: self.collection(name))

    def delete_collection(self, name: str, ignore_missing: bool = False) -> Any:
        """Remove a collection with everything in it."""
        return self._plain().delete_collection(name, ignore_missing)

    def collections(self) -> Any:
        """All collections: each is its name, and has `["name"]` and `["type"]`."""
        database = self._plain()
        found = database.collections()
        if isinstance(database, PlainDatabase):
            return found
        return [CollectionName.of({"type": "document", **_described(each)}) for each in found]

    async def create_secured_collection(
        self, collection_name: str, policy: CollectionSecurityPolicy | None = None
    ) -> SecuredCollectionWrapper:
        """Make a collection, unless it is there, and register its policy.

        Raises:
            SecurityViolation: there is no policy for it, neither given nor registered.
        """
        if policy is not None:
            self.register_collection_policy(policy)
        self._policy_of(collection_name, "create_secured_collection")
        await _settled(self._awaited().create_collection(collection_name))
        return await self.get_secured_collection(collection_name)

    async def get_secured_collection(self, collection_name: str) -> SecuredCollectionWrapper:
        """A collection with its policy.

        Raises:
            SecurityViolation: none is registered.
        """
        self.count_operation()
        policy = self._policy_of(collection_name, "get_secured_collection")
        return self._wrapped(collection_name, policy)

    def _policy_of(self, collection_name: str, operation: str) -> CollectionSecurityPolicy:
        policy = self._collection_policies.get(collection_name)
        if policy is None:
            message = (
                f"No security policy registered for collection: {collection_name}. "
                "All collections must have security policies."
            )
            self.record_violation(collection_name, operation, message)
            raise SecurityViolation(message, details={"collection": collection_name})
        return policy

    def register_collection_policy(self, policy: CollectionSecurityPolicy) -> None:
        """Have a policy hold from now on."""
        self._collection_policies[policy.collection_name] = policy

    async def get_collection(self, name: str) -> SecuredCollectionWrapper:
        """A collection whose operations are awaited."""
        return self._awaited().collection(name)

    async def ensure_collection(self, name: str, edge: bool = False) -> SecuredCollectionWrapper:
        """A collection, made if it is missing."""
        await _settled(self._awaited().create_collection(name, edge=edge))
        return self._awaited().collection(name)

    async def list_collections(self) -> list[CollectionName]:
        """All collections, as `collections`."""
        found: list[CollectionName] = await _settled(self._awaited().collections())
        return found

    # --- documents

    async def get_document(self, collection: str, key: str) -> Document | None:
        """A document by its key, None where there is none."""
        found: Document | None = await _settled(self._awaited().collection(collection).get(key))
        return found

    async def insert_document(self, collection: str, document: Document) -> Document:
        """Put in a document: `{"_id", "_key", "_rev"}`."""
        made: Document = await _settled(self._awaited().collection(collection).insert(document))
        return made

    async def upsert_document(
        self, collection: str, document: Document, key_field: str = "_key"
    ) -> Document:
        """Put in a document, or change the one whose `key_field` has the same value.

        Raises:
            InvalidArguments: the document has no such field.
        """
        found = self._awaited().collection(collection)
        if key_field == "_key":
            made: Document = await _settled(found.insert(document, overwrite_mode="update"))
            return made
        if key_field not in document:
            raise InvalidArguments(f"document: {key_field} is not there, by which it is looked for")
        filters = {key_field: document[key_field]}
        changed: Document = await _settled(found.upsert(filters, document, update=document))
        return changed

    async def batch_insert(self, collection: str, documents: Sequence[Document]) -> list[Any]:
        """Put in several documents; a result or an error for each."""
        found = self._awaited().collection(collection)
        results: list[Any] = await _settled(found.insert_many(list(documents)))
        return results

    async def query(
        self, collection: str, filters: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> list[Document]:
        """The documents that equal every filter; of a secured collection, by semantic names."""
        text, values = filter_query(collection, filters or {}, limit)
        try:
            return await self.execute_secured_query(text, values, collection)
        except CollectionNotFound:
            return []  # it comes into being at its first write

    query_documents = query

    # --- queries

    @property
    def aql(self) -> Any:
        """Queries: `aql.execute(query, bind_vars=)`."""
        if isinstance(self._plain(), PlainDatabase):
            return SecuredAQL(self._plain().aql, self)
        return self._plain().aql

    async def execute_secured_query(
        self,
        query: str,
        bind_vars: Mapping[str, Any] | None = None,
        collection_name: str | None = None,  # noqa: ARG002  # a claim; the query itself says it
    ) -> list[Any]:
        """The rows of a query, in which fields of secured collections have their semantic names.

        Args:
            collection_name: What the caller says the query is about; the query itself decides.

        Raises:
            InvalidQuery: also where a secured collection is used in a way that names cannot follow.
        """
        rows = await _settled(self._awaited().aql.execute(query, bind_vars=bind_vars))
        return [row async for row in rows] if isinstance(rows, Rows) else list(rows)

    async def aql_query(self, query: str, bind_vars: Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of a query, as one list."""
        return await self.execute_secured_query(query, bind_vars)

    # --- security

    def get_security_registry(self) -> Any:
        """Which UUIDs the fields of secured models have."""
        return self._security_registry

    def get_security_metrics(self) -> dict[str, Any]:
        """What was done and refused so far, in this process."""
        found = self._security_violations
        return {
            "operations_count": self._operation_count,
            "security_violations": len(found),
            "registered_collections": len(self._collection_policies),
            "uuid_mappings": len(getattr(self._security_registry, "_mappings", ())),
            "recent_violations": violations.recent(found),
            "compliance_score": violations.compliance(self._operation_count, len(found)),
        }

    def get_security_status(self) -> dict[str, Any]:
        """The metrics, and that the secured interface is what is used."""
        return {"secured_interface_active": True, **self.get_security_metrics()}

    def count_operation(self, operations: int = 1) -> None:
        """Count operations; for the collections' own use."""
        self._operation_count += operations

    def record_violation(self, collection: str, operation: str, message: str) -> None:
        """Keep a violation, and report it to the audit trail."""
        violation = violations.describe(collection, operation, message)
        violations.keep(self._security_violations, violation)
        if isinstance(self._database, PlainDatabase):
            violations.report(self._database.gateway, violation)

    async def save_registry(self, registry: Any) -> None:
        """Tell other processes of names that are new; before a document has them."""
        store = self._store()
        if store is not None and isinstance(registry, SecurityRegistry) and registry.unsaved():
            await _on_portal(store.tell(registry))

    async def know_fields(self, registry: Any, document: Document) -> None:
        """Learn the names of a stored document's fields, where others have told of them."""
        store = self._store()
        if store is not None and isinstance(registry, SecurityRegistry):
            await _on_portal(store.know(registry, document))

    async def semantic_rows(self, rows: list[Any]) -> list[Any]:
        """Fetched rows with semantic names, for queries; runs on the portal's loop."""
        registry, store = self._security_registry, self._store()
        if store is not None:
            await store.know(registry, rows)
        return [semantic_row(registry, row) for row in rows]

    # --- how

    def _plain(self) -> Any:
        """What carries operations out, with this object's face."""
        database = self._nowhere if self._skip_database else self._database
        return database.facing(self._face) if isinstance(database, PlainDatabase) else database

    def _awaited(self) -> SecuredDatabaseInterface:
        twin = object.__new__(AwaitedDatabaseInterface)
        twin.__dict__ = self.__dict__
        return twin

    def _wrapped(self, name: str, policy: CollectionSecurityPolicy) -> SecuredCollectionWrapper:
        database = self._plain()
        if isinstance(database, PlainDatabase):
            collection: Any = database.collection(name, creates=True)
        else:
            collection = database.collection(name)
        return SecuredCollectionWrapper(collection, policy, self._security_registry, self)

    def _store(self) -> RegistryStore | None:
        if self._skip_database or not isinstance(self._database, PlainDatabase):
            return None
        gateway = self._database.gateway
        return self._stores.setdefault(gateway, RegistryStore(gateway))

    def secured_names(self) -> SecuredNames:
        """Which collections are secured, and how their fields are called; for queries."""
        secured = [
            name for name, each in self._collection_policies.items() if each.requires_security
        ]
        registry = self._security_registry
        rename = getattr(registry, "uuid_of", None) or registry.get_or_create_mapping
        return SecuredNames(frozenset(secured), rename)


class AwaitedDatabaseInterface(SecuredDatabaseInterface):
    """The same database, obtained by `await`."""

    _face = Face.AWAITED

    def __await__(self) -> Generator[Any, None, SecuredDatabaseInterface]:
        return at_once(self).__await__()


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _on_portal(work: Any) -> Any:
    """Have the core do something, whatever loop this is."""
    return await asyncio.wrap_future(portal.current().submit(work))


def _described(collection: Any) -> dict[str, Any]:
    if isinstance(collection, Mapping):
        return dict(collection)
    return {"name": str(getattr(collection, "name", collection))}
