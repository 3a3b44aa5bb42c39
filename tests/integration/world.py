"""A real gateway: nats-server, worker processes, the embedded store, and real clients of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg

from mallku_broker.connection import ConnectionSettings as Settings
from mallku_broker.connection import GatewayConnection, Watcher, connect
from mallku_broker.files import (
    load_signing_key,
    load_token,
    make_private_folder,
    write_private_text,
)
from mallku_broker.streams import StreamSettings
from mallku_broker.trust import load_trust
from mallku_client import ClientSettings, SecuredDatabaseInterface
from mallku_client.trail import AuditReader
from mallku_contracts.subjects import inbox_prefix
from mallku_contracts.trail.verification import Report
from mallku_deploy.auditing.verify import Order, verify_trail
from mallku_deploy.demo.trail import Trail, read_settled_trail
from mallku_deploy.events import WorkerLost, WorkerReady
from mallku_deploy.furnish import Furnished, furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.options import DurabilityKind, StoreKind
from tests.support.simulated_caller import Answer, Sent, SimulatedCaller, read_answer

EVENT_S = 20.0
REPLY_S = 5.0
LOOK_S = 0.02

POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection, create-index]}
  operator:
    rules: [{id: everything, collections: ["*"], operations: [read, write, admin]}]
  narrow:
    rules: [{id: look, collections: ["fc_*"], operations: [get]}]
principals:
  mallku: {roles: [service]}
  operator: {roles: [operator]}
  mallory: {roles: [narrow]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""


async def until(what: str, condition: Callable[[], bool], timeout_s: float = EVENT_S) -> None:
    """Wait for a condition that other processes bring about; fails with its name."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


@dataclass
class World:
    """A gateway that runs, and everything that can be asked of it."""

    furnished: Furnished
    gateway: LocalGateway
    events: list[object] = field(default_factory=list)

    @property
    def house(self) -> House:
        """The data directory."""
        return self.furnished.house

    @property
    def workers(self) -> dict[str, int]:
        """The process id of each worker by its place."""
        return {name: pid for name, pid in self.gateway.pids.items() if name != "nats-server"}

    @property
    def losses(self) -> list[WorkerLost]:
        """The workers that ended, in order."""
        return [event for event in self.events if isinstance(event, WorkerLost)]

    def client_settings(self, principal: str, **changes: Any) -> ClientSettings:
        """What a client's process would find in its environment."""
        environment = self.house.environment(principal, self.gateway.url)
        return replace(ClientSettings.from_environment(environment), **changes)

    @asynccontextmanager
    async def client(
        self, principal: str = "mallku", **changes: Any
    ) -> AsyncGenerator[SecuredDatabaseInterface]:
        """A real client."""
        settings = self.client_settings(principal, **changes)
        async with await SecuredDatabaseInterface.connect(settings=settings) as client:
            yield client

    @asynccontextmanager
    async def connection(
        self, principal: str = "mallku", on_event: Watcher | None = None
    ) -> AsyncGenerator[GatewayConnection]:
        """A bare connection to the broker with the principal's own credentials."""
        files = self.house.principal(principal)
        ca, certificate, key = self.house.tls_files(files, self.gateway.url)
        settings = Settings(
            url=self.gateway.url,
            credentials=files.credentials,
            tls_ca=ca,
            tls_cert=certificate,
            tls_key=key,
        )
        prefix = inbox_prefix(principal)
        raw = await connect(settings, name=principal, inbox_prefix=prefix, on_event=on_event)
        try:
            yield raw
        finally:
            await raw.close()

    def administrator_settings(self) -> ClientSettings:
        """What an administrator's process would find in its environment."""
        settings = self.client_settings("administrator", token_file=None)
        return replace(settings, key_file=self.house.administrator)

    def caller(self, principal: str = "mallku") -> SimulatedCaller:
        """Somebody who signs with the principal's own key and token."""
        files = self.house.principal(principal)
        token = load_token(files.token).encode()
        return SimulatedCaller(principal, load_signing_key(files.key), token)

    async def trail(self, *, settle_s: float = EVENT_S) -> Trail:
        """The audit trail, as an auditor reads it, once every intent has its outcome.

        Where a worker was killed some never will; there `settle_s` is 0.
        """
        async with await AuditReader.connect(settings=self.client_settings("auditor")) as reader:
            return await read_settled_trail(reader, settle_s)

    async def verify(self, **order: Any) -> Report:
        """What a verification of the trail says now; `order` as in `Order`."""
        trust = load_trust(self.house.trust)
        async with await AuditReader.connect(settings=self.client_settings("auditor")) as reader:
            return await verify_trail(reader, Order(trust=trust, **order))

    async def kill(self, place: str, number: signal.Signals) -> int:
        """Send a signal to the worker in this place; returns its process id."""
        pid = self.workers[place]
        os.kill(pid, number)
        return pid

    async def replaced(self, pid: int) -> WorkerLost:
        """Wait until this worker's end was announced and another stands in its place."""
        await until(f"the end of {pid}", lambda: any(loss.pid == pid for loss in self.losses))
        loss = next(loss for loss in self.losses if loss.pid == pid)
        at = self.events.index(loss)
        await until(
            f"another worker in {loss.slot}",
            lambda: any(
                isinstance(event, WorkerReady) and event.slot == loss.slot
                for event in self.events[at:]
            ),
        )
        return loss


async def exchange(connection: GatewayConnection, sent: Sent, **changes: Any) -> Answer:
    """Send a transmission as it is, or with another `subject` or `data`; what the reply says."""
    return read_answer((await ask(connection, sent, **changes)).data, sent)


async def ask(connection: GatewayConnection, sent: Sent, **changes: Any) -> Msg:
    """As `exchange`; the reply as it came."""
    subject, data = changes.get("subject", str(sent.subject)), changes.get("data", sent.data)
    return await connection.request(subject, data, timeout=REPLY_S)


@asynccontextmanager
async def running_world(
    folder: Path,
    workers: int = 2,
    *,
    tls: bool = False,
    policy: str = POLICY,
    store: StoreKind = "embedded",
    durability: DurabilityKind = "flush",
    streams: StreamSettings | None = None,
) -> AsyncGenerator[World]:
    """Start a gateway in `folder` with this policy or the one above, and stop it at the end."""
    make_private_folder(folder)
    write_private_text(folder / "policy.yaml", policy)
    furnished = furnish(House(folder), workers)
    events: list[object] = []
    gateway = LocalGateway(
        furnished,
        port=0,
        announce=events.append,
        streams=streams,
        tls=tls,
        store=store,
        durability=durability,
    )
    async with gateway:
        yield World(furnished, gateway, events)
