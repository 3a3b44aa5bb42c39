"""The whole gateway on one machine: a NATS server, streams, workers, fresh tokens. The recipe."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from mallku_broker.server import EmbeddedServer
from mallku_broker.streams import StreamSettings
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, InternalError
from mallku_deploy.backoff import delay_s
from mallku_deploy.certificates import furnish_certificates, keep_certificates
from mallku_deploy.door import DoorKeeper, plan_door
from mallku_deploy.events import Announce, NotYet, ServerLost, ServerReady, StreamDrift
from mallku_deploy.furnish import Furnished
from mallku_deploy.government import Government
from mallku_deploy.house import DATABASE, WorkerFiles
from mallku_deploy.issuer import RENEWAL_LOOK_S, renew
from mallku_deploy.life import WorkerSpec
from mallku_deploy.options import DurabilityKind, StoreKind
from mallku_deploy.server import (
    administrator,
    connect_as,
    ensure_streams,
    server_configuration,
    users,
)
from mallku_deploy.supervisor import Supervisor
from mallku_deploy.targets import Targets

SERVER_LOOK_S: Final = 0.2
"""Between two looks whether the NATS server still runs, seconds."""

STOP_SERVER_S: Final = 1.5
"""From SIGTERM until the NATS server is killed, seconds; workers are gone by then."""

WORKER_DRAIN_S: Final = 1.25
"""What a worker may take for each part of its drain, seconds."""


_SYNCHRONOUS: Final[dict[DurabilityKind, str]] = {"flush": "NORMAL", "fsync": "FULL"}


class LocalGateway:
    """A gateway in a furnished house; `async with` starts it, and stops it in order.

    Args:
        port: Where the NATS server listens on loopback; 0 takes a free port.
        announce: Told of everything that happens; must not raise.
        streams: How much may be kept.
        tls: Everybody has to show a certificate, the server too.
        store: Which store the workers use; the environment tells them where ArangoDB is.
        durability: What server and embedded store are told to keep, and workers insist on.
        http_port: Where the HTTP door listens on loopback; None for no door.
    """

    def __init__(
        self,
        furnished: Furnished,
        *,
        port: int,
        announce: Announce,
        streams: StreamSettings | None = None,
        tls: bool = False,
        store: StoreKind = "embedded",
        durability: DurabilityKind = "flush",
        http_port: int | None = None,
    ) -> None:
        self._http_port = http_port
        self._store: StoreKind = store
        self._durability: DurabilityKind = durability
        self._furnished = furnished
        self._streams = streams or StreamSettings()
        self._announce = Targets(furnished.house.targets, announce)
        self._tls = tls
        synced = durability == "fsync"
        configuration = server_configuration(furnished, port, tls=tls, sync_every_write=synced)
        self.server = EmbeddedServer(configuration, furnished.house.server)
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._supervisor: Supervisor | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.server.url

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now: each worker by its place, and `nats-server`."""
        workers = self._supervisor.pids if self._supervisor else {}
        server = {"nats-server": self.server.pid} if self.server.pid else {}
        return workers | server

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def failed(self) -> None:
        """Wait until a part that should never end has ended, and raise why."""
        if self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        raise InternalError("a part of the gateway ended by itself")

    async def _start(self) -> None:
        """What is put on the stack last is taken down first."""
        furnished = self._furnished
        renew(furnished.tokens, furnished.issuer, time.time())
        if self._tls:
            furnish_certificates(furnished)
        await self.server.start()
        self._stack.push_async_callback(self.server.stop, STOP_SERVER_S)
        for drift in await ensure_streams(furnished, self.url, self._streams):
            self._announce(StreamDrift(drift))
        government = await self._govern()
        self._supervisor = Supervisor(self._worker_specs(), self._announce)
        self._tasks = [*self._supervisor.start()]
        self._stack.push_async_callback(self._supervisor.stop)
        self._keep(self._keep_server())
        self._keep(self._keep_tokens(government))
        self._keep(government.keep())
        if self._tls:
            now = lambda: government.furnished  # noqa: E731 - it changes with the policy
            self._keep(keep_certificates(now, self.server, self._announce))
        await self._supervisor.ready()
        if self._http_port is not None:
            plan = plan_door(furnished.house, furnished.policy, self.url, self._http_port)
            self._keep(DoorKeeper(plan, self._announce).keep())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        self._stack.push_async_callback(_end, task)

    async def _keep_server(self) -> None:
        """Start the server again whenever it ended, with the same port and data."""
        pid = self.server.pid
        while True:
            await asyncio.sleep(SERVER_LOOK_S)
            if self.server.pid is None:
                self._announce(ServerLost(pid or 0, delay_s(1)))
                await asyncio.sleep(delay_s(1))
                pid = await self._start_server_again()

    async def _start_server_again(self) -> int:
        failures = 0
        while True:
            try:
                await self.server.start()
                pid = self.server.pid
                if pid is not None:
                    self._announce(ServerReady(pid))
                    return pid
                reason = "it ended at once"
            except (ConfigurationError, GatewayUnreachable, OSError) as error:
                reason = str(error)
            failures += 1
            delay = delay_s(failures)
            self._announce(NotYet("starting nats-server", reason, delay))
            await asyncio.sleep(delay)

    async def _govern(self) -> Government:
        """Have the house's policy in the bucket before the first worker looks for it."""
        furnished, name = self._furnished, administrator(self._furnished)
        connection = await connect_as(furnished, name, self.url)
        self._stack.push_async_callback(connection.close)
        own = next(user for user in self.server.configuration.users if user.name == name)

        async def reload(now: Furnished, revoked: frozenset[str]) -> None:
            """`up` itself stays in, whatever became of its principal."""
            others = (user for user in users(now, revoked) if user.nkey != own.nkey)
            listed = (*others, own)
            if set(listed) != set(self.server.configuration.users):
                await self.server.reload(replace(self.server.configuration, users=listed))

        government = Government(furnished, connection, reload, self._announce)
        await government.seed()
        return government

    async def _keep_tokens(self, government: Government) -> None:
        """Renew in time; a disk that is full for a while must not end the gateway."""
        while True:
            await asyncio.sleep(RENEWAL_LOOK_S)
            try:
                renew(government.furnished.tokens, self._furnished.issuer, time.time())
            except ConfigurationError as error:
                self._announce(NotYet("renewing tokens", error.message, RENEWAL_LOOK_S))

    def _worker_specs(self) -> list[WorkerSpec]:
        house = self._furnished.house
        return [
            WorkerSpec(
                files.slot,
                {
                    "MALLKU_WORKER_URL": self.url,
                    "MALLKU_WORKER_BUS_CREDENTIALS": str(files.bus),
                    "MALLKU_WORKER_RECORDS_CREDENTIALS": str(files.records),
                    "MALLKU_WORKER_KEY_FILE": str(files.key),
                    "MALLKU_WORKER_TOKEN_FILE": str(files.token),
                    "MALLKU_WORKER_TRUST_FILE": str(house.trust),
                    "MALLKU_WORKER_AUDIT_DIGEST_KEY_FILE": str(house.digest_key),
                    "MALLKU_WORKER_CONNECTION_KEYS_FILE": str(house.connection_keys),
                    "MALLKU_WORKER_STORE": self._store,
                    "MALLKU_WORKER_STORE_DIRECTORY": str(house.store),
                    "MALLKU_WORKER_STORE_SYNCHRONOUS": _SYNCHRONOUS[self._durability],
                    "MALLKU_WORKER_REQUIRE_DURABILITY": self._durability,
                    "MALLKU_WORKER_DATABASES": DATABASE,
                    "MALLKU_WORKER_EXPECTED_WORKERS": str(len(self._furnished.workers)),
                    "MALLKU_WORKER_DRAIN_S": str(WORKER_DRAIN_S),
                    "MALLKU_WORKER_LOG_LEVEL": os.environ.get("MALLKU_WORKER_LOG_LEVEL", "warning"),
                }
                | self._worker_tls(files),
            )
            for files in self._furnished.workers
        ]

    def _worker_tls(self, files: WorkerFiles) -> dict[str, str]:
        names = ("MALLKU_WORKER_TLS_CA", "MALLKU_WORKER_TLS_CERT", "MALLKU_WORKER_TLS_KEY")
        held = self._furnished.house.tls_files(files, self.url)
        return {name: str(path) for name, path in zip(names, held, strict=True) if path is not None}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
