"""The transport of every day: NATS, one connection, one inbox of the principal's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.doubting import doubt
from mallku_broker.events import ConnectionEvent, ConnectionLost, NoResponders, RefusedByBroker
from mallku_broker.requests import RequestMultiplexer
from mallku_client.job_transport import NatsJobs
from mallku_client.transport import NoAnswer, NobodyListens, NotDelivered
from mallku_contracts.errors import PermissionDenied
from mallku_contracts.subjects import CommandSubject, inbox_prefix

CONNECTION_NAME: Final = "mallku-client"

DOUBT_AFTER_S: Final = 0.5
"""A request must have waited so long for its reply to raise doubts about the broker, seconds."""

BROKER_PATIENCE_S: Final = 1.0
"""How long a broker that is doubted may take to answer before another is tried, seconds."""

_LOG = logging.getLogger(__name__)


class NatsTransport:
    """Requests over one NATS connection that comes back by itself; made by `open`.

    Attributes:
        jobs: Sends durable jobs over the same connection; None where the principal is not said.
    """

    def __init__(
        self, connection: GatewayConnection, requests: RequestMultiplexer, principal: str = ""
    ) -> None:
        self._connection = connection
        self._requests = requests
        self.jobs = NatsJobs(connection, principal) if principal else None
        self._doubts: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, settings: ConnectionSettings, principal: str) -> NatsTransport:
        """Connect as `principal`, whose inbox replies come to.

        Raises:
            GatewayUnreachable: nobody let us in within the connect timeout; lists what was tried.
            ConfigurationError: a file or URL is wrong, or the broker refuses the credentials.
        """
        prefix = inbox_prefix(principal)
        connection = await connect(
            settings, name=f"{CONNECTION_NAME}.{principal}", inbox_prefix=prefix, on_event=_observe
        )
        requests = RequestMultiplexer(connection, prefix)
        try:
            await requests.start()
        except BaseException:
            await connection.close()
            raise
        return cls(connection, requests, principal)

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """Send one request and return the first reply's body.

        Raises:
            PermissionDenied: the broker's own lock refused the subject; nobody received it.
            MessageTooLarge: the broker does not take so much.
            NotDelivered, NoAnswer: as `Transport.request`.
        """
        try:
            response = await self._requests.request(
                subject, payload, headers=headers, timeout=timeout_s
            )
        except TimeoutError:
            if timeout_s >= DOUBT_AFTER_S and not self._doubts:
                self._doubt()
            raise NoAnswer(f"no reply within {timeout_s:.3g} s") from None
        except RefusedByBroker:
            raise _refused(subject) from None
        except NoResponders as error:
            raise NobodyListens(str(error)) from None
        except ConnectionLost as error:
            raise (NoAnswer if error.sent else NotDelivered)(str(error)) from error
        return response.data

    @property
    def is_up(self) -> bool:
        """Whether there is a connection to the broker now."""
        return self._connection.is_up

    @property
    def waiting(self) -> int:
        """Requests that wait for their reply."""
        return self._requests.in_flight

    async def forget(self) -> None:
        """End what waits, and leave the connection to others."""
        await self._requests.close()

    def post(self, subject: str, payload: bytes) -> None:
        """Send something that nobody answers; dropped while there is no connection."""
        with suppress(ConnectionLost):
            self._connection.post(subject, payload)

    def _doubt(self) -> None:
        """Look in the background whether the broker itself is silent, and not a worker behind it.

        A server that hangs keeps its connections; without this its clients would stay with it until
        its silence is noticed by the pings, which are far apart.
        """
        task = asyncio.create_task(self._look())
        self._doubts.add(task)
        task.add_done_callback(self._doubts.discard)

    async def _look(self) -> None:
        if await doubt(self._connection, BROKER_PATIENCE_S):
            _LOG.warning("the broker was silent for %g s; trying the next", BROKER_PATIENCE_S)

    async def close(self) -> None:
        """End what waits, and close the connection."""
        for task in tuple(self._doubts):
            task.cancel()
        await self._requests.close()
        await self._connection.close()


def _observe(event: ConnectionEvent) -> None:
    _LOG.info("%s: %s %s", event.connection, event.kind, event.detail)


def _refused(subject: str) -> PermissionDenied:
    asked = CommandSubject.parse(subject)
    return PermissionDenied(
        f"no rule lets {asked.principal!r} {asked.operation} "
        f"{asked.database}/{asked.collection}: the broker refused it",
        details={"subject": subject},
    )
