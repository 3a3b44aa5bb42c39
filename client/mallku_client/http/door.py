"""The door put together: one connection to the broker, and a client of it for each request."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from mallku_broker.connection import connect
from mallku_broker.trust import TrustFile
from mallku_client.caller import Caller
from mallku_client.clock import Clock
from mallku_client.composition import Connection, broker_settings, load_identity, tracing_of
from mallku_client.database import SecuredDatabaseInterface
from mallku_client.http.carrying import CarriedCommands, DoorTransport
from mallku_client.http.relaying import Relay
from mallku_client.http.services import Services
from mallku_client.http.settings import DoorSettings
from mallku_client.http.who import Doorkeeper, Who
from mallku_client.retries import RetryPolicy
from mallku_client.settings import ClientSettings
from mallku_client.verifier import Verifier
from mallku_contracts.subjects import inbox_prefix

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """Everything that a request needs.

    Attributes:
        name: The door's own principal.
        origin: How callers reach it.
        keeper: Finds out who asks.
        relay: Passes on what callers signed themselves.
    """

    name: str
    origin: str
    settings: DoorSettings
    keeper: Doorkeeper
    relay: Relay
    caller: Caller
    transport: DoorTransport
    client: ClientSettings

    @property
    def is_up(self) -> bool:
        """Whether the broker is there now."""
        return self.transport.is_up

    def commands(self, who: Who, wait_s: float, traceparent: str = "") -> CarriedCommands:
        """Commands that are carried for `who`, each waited for at most `wait_s` seconds.

        Args:
            traceparent: The trace that they belong to.
        """
        database = self.client.database
        return CarriedCommands(
            self.caller, who.principal, database, wait_s, who.prove, traceparent=traceparent
        )

    def database(self, commands: CarriedCommands) -> SecuredDatabaseInterface:
        """The ordinary client of these commands."""
        return SecuredDatabaseInterface(Connection(commands, self.client))

    async def close(self) -> None:
        """Let go of the connection."""
        await self.caller.close()


async def open_door(client: ClientSettings, settings: DoorSettings, origin: str) -> Door:
    """Connect as the door that `client` names.

    Raises:
        ConfigurationError: naming the variable or file that is missing or wrong.
        GatewayUnreachable: the broker does not answer.
    """
    clock = Clock()
    identity = load_identity(client, clock)
    trust_file = client.require("trust_file", "whose workers' replies are believed")
    trust = await asyncio.to_thread(TrustFile, trust_file, _LOG.warning)  # it may fetch keys
    services = Services.load(settings.services_file, clock)
    name = identity.principal
    connection = await connect(
        broker_settings(client), name=f"mallku-http.{name}", inbox_prefix=inbox_prefix(name)
    )
    transport = DoorTransport(connection, name)
    caller = Caller(
        transport,
        identity,
        Verifier(trust, clock, require_signed_reads=client.require_signed_reads),
        clock,
        policy=RetryPolicy(max_attempts=settings.max_attempts),
        tracing=tracing_of(client),
    )
    # Its own: who looks whether the trust has changed is told once.
    callers_trust = await asyncio.to_thread(TrustFile, trust_file, _LOG.warning)
    keeper = Doorkeeper(callers_trust, services, clock, origin)
    relay = Relay(transport, keeper, clock)
    return Door(name, origin, settings, keeper, relay, caller, transport, client)
