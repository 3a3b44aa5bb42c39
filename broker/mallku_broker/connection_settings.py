"""Where the broker is and who we are to it, as values, and what is read from files for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mallku_broker.files import read_private_text
from mallku_broker.nkeys import public_nkey
from mallku_broker.tls import TlsFiles, tls_context
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where the broker is, who we are to it, and how long anything may take.

    Attributes:
        url: `nats://HOST:PORT` or `tls://HOST:PORT`, or several with commas between them; nothing
            secret belongs in it.
        credentials: A NATS credentials file, or a file with the seed of an nkey; not for others.
        tls_ca: Who is believed, PEM; without it, whom the system believes.
        tls_cert: What this side shows of itself, PEM; with `tls_key`.
        tls_key: The key of `tls_cert`; not for others.
        connect_timeout_s: From the call of `connect` until it gives up, seconds.
        attempt_timeout_s: One server's time to let us in, seconds.
        reconnect_min_wait_s: The first wait before another try, seconds; doubled with each try.
        reconnect_max_wait_s: The longest wait between two tries, seconds; there is no last try.
        pending_bytes: What is kept for sending before senders have to wait, bytes.
        ping_interval_s: How often a silent server is asked, seconds.
        max_outstanding_pings: Unanswered pings after which the server counts as dead.
        close_timeout_s: From the call of `close` until the connection is dropped, seconds.

    Raises:
        ConfigurationError: a URL is none, or holds a user or a password.
    """

    url: str = "nats://127.0.0.1:4222"
    credentials: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    connect_timeout_s: float = 5.0
    attempt_timeout_s: float = 2.0
    reconnect_min_wait_s: float = 0.05
    reconnect_max_wait_s: float = 2.0
    pending_bytes: int = 16 * MIB
    ping_interval_s: float = 10.0
    max_outstanding_pings: int = 2
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        for url in self.urls:
            _check_url(url)

    @property
    def urls(self) -> list[str]:
        """The servers, each by its URL."""
        return [url.strip() for url in self.url.split(",")]

    @property
    def tls_files(self) -> TlsFiles:
        """Whom to believe and what to show."""
        return TlsFiles(self.tls_ca, self.tls_cert, self.tls_key)

    @property
    def needs_tls(self) -> bool:
        """Whether a server without TLS is refused."""
        return any(self.tls_files) or any(url.startswith("tls:") for url in self.urls)


def connect_options(settings: ConnectionSettings) -> dict[str, Any]:
    """What nats-py has to know about credentials and TLS.

    Raises:
        ConfigurationError: a file is missing, open to others, or not what it should be.
    """
    tls = {"tls": tls_context(settings.tls_files)} if settings.needs_tls else {}
    return _credentials(settings.credentials) | tls


def _check_url(url: str) -> None:
    shown = url.rpartition("@")[2][:120]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{shown!r} is not the URL of a broker") from None
    if "@" in url:
        raise ConfigurationError(f"{shown!r}: credentials belong in a file, not in the URL")
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or port == 0:
        raise ConfigurationError(f"{shown!r}: expected nats://HOST:PORT or tls://HOST:PORT")


def _credentials(path: Path | None) -> dict[str, Any]:
    """How to prove who we are; the file is read again at each reconnect, by nats-py."""
    if path is None:
        return {}
    text = read_private_text(path, "credentials file")
    if "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
        return {"user_credentials": str(path)}
    try:
        public_nkey(text)
    except ConfigurationError:
        raise ConfigurationError(
            f"credentials file {path}: neither NATS credentials nor the seed of an nkey"
        ) from None
    return {"nkeys_seed": str(path)}
