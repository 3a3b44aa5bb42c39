"""Commands that a door signs for others: each brings the proof that its caller asked for it."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost
from mallku_broker.requests import RequestMultiplexer
from mallku_client.caller import Caller
from mallku_client.commands import Commands
from mallku_client.job_transport import NatsJobs
from mallku_client.nats_transport import NatsTransport
from mallku_client.signer import Carried, Command
from mallku_client.transport import Stored
from mallku_contracts import codec
from mallku_contracts.dpop import Asked, unpack_proven
from mallku_contracts.errors import Busy, InvalidArguments
from mallku_contracts.operations import Operation
from mallku_contracts.subjects import JOB, CommandSubject, door_inbox

MAX_CALLERS: Final = 256
"""Callers whose inboxes a door listens at; who has been silent longest is let go."""

RETRY_AFTER_S: Final = 1.0
"""Advice to whom the door has no room for, seconds."""

Prove = Callable[[Asked], Carried]
"""Shows that the caller asked for exactly this; `InvalidProof` where nothing shows it."""


class CarriedCommands(Commands):
    """Sends operations for one caller, each under a proof of its own.

    Args:
        traceparent: The trace that all of them belong to; empty without one.
    """

    def __init__(
        self,
        caller: Caller,
        principal: str,
        database: str,
        timeout_s: float,
        prove: Prove,
        *,
        traceparent: str = "",
    ) -> None:
        super().__init__(caller, principal, database, timeout_s)
        self._prove = prove
        self._traceparent = traceparent

    def _command(
        self,
        subject: CommandSubject,
        operation: Operation,
        arguments: Mapping[str, Any],
        key: str | None,
    ) -> Command:
        command = super()._command(subject, operation, arguments, key)
        _refuse_too_much(command.body)
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
        return replace(
            command,
            first_id=first_id,
            idempotency_key=key or first_id,
            carried=carried,
            traceparent=self._traceparent,
        )


def _refuse_too_much(body: bytes) -> None:
    """Refuse here what workers refuse under a proof; `MessageTooLarge` or `InvalidArguments`."""
    try:
        unpack_proven(body)
    except codec.CodecError as error:
        raise InvalidArguments(str(error)) from None


class DoorJobs:
    """Submits jobs of any caller; their replies go to the caller's inbox, where no door listens.

    What the server says of a caller's jobs is listened to while one of them was sent from here and
    is not confirmed: the server says it of all of that caller's jobs alike.
    """

    def __init__(self, connection: GatewayConnection) -> None:
        self._connection = connection
        self._held: dict[str, NatsJobs] = {}

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
        try:
            return await jobs.store(subject, payload, job_id, operation, timeout_s, headers=headers)
        finally:
            if not jobs.waiting and self._held.get(principal) is jobs:
                del self._held[principal]
                await jobs.close()

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
        self._asking: Counter[str] = Counter()
        self._opening = asyncio.Lock()
        self.jobs = DoorJobs(connection)

    @property
    def is_up(self) -> bool:
        """Whether the broker is there now."""
        return self._connection.is_up

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """Send one request and return the first reply's body; errors as `NatsTransport`.

        Raises:
            Busy: as many callers wait here as a door listens for.
        """
        principal = CommandSubject.parse(subject).principal
        self._asking[principal] += 1
        try:
            transport = await self._of(principal)
            return await transport.request(subject, payload, headers, timeout_s)
        finally:
            self._asking[principal] -= 1
            if not self._asking[principal]:
                del self._asking[principal]

    def post(self, subject: str, payload: bytes) -> None:
        """Send something that nobody answers; dropped while there is no connection."""
        with suppress(ConnectionLost):
            self._connection.post(subject, payload)

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
        if len(self._held) >= MAX_CALLERS:
            idle = next((name for name in self._held if name not in self._asking), None)
            if idle is None:
                raise Busy(f"{MAX_CALLERS} callers wait at this door", retry_after=RETRY_AFTER_S)
            await self._held.pop(idle).forget()
        requests = RequestMultiplexer(self._connection, door_inbox(principal, self._door))
        await requests.start()
        self._held[principal] = opened = NatsTransport(self._connection, requests, principal)
        return opened
