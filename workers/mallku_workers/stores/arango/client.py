"""The HTTP client of a store, put together from its settings."""

from __future__ import annotations

import ssl
from typing import Final

from mallku_broker.files import read_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_workers.stores.arango.connections import Connections, Coordinator
from mallku_workers.stores.arango.credentials import Credentials
from mallku_workers.stores.arango.http import LeanClient
from mallku_workers.stores.arango.settings import ArangoSettings

_MS_PER_S: Final = 1_000


def make_client(settings: ArangoSettings) -> LeanClient:
    """The HTTP client for these settings.

    Raises:
        ConfigurationError: a URL or a file cannot be used, or others may read the password.
    """
    password = ""
    if settings.password_file is not None:
        password = read_private_text(settings.password_file, "password file").strip("\r\n")
    coordinators = tuple(Coordinator.parse(url) for url in settings.urls)
    connections = Connections(
        coordinators,
        tls=_tls(settings) if any(one.tls for one in coordinators) else None,
        idle_s=settings.idle_s,
        connect_s=settings.connect_timeout_ms / _MS_PER_S,
    )
    return LeanClient(
        connections,
        Credentials(settings.auth, settings.username, password),
        max_response_bytes=settings.max_response_bytes,
    )


def _tls(settings: ArangoSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ArangoDB's TLS files cannot be used: {error}") from None
    return context
