"""Where a client is put together: files, keys, transport and limits become one connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mallku_broker.trust import TrustFile
from mallku_client.caller import Caller
from mallku_client.clock import Clock
from mallku_client.commands import Commands
from mallku_client.identity import ClientIdentity
from mallku_client.retries import RetryPolicy
from mallku_client.settings import ClientSettings
from mallku_client.transport import Transport
from mallku_client.verifier import Verifier

if TYPE_CHECKING:  # imported when it is used
    from mallku_broker.connection_settings import ConnectionSettings
    from mallku_client.dev_mode import DevGateway
    from mallku_client.tracing import Tracing

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """What a database object stands on, and what has to be let go with it.

    Attributes:
        settings: With them another process reaches the same gateway, also one of our own.
    """

    commands: Commands
    settings: ClientSettings
    gateway: DevGateway | None = None

    async def close(self) -> None:
        """Close the connection, then stop a gateway of our own."""
        try:
            await self.commands.close()
        finally:
            if self.gateway is not None:
                await self.gateway.stop()


async def open_connection(settings: ClientSettings, transport: Transport | None) -> Connection:
    """Connect as `settings` say; in development mode without a URL, to a gateway of our own.

    Raises:
        ConfigurationError, GatewayUnreachable: as `SecuredDatabaseInterface.connect`.
    """
    if transport is None and settings.url is None and settings.dev_mode:
        return await _open_to_own_gateway(settings)
    return Connection(await _open_commands(settings, transport), settings)


async def _open_to_own_gateway(settings: ClientSettings) -> Connection:
    from mallku_client.dev_mode import DevGateway

    gateway = await DevGateway.start(settings)
    try:
        filled = settings.filled_from(gateway.environment)
        commands = await _open_commands(filled, None)
    except BaseException:
        await gateway.stop()
        raise
    return Connection(commands, filled, gateway)


async def _open_commands(settings: ClientSettings, transport: Transport | None) -> Commands:
    clock = Clock()
    identity = load_identity(settings, clock)
    trust_file = settings.require("trust_file", "whose workers' replies are believed")
    trust = await asyncio.to_thread(TrustFile, trust_file, _LOG.warning)  # it may fetch keys
    verifier = Verifier(trust, clock, require_signed_reads=settings.require_signed_reads)
    tracing = tracing_of(settings)
    made = None if transport is not None else await _open_transport(settings, identity.principal)
    try:
        caller = _caller(settings)(
            transport if made is None else made,
            identity,
            verifier,
            clock,
            policy=RetryPolicy(max_attempts=settings.max_attempts, away_s=settings.away_s),
            retry_budget=settings.retry_budget,
            mirror_headers=settings.mirror_headers,
            tracing=tracing,
        )
        return Commands(caller, identity.principal, settings.database, settings.timeout_s)
    except BaseException:
        if made is not None:  # what was passed is for who made it to close
            await made.close()
        raise


def tracing_of(settings: ClientSettings) -> Tracing | None:
    """What makes spans of calls, where the settings ask for it."""
    if not settings.tracing:
        return None
    from mallku_client.tracing import Tracing

    return Tracing()


def _caller(settings: ClientSettings) -> Callable[..., Caller]:
    """What makes the caller: one that keeps a history where that is asked for."""
    if settings.history_file is None:
        return Caller
    from mallku_client.history import History, RecordingCaller

    return partial(RecordingCaller, History(settings.history_file))


def load_identity(settings: ClientSettings, clock: Clock) -> ClientIdentity:
    """Who signs commands, out of the files that the settings name.

    Raises:
        ConfigurationError: naming the setting or the file, and what is wrong with it.
    """
    return ClientIdentity.load(
        settings.principal,
        settings.require("key_file", "the key that commands are signed with"),
        settings.require("token_file", "the token that says who this client is"),
        clock,
    )


def broker_settings(settings: ClientSettings) -> ConnectionSettings:
    """Where and how to connect to the broker; `ConfigurationError` when no URL is set."""
    from mallku_broker.connection_settings import ConnectionSettings

    return ConnectionSettings(
        url=settings.require("url", "where the gateway is"),
        credentials=settings.nats_credentials,
        tls_ca=settings.tls_ca_file,
        tls_cert=settings.tls_cert_file,
        tls_key=settings.tls_key_file,
        connect_timeout_s=settings.connect_timeout_s,
    )


async def _open_transport(settings: ClientSettings, principal: str) -> Transport:
    if (settings.url or "").startswith(("http://", "https://")):
        from mallku_client.http_transport import HttpTransport

        return await HttpTransport.open(
            settings.require("url", "where the gateway is"),
            settings.connect_timeout_s,
            settings.tls_ca_file,
        )
    where = broker_settings(settings)
    from mallku_client.nats_transport import NatsTransport

    return await NatsTransport.open(where, principal)
