"""The door itself: a database that is reached by signed commands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from mallku_client.answers import Answer
from mallku_client.aql import AQL
from mallku_client.arguments import asked, given
from mallku_client.collection import Collection
from mallku_client.commands import Commands
from mallku_client.composition import Connection, open_connection
from mallku_client.job_methods import SubmitToDatabase
from mallku_client.jobs import (
    Job,
)
from mallku_client.options import CallOptions
from mallku_client.settings import ClientSettings
from mallku_client.transaction import Transaction
from mallku_client.transport import Transport
from mallku_contracts.errors import CollectionNotFound

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import (
        CollectionDescription,
        CollectionInfo,
        EdgeDefinitionInfo,
        FlagsInfo,
        GraphInfo,
        OutcomeResult,
    )


class SecuredDatabaseInterface:
    """A database behind the gateway; made by `connect`.

    ::

        async with await SecuredDatabaseInterface.connect() as db:
            anchors = db.collection("memory_anchors")
            meta = await anchors.insert({"kind": "khipu", "weight": 3})

    One object serves any number of tasks of its event loop, and one connection serves them all.

    Attributes:
        aql: Queries.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._commands: Commands = connection.commands
        self.aql = AQL(self._commands)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} as {self.principal}>"

    @classmethod
    async def connect(
        cls,
        url: str | None = None,
        *,
        principal: str | None = None,
        database: str | None = None,
        key_file: Path | str | None = None,
        token_file: Path | str | None = None,
        trust_file: Path | str | None = None,
        nats_credentials: Path | str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # a setting, and in python's usual name
        settings: ClientSettings | None = None,
        transport: Transport | None = None,
    ) -> Self:
        """Connect to the gateway that the environment names, or these arguments, which win.

        Args:
            url: `nats://HOST:PORT` or `tls://HOST:PORT` (`MALLKU_API_GATEWAY_URL`).
            timeout: Seconds that one call may take, unless it says otherwise.
            settings: All settings at once; the environment is not read then.
            transport: Used instead of a connection to `url`.

        Raises:
            ConfigurationError: names the variable or file that is missing or wrong.
            GatewayUnreachable: nobody answered within the connect timeout; lists what was tried.
        """
        base = ClientSettings.from_environment() if settings is None else settings
        arguments = given(
            url=url,
            principal=principal,
            database=database,
            key_file=key_file,
            token_file=token_file,
            trust_file=trust_file,
            nats_credentials=nats_credentials,
            timeout_s=timeout,
        )
        return cls(await open_connection(base.override(**arguments), transport))

    async def close(self) -> None:
        """Close the connection; calls raise `ClientClosed` from now on. Twice is fine."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def name(self) -> str:
        """The database's name."""
        return self._commands.database

    @property
    def settings(self) -> ClientSettings:
        """The settings behind the connection; connecting with them reaches the same gateway."""
        return self._connection.settings

    @property
    def principal(self) -> str:
        """In whose name commands are signed."""
        return self._commands.principal

    async def command(
        self,
        operation: str,
        collection: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Send any operation by its name on the wire, and get everything that the reply says.

        Raises:
            InvalidArguments: there is no such operation, or a value cannot be sent.
        """
        return await self._commands.send(operation, collection, arguments or {}, **options)

    @property
    def submit(self) -> SubmitToDatabase:
        """Any operation as a durable job: `await db.submit.command("truncate", "c")`."""
        return SubmitToDatabase(self._commands)

    def job(self, idempotency_key: str) -> Job[Any]:
        """A durable job that was submitted by this principal, in whatever process."""
        return Job(self._commands, idempotency_key)

    def collection(self, name: str) -> Collection:
        """A collection by its name; nothing is sent, so that it need not exist.

        Raises:
            InvalidSubject: that is no name.
        """
        return Collection(self._commands, name)

    async def create_collection(
        self, name: str, *, edge: bool = False, **options: Unpack[CallOptions]
    ) -> Collection:
        """Make a collection of documents, or of edges.

        Raises:
            CollectionExists: there is one with this name.
        """
        collection = self.collection(name)
        await self._commands.send("create-collection", name, asked(edge=edge), **options)
        return collection

    async def has_collection(self, name: str, **options: Unpack[CallOptions]) -> bool:
        """Whether there is a collection with this name (operation `describe-collection`)."""
        try:
            await self._commands.send("describe-collection", name, {}, **options)
        except CollectionNotFound:
            return False
        return True

    async def delete_collection(
        self, name: str, ignore_missing: bool = False, **options: Unpack[CallOptions]
    ) -> bool:
        """Remove a collection with everything in it; False when it was missing and ignored.

        Raises:
            CollectionNotFound: it was missing.
        """
        arguments = asked(ignore_missing=ignore_missing)
        answer = await self._commands.send("drop-collection", name, arguments, **options)
        return bool(answer.result)

    async def collections(self, **options: Unpack[CallOptions]) -> list[CollectionInfo]:
        """All collections: `{"name", "type"}` of each."""
        answer = await self._commands.send("list-collections", None, {}, **options)
        infos: list[CollectionInfo] = answer.result
        return infos

    async def describe_collection(
        self, name: str, **options: Unpack[CallOptions]
    ) -> CollectionDescription:
        """What a collection is: name, type, number of documents and of indexes."""
        return await self.collection(name).describe(**options)

    def transaction(self, **options: Unpack[CallOptions]) -> Transaction:
        """Collects writes in an `async with` block and carries out all of them at its end, or none.

        Nothing is sent before that; the options are those of the one command that it becomes.
        """
        return Transaction(self.execute_transaction, options)

    async def execute_transaction(
        self, steps: Sequence[Mapping[str, Any]], **options: Unpack[CallOptions]
    ) -> list[Any]:
        """Carry out several writes, all or none; what each of them would have answered alone.

        Args:
            steps: `{"operation": "insert", "collection": "c", "arguments": {"document": {…}}}`.

        Raises:
            MallkuError: of the first step that fails; `details["step"]` is its place, from 0.
        """
        arguments = {"steps": [dict(step) for step in steps]}
        answer = await self._commands.send("transaction", None, arguments, **options)
        results: list[Any] = answer.result
        return results

    async def graphs(self, **options: Unpack[CallOptions]) -> list[GraphInfo]:
        """All named graphs: `{"name", "edge_definitions", "orphan_collections"}` of each."""
        answer = await self._commands.send("list-graphs", None, {}, **options)
        infos: list[GraphInfo] = answer.result
        return infos

    async def describe_flags(self, **options: Unpack[CallOptions]) -> FlagsInfo:
        """The flags in force: `version`, `collections` with their routes, `default`, `flags`.

        Collections with which this principal may do nothing are left out; globs are not.
        """
        answer = await self._commands.send("describe-flags", None, {}, **options)
        info: FlagsInfo = answer.result
        return info

    async def has_graph(self, name: str, **options: Unpack[CallOptions]) -> bool:
        """Whether there is a graph of this name (operation `list-graphs`)."""
        return any(graph["name"] == name for graph in await self.graphs(**options))

    async def create_graph(
        self,
        name: str,
        edge_definitions: Sequence[EdgeDefinitionInfo] | None = None,
        orphan_collections: Sequence[str] | None = None,
        **options: Unpack[CallOptions],
    ) -> GraphInfo:
        """Make a named graph; collections that it names and that are missing are made.

        Args:
            edge_definitions: Which vertex collections each edge collection connects:
                `{"edge_collection", "from_vertex_collections", "to_vertex_collections"}`.
            orphan_collections: Vertex collections without edges.

        Raises:
            GraphExists: there is one with this name.
        """
        definitions = None if edge_definitions is None else [{**one} for one in edge_definitions]
        orphans = None if orphan_collections is None else list(orphan_collections)
        arguments = given(name=name, edge_definitions=definitions, orphan_collections=orphans)
        answer = await self._commands.send("create-graph", None, arguments, **options)
        info: GraphInfo = answer.result
        return info

    async def delete_graph(
        self,
        name: str,
        ignore_missing: bool = False,
        drop_collections: bool = False,
        **options: Unpack[CallOptions],
    ) -> bool:
        """Remove a named graph, and none of its collections; False when missing and ignored.

        Raises:
            GraphNotFound: it was missing.
            NotSupported: for `drop_collections`: what is dropped has to be named.
        """
        arguments = given(name=name) | asked(
            ignore_missing=ignore_missing, drop_collections=drop_collections
        )
        answer = await self._commands.send("drop-graph", None, arguments, **options)
        return bool(answer.result)

    async def outcome(
        self,
        idempotency_key: str | None = None,
        *,
        id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as in `CallOptions`
    ) -> OutcomeResult:
        """What became of a command of ours, by its idempotency key or the id of an attempt."""
        arguments = given(idempotency_key=idempotency_key, id=id)
        answer = await self._commands.send("outcome", None, arguments, timeout=timeout)
        result: OutcomeResult = answer.result
        return result
