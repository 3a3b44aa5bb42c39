"""Commands that a door signs for others: each brings the proof that its caller asked for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.requests import RequestMultiplexer
from mallku_client.caller import Caller
from mallku_client.commands import Commands
from mallku_client.job_transport import NatsJobs
from mallku_client.nats_transport import NatsTransport
from mallku_client.signer import Carried, Command
from mallku_client.transport import Stored
from mallku_contracts.dpop import Asked
from mallku_contracts.operations import Operation
from mallku_contracts.subjects import JOB, CommandSubject, door_inbox

MAX_CALLERS: Final = 256
"""Callers whose inboxes a door listens at; who has been silent longest is let go."""

Prove = Callable[[Asked], Carried]
"""Shows that the caller asked for exactly this; `InvalidProof` where nothing shows it."""


class CarriedCommands(Commands):
    """Sends operations for one caller, each under a proof of its own."""

    def __init__(
        self, caller: Caller, principal: str, database: str, timeout_s: float, prove: Prove
    ) -> None:
        super().__init__(caller, principal, database, timeout_s)
        self._prove = prove

    def _command(
        self,
        subject: CommandSubject,
        operation: Operation,
        arguments: Mapping[str, Any],
        key: str | None,
    ) -> Command:
        command = super()._command(subject, operation, arguments, key)
        asked = Asked(
            subject.operation,
            subject.database,
            subject.collection,
            arguments,
            key or "",
            job={"run_at": 0, "order": ""} if subject.channel == JOB else None,
        )
        carried = self._prove(asked)
        first_id = carried.proof.command_id(1)
        return Command(subject, command.body, first_id, key or first_id, command.mutates, carried)


class DoorJobs:
    """Submits jobs of any caller; their replies go to the caller's inbox, where no door listens."""

    def __init__(self, connection: GatewayConnection) -> None:
        self._connection = connection
        self._held: OrderedDict[str, NatsJobs] = OrderedDict()

    async def store(
        self,
        subject: str,
        payload: bytes,
        job_id: str,
        operation: str,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Send a job and wait until the server says that it is kept; errors as `NatsJobs`."""
        principal = CommandSubject.parse(subject).principal
        jobs = self._held.get(principal)
        if jobs is None:
            jobs = self._held[principal] = NatsJobs(self._connection, principal, replies=False)
        return await jobs.store(subject, payload, job_id, operation, timeout_s, headers=headers)

    def reply_to(self, job_id: str, reply: asyncio.Future[bytes]) -> None:
        """Nobody waits here for replies: `outcome` tells."""

    def forget(self, job_id: str) -> None:
        """There is nothing to forget."""


class DoorTransport:
    """Requests in the name of any caller, each answered at that caller's inbox for this door."""

    def __init__(self, connection: GatewayConnection, door: str) -> None:
        self._connection = connection
        self._door = door
        self._held: OrderedDict[str, NatsTransport] = OrderedDict()
        self._opening = asyncio.Lock()
        self.jobs = DoorJobs(connection)

    @property
    def is_up(self) -> bool:
        """Whether the broker is there now."""
        return self._connection.is_up

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """Send one request and return the first reply's body; errors as `NatsTransport`."""
        transport = await self._of(CommandSubject.parse(subject).principal)
        return await transport.request(subject, payload, headers, timeout_s)

    async def close(self) -> None:
        """End what waits, and close the connection."""
        while self._held:
            await self._held.popitem()[1].forget()
        await self._connection.close()

    async def _of(self, principal: str) -> NatsTransport:
        held = self._held.get(principal)
        if held is None:
            async with self._opening:
                held = self._held.get(principal) or await self._open(principal)
        self._held.move_to_end(principal)
        return held

    async def _open(self, principal: str) -> NatsTransport:
        requests = RequestMultiplexer(self._connection, door_inbox(principal, self._door))
        await requests.start()
        self._held[principal] = opened = NatsTransport(self._connection, requests, principal)
        if len(self._held) > MAX_CALLERS:
            idle = next((name for name, each in self._held.items() if not each.waiting), None)
            if idle is not None:
                await self._held.pop(idle).forget()
        return opened
