"""The transport of every day: NATS, one connection, one inbox of the principal's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.events import ConnectionEvent, ConnectionLost, NoResponders, RefusedByBroker
from mallku_broker.requests import RequestMultiplexer
from mallku_client.transport import NoAnswer, NobodyListens, NotDelivered
from mallku_contracts.errors import PermissionDenied
from mallku_contracts.subjects import CommandSubject, inbox_prefix

CONNECTION_NAME: Final = "mallku-client"

_LOG = logging.getLogger(__name__)


class NatsTransport:
    """Requests over one NATS connection that comes back by itself; made by `open`."""

    def __init__(self, connection: GatewayConnection, requests: RequestMultiplexer) -> None:
        self._connection = connection
        self._requests = requests

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
        return cls(connection, requests)

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
            raise NoAnswer(f"no reply within {timeout_s:.3g} s") from None
        except RefusedByBroker:
            raise _refused(subject) from None
        except NoResponders as error:
            raise NobodyListens(str(error)) from None
        except ConnectionLost as error:
            raise (NoAnswer if error.sent else NotDelivered)(str(error)) from error
        return response.data

    async def close(self) -> None:
        """End what waits, and close the connection."""
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
