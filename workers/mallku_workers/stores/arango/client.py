"""The HTTP client of a store, put together from its settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.files import read_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_workers.stores.arango.connections import Connections, Coordinator
from mallku_workers.stores.arango.credentials import Credentials
from mallku_workers.stores.arango.http import LeanClient
from mallku_workers.stores.arango.settings import ArangoSettings

_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Clients:
    """The same connections as one database user for each access class.

    Attributes:
        own: As the worker itself, for all that is not a caller's query.
        reading, writing: For queries of callers, which need no more than to read, or to change
            documents; the worker itself where nobody else is named.
    """

    own: LeanClient
    reading: LeanClient
    writing: LeanClient

    def close(self) -> None:
        """Close the idle connections."""
        self.own.close()


def make_client(settings: ArangoSettings) -> LeanClient:
    """The HTTP client of the worker's own user.

    Raises:
        ConfigurationError: a URL or a file cannot be used, or others may read the password.
    """
    return _client(settings, _connections(settings), settings.username, settings.password_file)


def make_clients(settings: ArangoSettings) -> Clients:
    """The HTTP clients of all users.

    Raises:
        ConfigurationError: as `make_client`.
    """
    connections = _connections(settings)

    def client(username: str | None, file: Path | None) -> LeanClient:
        return own if username is None else _client(settings, connections, username, file)

    own = _client(settings, connections, settings.username, settings.password_file)
    return Clients(
        own,
        reading=client(settings.read_username, settings.read_password_file),
        writing=client(settings.write_username, settings.write_password_file),
    )


def _client(
    settings: ArangoSettings, connections: Connections, username: str, file: Path | None
) -> LeanClient:
    password = ""
    if file is not None:
        password = read_private_text(file, "password file").strip("\r\n")
    return LeanClient(
        connections,
        Credentials(settings.auth, username, password),
        max_response_bytes=settings.max_response_bytes,
    )


def _connections(settings: ArangoSettings) -> Connections:
    coordinators = tuple(Coordinator.parse(url) for url in settings.urls)
    return Connections(
        coordinators,
        tls=_tls(settings) if any(one.tls for one in coordinators) else None,
        idle_s=settings.idle_s,
        connect_s=settings.connect_timeout_ms / _MS_PER_S,
    )


def _tls(settings: ArangoSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ArangoDB's TLS files cannot be used: {error}") from None
    return context
