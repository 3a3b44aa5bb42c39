"""What the environment says about a client, as values with units; arguments of `connect` win.

The settings are a plain dataclass: pydantic-settings alone takes longer to import than everything
that a client needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from mallku_contracts.errors import ConfigurationError, InvalidSubject
from mallku_contracts.limits import MAX_ATTEMPTS
from mallku_contracts.subjects import check_name

MAX_TIMEOUT_S: Final = 3_600.0
"""Any timeout of a client, seconds."""

MAX_RETRY_BUDGET: Final = 10.0
"""Retries for each call, retries."""


CREDENTIALS: Final[Mapping[str, str]] = {
    "key_file": "key.pem",
    "token_file": "token.jwt",
    "trust_file": "trust.json",
    "nats_credentials": "nats.nk",
    "tls_ca_file": "ca.pem",
    "tls_cert_file": "tls.pem",
    "tls_key_file": "tls.key",
}
"""What a folder of credentials holds, by the setting that it takes the place of.

The last three are looked for where the URL begins with `tls:`.
"""


def _name(value: str) -> str:
    try:
        return check_name(value, "name")
    except InvalidSubject as error:
        raise ValueError(str(error)) from None


def _seconds(value: str) -> float:
    number = float(value)
    if not 0 < number <= MAX_TIMEOUT_S:
        raise ValueError(f"expected seconds, more than 0 and at most {MAX_TIMEOUT_S:g}")
    return number


def _attempts(value: str) -> int:
    number = int(value)
    if not 1 <= number <= MAX_ATTEMPTS:
        raise ValueError(f"expected 1 to {MAX_ATTEMPTS}")
    return number


def _ratio(value: str) -> float:
    number = float(value)
    if not 0 <= number <= MAX_RETRY_BUDGET:
        raise ValueError(f"expected 0 to {MAX_RETRY_BUDGET:g}")
    return number


def _flag(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in words:
        raise ValueError("expected true or false")
    return words[value.lower()]


def _env(variable: str, read: Callable[[str], Any], *, unit: str = "") -> Mapping[str, Any]:
    """What sets a field: an environment variable, and how its text is read."""
    return {"variable": variable, "read": read, "unit": unit}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the gateway is, who we are, and how long anything may take.

    Attributes:
        url: `nats://HOST:PORT` or `tls://HOST:PORT`, several with commas between them; or an HTTP
            door's, `http://HOST:PORT` or `https://HOST:PORT`.
        principal: In whose name commands are signed; by default whom the token was issued to.
        database: The database that collections belong to.
        credentials: A folder with `key.pem`, `token.jwt` and so on, for what is not set by itself.
        key_file: The Ed25519 signing key, PKCS#8 PEM, for nobody else to read.
        token_file: The token; read again before it expires.
        trust_file: The issuers whose workers are believed (JSON); read again when it changes.
        nats_credentials: NATS credentials, or the seed of an nkey.
        timeout_s: One call with all its attempts, unless it says otherwise.
        connect_timeout_s: From `connect` until it gives up.
        max_attempts: Attempts of one call, the first included.
        retry_budget: Retries for each call, over all calls of the client; ten a second are free.
        away_s: How long a call of which nothing has left waits for a connection to come back.
        require_signed_reads: Refuse unsigned replies to reads as well.
        mirror_headers: Show command id and operation in message headers, for people and tools.
        tracing: Make OpenTelemetry spans of calls, and have workers' spans continue them.
        history_file: Where a history of every call is written, documents included.
        tls_ca_file: Who may vouch for the broker; the system's list by default.
        tls_cert_file: What we show of ourselves to the broker.
        tls_key_file: The key of that certificate.
        dev_mode: Without a URL, start a gateway of our own.
        dev_data: Where that gateway keeps its data; a temporary folder by default.
        dev_start_timeout_s: How long that gateway may take to be ready.
        production: Refuse `dev_mode`.
    """

    url: str | None = field(default=None, metadata=_env("MALLKU_API_GATEWAY_URL", str))
    principal: str | None = field(default=None, metadata=_env("MALLKU_PRINCIPAL", _name))
    database: str = field(default="mallku", metadata=_env("MALLKU_DATABASE", _name))
    credentials: Path | None = field(default=None, metadata=_env("MALLKU_CREDENTIALS", Path))
    key_file: Path | None = field(default=None, metadata=_env("MALLKU_KEY_FILE", Path))
    token_file: Path | None = field(default=None, metadata=_env("MALLKU_TOKEN_FILE", Path))
    trust_file: Path | None = field(default=None, metadata=_env("MALLKU_TRUST_FILE", Path))
    nats_credentials: Path | None = field(
        default=None, metadata=_env("MALLKU_NATS_CREDENTIALS", Path)
    )
    timeout_s: float = field(default=10.0, metadata=_env("MALLKU_TIMEOUT", _seconds, unit="s"))
    connect_timeout_s: float = field(
        default=5.0, metadata=_env("MALLKU_CONNECT_TIMEOUT", _seconds, unit="s")
    )
    max_attempts: int = field(default=5, metadata=_env("MALLKU_MAX_ATTEMPTS", _attempts))
    retry_budget: float = field(default=0.2, metadata=_env("MALLKU_RETRY_BUDGET", _ratio))
    away_s: float = field(default=0.8, metadata=_env("MALLKU_AWAY_AFTER", _seconds, unit="s"))
    require_signed_reads: bool = field(
        default=True, metadata=_env("MALLKU_REQUIRE_SIGNED_READS", _flag)
    )
    mirror_headers: bool = field(default=False, metadata=_env("MALLKU_MIRROR_HEADERS", _flag))
    history_file: Path | None = field(default=None, metadata=_env("MALLKU_HISTORY_FILE", Path))
    tracing: bool = field(default=False, metadata=_env("MALLKU_TRACING", _flag))
    tls_ca_file: Path | None = field(default=None, metadata=_env("MALLKU_TLS_CA_FILE", Path))
    tls_cert_file: Path | None = field(default=None, metadata=_env("MALLKU_TLS_CERT_FILE", Path))
    tls_key_file: Path | None = field(default=None, metadata=_env("MALLKU_TLS_KEY_FILE", Path))
    dev_mode: bool = field(default=False, metadata=_env("MALLKU_DEV_MODE", _flag))
    dev_data: Path | None = field(default=None, metadata=_env("MALLKU_DEV_DATA", Path))
    dev_start_timeout_s: float = field(
        default=30.0, metadata=_env("MALLKU_DEV_START_TIMEOUT", _seconds, unit="s")
    )
    production: bool = field(default=False, metadata=_env("MALLKU_PRODUCTION", _flag))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ClientSettings:
        """Read the process's environment, or another.

        An empty variable counts as not set.

        Raises:
            ConfigurationError: naming the variable and what it may hold.
        """
        source = os.environ if environment is None else environment
        values = {
            item.name: _read(item.metadata["variable"], text, item.metadata["read"])
            for item in fields(cls)
            if (text := source.get(item.metadata["variable"], "").strip())
        }
        return cls(**{**_from_folder(values), **values})

    def override(self, **arguments: Any) -> ClientSettings:
        """These settings with others in their place; text becomes what the field holds."""
        readers = {item.name: item.metadata["read"] for item in fields(self)}
        values = {
            name: _read(name, value, readers[name]) if isinstance(value, str) else value
            for name, value in arguments.items()
        }
        return replace(self, **values)

    def filled_from(self, environment: Mapping[str, str]) -> ClientSettings:
        """These settings, and what another environment says where they have their default."""
        other = ClientSettings.from_environment(environment)
        unset = {
            item.name: getattr(other, item.name)
            for item in fields(self)
            if getattr(self, item.name) == item.default
        }
        return replace(self, **unset)

    def require(self, name: str, purpose: str) -> Any:
        """The value of a setting that has to be there; the error says how to give it."""
        value = getattr(self, name)
        if value is None:
            raise ConfigurationError(
                f"{variable_of(name)} is not set: {purpose}; set it, or pass {name}= to connect() "
                "(mallku-gateway up --env-file FILE writes all of them; without a gateway, "
                "MALLKU_DEV_MODE=true starts one)"
            )
        return value


def _from_folder(values: Mapping[str, Any]) -> dict[str, Any]:
    """What lies in the folder of credentials, if one is named."""
    folder: Path | None = values.get("credentials")
    if folder is None:
        return {}
    if not folder.is_dir():
        raise ConfigurationError(f"MALLKU_CREDENTIALS={str(folder)[:80]!r}: no such folder")
    encrypted = str(values.get("url", "")).startswith("tls:")
    return {
        name: path
        for name, file in CREDENTIALS.items()
        if (encrypted or not name.startswith("tls_")) and (path := folder / file).exists()
    }


def variable_of(name: str) -> str:
    """The environment variable that sets the field `name`."""
    variables = {item.name: item.metadata["variable"] for item in fields(ClientSettings)}
    return str(variables[name])


def _read(variable: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable}={text[:80]!r}: {error}") from None
