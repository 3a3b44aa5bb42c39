"""A real nats-server with the gateway's accounts, streams and users, and connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from mallku_broker.accounts import (
    Account,
    User,
)
from mallku_broker.configuration import (
    ServerConfiguration,
)
from mallku_broker.connection import ConnectionSettings, GatewayConnection, Watcher, connect
from mallku_broker.events import ConnectionEvent, EventKind
from mallku_broker.files import write_private_text
from mallku_broker.nkeys import new_nkey
from mallku_broker.permissions import (
    WORKER_INBOX_PREFIX,
    compile_policy,
    worker_bus,
    worker_records,
)
from mallku_broker.server import EmbeddedServer
from mallku_broker.streams import StreamSettings, definitions, ensure
from mallku_contracts.limits import MIB
from mallku_contracts.policy import Policy, read_policy
from mallku_contracts.subjects import inbox_prefix

ADMINISTRATOR: Final = "administrator"
WORKER_BUS: Final = "worker-bus"
WORKER_RECORDS: Final = "worker-records"

PATIENCE_S: Final = 15.0
"""How long a test waits for something that has to happen, seconds."""

POLICY: Final = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
  narrow:
    rules:
      - {id: one, databases: [mallku], collections: [memory_anchors], operations: [get]}
principals:
  mallku: {roles: [service]}
  mallory: {roles: [narrow]}
  auditor: {kind: auditor}
  inspector: {kind: inspector}
  administrator: {kind: administrator}
"""

SMALL: Final = StreamSettings(
    audit_bytes=16 * MIB,
    checkpoint_bytes=MIB,
    job_bytes=8 * MIB,
    dead_bytes=MIB,
    result_bytes=MIB,
    rate_bytes=MIB,
    bucket_bytes=MIB,
)


class Witness:
    """Remembers what happens to a connection, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[ConnectionEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: ConnectionEvent) -> None:
        """To be given as `on_event` or to `watch`."""
        self.events.append(event)
        self._news.set()

    @property
    def kinds(self) -> list[EventKind]:
        """What has happened, in order."""
        return [event.kind for event in self.events]

    async def sees(self, kind: EventKind, *, times: int = 1) -> ConnectionEvent:
        """Wait until `kind` has happened so often; returns the last of these events."""
        async with asyncio.timeout(PATIENCE_S):
            while self.kinds.count(kind) < times:
                self._news.clear()
                await self._news.wait()
        return [event for event in self.events if event.kind is kind][times - 1]


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; for what tells nobody when it comes about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # that is what this is for
            await asyncio.sleep(0.001)


@dataclass(frozen=True)
class NatsHouse:
    """A running server and the credentials files of everybody who may connect to it.

    Attributes:
        credentials: nkey seed files by name: every principal of the policy, `worker-bus` and
            `worker-records`.
    """

    server: EmbeddedServer
    policy: Policy
    credentials: Mapping[str, Path]

    async def freeze(self) -> None:
        """Let the server do nothing any more (SIGSTOP); returns when it stands still."""
        process = psutil.Process(self._pid())
        process.suspend()
        await until(lambda: all(_stands_still(thread.id) for thread in process.threads()))

    def thaw(self) -> None:
        """Let a frozen server go on."""
        psutil.Process(self._pid()).resume()

    def kill(self) -> None:
        """End the server without a chance to say goodbye (SIGKILL)."""
        psutil.Process(self._pid()).kill()

    def _pid(self) -> int:
        assert self.server.pid is not None
        return self.server.pid

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.server.url

    def settings(self, who: str, **changes: Any) -> ConnectionSettings:
        """What `who` needs to connect."""
        values: dict[str, Any] = {"url": self.url, "credentials": self.credentials[who]}
        return ConnectionSettings(**(values | changes))

    async def connect(
        self, who: str, *, on_event: Watcher | None = None, **changes: Any
    ) -> GatewayConnection:
        """Connect as `who`; to be closed by the caller."""
        return await connect(
            self.settings(who, **changes),
            name=who,
            inbox_prefix=prefix_of(who),
            on_event=on_event,
        )

    @asynccontextmanager
    async def connection(self, who: str, **more: Any) -> AsyncGenerator[GatewayConnection]:
        """A connection as `who` that is closed at the end."""
        connection = await self.connect(who, **more)
        try:
            yield connection
        finally:
            await connection.close()


def _stands_still(thread: int) -> bool:
    return psutil.Process(thread).status() == psutil.STATUS_STOPPED


def prefix_of(who: str) -> str:
    """The inbox prefix that the broker lets `who` subscribe to."""
    return f"{WORKER_INBOX_PREFIX}.test" if who == WORKER_RECORDS else inbox_prefix(who)


@asynccontextmanager
async def nats_house(
    directory: Path, *, policy: str = POLICY, streams: bool = True, **changes: Any
) -> AsyncGenerator[NatsHouse]:
    """Start a server on a free loopback port; stop it at the end.

    Args:
        streams: Whether the gateway's streams and buckets are created, with small sizes.
        changes: Fields of `ServerConfiguration`, as in `port=`, `tls=`, `sync_every_write=`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  # no hurry here
    keyed, credentials = _with_keys(read_policy(policy), directory)
    users = (*compile_policy(keyed), *_workers(credentials, directory))
    configuration = replace(ServerConfiguration(directory / "streams", users, port=0), **changes)
    async with EmbeddedServer(configuration, directory) as server:
        house = NatsHouse(server, keyed, credentials)
        if streams:
            async with house.connection(ADMINISTRATOR) as connection:
                assert await ensure(connection, definitions(SMALL)) == []
        yield house


def _with_keys(policy: Policy, directory: Path) -> tuple[Policy, dict[str, Path]]:
    credentials: dict[str, Path] = {}
    principals = {
        name: principal.model_copy(update={"nkey": _new_key(name, directory, credentials)})
        for name, principal in policy.principals.items()
    }
    return policy.model_copy(update={"principals": principals}), credentials


def _workers(credentials: dict[str, Path], directory: Path) -> tuple[User, User]:
    bus = _new_key(WORKER_BUS, directory, credentials)
    records = _new_key(WORKER_RECORDS, directory, credentials)
    return (
        User(WORKER_BUS, bus, Account.MALLKU, worker_bus()),
        User(WORKER_RECORDS, records, Account.RECORDS, worker_records()),
    )


def _new_key(name: str, directory: Path, credentials: dict[str, Path]) -> str:
    seed, public = new_nkey()
    credentials[name] = directory / f"{name}.nkey"
    write_private_text(credentials[name], seed)
    return public
