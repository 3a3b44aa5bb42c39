"""The same names without `await`, for plain functions, threads, and code inside a running loop.

A thin face over `mallku_client`: every call runs on one background event loop of the process, and
the caller's thread waits for it. Objects may be shared between threads; a forked child connects
anew with the same settings. What is open is closed at the end of the process. `on_answer` is called
on the background loop: it must neither wait nor make blocking calls.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    overload,
)

import mallku_client as awaited
from mallku_client import portal
from mallku_client.facade import Blocking
from mallku_client.options import CallOptions
from mallku_client.session import Session
from mallku_client.settings import ClientSettings
from mallku_client.sync_dry_run import DryRunCollection
from mallku_client.sync_jobs import Job, Submit, SubmitToDatabase, resume
from mallku_client.sync_queries import AQL, QueryCursor, Transaction, drained
from mallku_contracts.errors import ClientClosed
from mallku_contracts.subjects import check_name

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.arguments import Document

__all__ = [
    "AQL",
    "Collection",
    "Cursor",
    "Job",
    "QueryCursor",
    "SecuredDatabaseInterface",
    "Transaction",
]

P = ParamSpec("P")
D = TypeVar("D", bound="SecuredDatabaseInterface")


class Cursor:
    """Documents, one after the other: `for document in cursor`, or `cursor.all()`.

    The first page is there already; each further one is fetched when it is reached. Threads that
    share it share its documents: each is given to one of them.
    """

    def __init__(self, cursor: awaited.Cursor) -> None:
        self._cursor = cursor
        self._process = os.getpid()
        self._documents: deque[Document] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Document:
        while True:
            try:
                return self._documents.popleft()
            except IndexError:
                self._refill()

    def all(self) -> list[Document]:
        """Everything that has not been handed out yet, as one list."""
        return drained(self._documents) + self._fetch(self._cursor.all)

    def _refill(self) -> None:
        page = self._fetch(self._cursor.page)
        if not page:
            raise StopIteration
        self._documents.extend(page)

    def _fetch(self, method: Callable[[], Any]) -> list[Document]:
        if self._process != os.getpid():
            raise ClientClosed("this cursor belongs to the parent process; begin a new one")
        documents: list[Document] = portal.current().call(method())
        return documents


class _BlockingCursor(Generic[P]):
    """A method that gives a cursor: the first page is fetched before it returns."""

    def __init__(self, method: Callable[Concatenate[Any, P], awaited.Cursor]) -> None:
        @functools.wraps(method)
        def call(collection: Collection, /, *args: P.args, **kwargs: P.kwargs) -> Cursor:
            return Cursor(portal.current().call(begin(collection, *args, **kwargs)))

        async def begin(
            collection: Collection, /, *args: P.args, **kwargs: P.kwargs
        ) -> awaited.Cursor:
            return await method(await collection.target(), *args, **kwargs)

        self._call = call

    @overload
    def __get__(
        self, collection: None, owner: type
    ) -> Callable[Concatenate[Collection, P], Cursor]: ...
    @overload
    def __get__(self, collection: Collection, owner: type) -> Callable[P, Cursor]: ...
    def __get__(self, collection: Collection | None, owner: type) -> Callable[..., Cursor]:
        return self._call if collection is None else functools.partial(self._call, collection)


class Collection:
    """One collection; see `mallku_client.Collection`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = check_name(name, "collection")

    def __repr__(self) -> str:
        return f"<Collection {self._name}>"

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    @property
    def dry_run(self) -> DryRunCollection:
        """The writes of this collection, only tried: what they would touch, and nothing touched."""
        return DryRunCollection(self._session, self._name)

    @property
    def submit(self) -> Submit:
        """The writes of this collection as durable jobs: `c.submit.insert(…)` is a `Job`."""
        return Submit(self._session, self._name)

    async def target(self) -> awaited.Collection:
        """The awaited collection behind this one; for the facade's own use."""
        return (await self._session.database()).collection(self._name)

    insert = Blocking(awaited.Collection.insert)
    get = Blocking(awaited.Collection.get)
    has = Blocking(awaited.Collection.has)
    update = Blocking(awaited.Collection.update)
    replace = Blocking(awaited.Collection.replace)
    upsert = Blocking(awaited.Collection.upsert)
    delete = Blocking(awaited.Collection.delete)

    get_many = Blocking(awaited.Collection.get_many)
    insert_many = Blocking(awaited.Collection.insert_many)
    update_many = Blocking(awaited.Collection.update_many)
    replace_many = Blocking(awaited.Collection.replace_many)
    delete_many = Blocking(awaited.Collection.delete_many)

    find = _BlockingCursor(awaited.Collection.find)
    all = _BlockingCursor(awaited.Collection.all)
    count = Blocking(awaited.Collection.count)
    update_match = Blocking(awaited.Collection.update_match)
    replace_match = Blocking(awaited.Collection.replace_match)
    delete_match = Blocking(awaited.Collection.delete_match)
    truncate = Blocking(awaited.Collection.truncate)

    indexes = Blocking(awaited.Collection.indexes)
    add_index = Blocking(awaited.Collection.add_index)
    add_persistent_index = Blocking(awaited.Collection.add_persistent_index)
    delete_index = Blocking(awaited.Collection.delete_index)
    describe = Blocking(awaited.Collection.describe)


class _BlockingConnect(Generic[P]):
    """The class method that makes a database: remembers how, and connects."""

    def __init__(self, method: Callable[P, Awaitable[awaited.SecuredDatabaseInterface]]) -> None:
        self._method = method

    def __get__(self, instance: object, owner: type[D]) -> Callable[P, D]:
        @functools.wraps(self._method)
        def connect(*args: P.args, **kwargs: P.kwargs) -> D:
            session = Session(functools.partial(self._method, *args, **kwargs))
            portal.current().call(session.database())
            return owner(session)

        return connect


class SecuredDatabaseInterface:
    """A database behind the gateway; see `mallku_client.SecuredDatabaseInterface`.

    ::

        with SecuredDatabaseInterface.connect() as db:
            meta = db.collection("memory_anchors").insert({"kind": "khipu", "weight": 3})

    Attributes:
        aql: Queries.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.aql = AQL(session)

    connect = _BlockingConnect(awaited.SecuredDatabaseInterface.connect)

    def close(self) -> None:
        """Close the connection; calls raise `ClientClosed` from now on. Twice is fine."""
        portal.current().call(self._session.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def target(self) -> awaited.SecuredDatabaseInterface:
        """The awaited database behind this one; for the facade's own use."""
        return await self._session.database()

    @property
    def name(self) -> str:
        """The database's name."""
        return portal.current().call(self.target()).name

    @property
    def settings(self) -> ClientSettings:
        """The settings behind the connection; connecting with them reaches the same gateway."""
        return portal.current().call(self.target()).settings

    @property
    def principal(self) -> str:
        """In whose name commands are signed."""
        return portal.current().call(self.target()).principal

    @property
    def submit(self) -> SubmitToDatabase:
        """Any operation as a durable job: `db.submit.command("truncate", "c")`."""
        return SubmitToDatabase(self._session)

    def job(self, idempotency_key: str) -> Job[Any]:
        """A durable job that was submitted by this principal, in whatever process."""
        return resume(self._session, idempotency_key)

    def collection(self, name: str) -> Collection:
        """A collection by its name; nothing is sent, so that it need not exist.

        Raises:
            InvalidSubject: that is no name.
        """
        return Collection(self._session, name)

    def create_collection(
        self, name: str, *, edge: bool = False, **options: Unpack[CallOptions]
    ) -> Collection:
        """Make a collection of documents, or of edges.

        Raises:
            CollectionExists: there is one with this name.
        """
        self._create_collection(name, edge=edge, **options)
        return self.collection(name)

    _create_collection = Blocking(awaited.SecuredDatabaseInterface.create_collection)

    command = Blocking(awaited.SecuredDatabaseInterface.command)
    has_collection = Blocking(awaited.SecuredDatabaseInterface.has_collection)
    delete_collection = Blocking(awaited.SecuredDatabaseInterface.delete_collection)
    collections = Blocking(awaited.SecuredDatabaseInterface.collections)
    describe_collection = Blocking(awaited.SecuredDatabaseInterface.describe_collection)
    outcome = Blocking(awaited.SecuredDatabaseInterface.outcome)

    def transaction(self, **options: Unpack[CallOptions]) -> Transaction:
        """Collects writes in a `with` block and carries out all of them at its end, or none."""
        return Transaction(self.execute_transaction, options)

    execute_transaction = Blocking(awaited.SecuredDatabaseInterface.execute_transaction)
    describe_flags = Blocking(awaited.SecuredDatabaseInterface.describe_flags)
    graphs = Blocking(awaited.SecuredDatabaseInterface.graphs)
    has_graph = Blocking(awaited.SecuredDatabaseInterface.has_graph)
    create_graph = Blocking(awaited.SecuredDatabaseInterface.create_graph)
    delete_graph = Blocking(awaited.SecuredDatabaseInterface.delete_graph)
