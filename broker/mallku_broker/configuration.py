"""The configuration of nats-server as a value, and as the text that the server reads.

The text is JSON, which is a subset of the server's configuration format; so a name can never become
syntax. Nothing here ever says `allow_responses`: a reply is not held to the publish lists, and who
may answer may write anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mallku_broker.accounts import Account, User, accounts_section, refuse_shared_nkeys
from mallku_broker.files import read_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MAX_PAYLOAD_BYTES, MIB

RANDOM_PORT: Final = -1
"""The server takes a free port by itself, so that nobody can take it in between."""

MAX_CONNECTIONS: Final = 2_048
"""Connections to one server."""

MAX_SUBSCRIPTIONS: Final = 1_024
"""Subscriptions of one connection."""

MAX_OUTBOUND_BYTES: Final = 64 * MIB
"""What the server keeps for a slow connection before it closes it, bytes."""

MIN_STORE_KEY_CHARS: Final = 32
"""The key that streams are encrypted with, characters at the least."""

STORE_KEY_VARIABLE: Final = "MALLKU_STORE_KEY"
FORMER_STORE_KEY_VARIABLE: Final = "MALLKU_FORMER_STORE_KEY"

_KEY_TEXT = re.compile(r"[A-Za-z0-9+/=_-]+")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files for TLS, PEM; with `ca`, clients have to show a certificate of it as well (mTLS).

    A certificate opens the line and nothing else: who somebody is, their nkey says.
    """

    certificate: Path
    key: Path
    ca: Path | None = None
    min_version: Literal["1.2", "1.3"] = "1.3"


@dataclass(frozen=True, slots=True)
class StoreEncryption:
    """How streams are encrypted on disk, and the file with the key (not for others).

    Attributes:
        key_file: One line of text, at least `MIN_STORE_KEY_CHARS` characters.
        former_key_file: What streams are still encrypted with; the server encrypts them anew when
            it starts.
    """

    key_file: Path
    cipher: Literal["chachapoly", "aes"] = "chachapoly"
    former_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ServerConfiguration:
    """Everything that a server of the gateway is told.

    Attributes:
        store: The folder for streams.
        port: 0 takes a free one.
        log: The server's log file; without one it logs to its standard error.
        log_bytes: A log file is rotated at this size; `log_files` of them are kept.
        monitoring_port: HTTP on loopback, for `/healthz` and metrics; 0 takes a free one.
        sync_every_write: Nothing is acknowledged before it is on disk (durability `fsync`);
            otherwise the operating system decides, at most two minutes later.
        encryption: Streams lie on disk encrypted; without it, as they are.
        max_store_bytes: All streams together; None leaves it to the server (75 % of the disk).
    """

    store: Path
    users: tuple[User, ...]
    host: str = "127.0.0.1"
    port: int = 4222
    server_name: str = "mallku"
    log: Path | None = None
    log_bytes: int = 8 * MIB
    log_files: int = 4
    monitoring_port: int | None = None
    tls: ServerTls | None = None
    sync_every_write: bool = False
    encryption: StoreEncryption | None = None
    max_store_bytes: int | None = None
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_text(self) -> str:
        """The configuration file's text; keys of streams are looked for in the environment.

        Raises:
            ConfigurationError: two users share an nkey, or a path cannot be written down.
        """
        text = json.dumps(_document(self), indent=2, ensure_ascii=False, default=str)
        if "\\u00" in text:
            raise ConfigurationError("the server's configuration holds a control character")
        return _unquote_variables(text) + "\n"

    def environment(self) -> dict[str, str]:
        """What the server's process needs in its environment besides: the keys of streams.

        Raises:
            ConfigurationError: a key file is missing, open to others, or holds no key.
        """
        if self.encryption is None:
            return {}
        files = {STORE_KEY_VARIABLE: self.encryption.key_file}
        if self.encryption.former_key_file is not None:
            files[FORMER_STORE_KEY_VARIABLE] = self.encryption.former_key_file
        # In quotes: the server reads the value like its file, and could take it for a number.
        return {name: f'"{_store_key(path)}"' for name, path in files.items()}


def _document(configuration: ServerConfiguration) -> dict[str, Any]:
    refuse_shared_nkeys(configuration.users)
    document: dict[str, Any] = {
        "server_name": configuration.server_name,
        "host": configuration.host,
        "port": configuration.port or RANDOM_PORT,
        "max_payload": configuration.max_payload_bytes,
        "max_connections": MAX_CONNECTIONS,
        "max_subscriptions": MAX_SUBSCRIPTIONS,
        "max_pending": MAX_OUTBOUND_BYTES,
        "write_deadline": "5s",
        "ping_interval": "20s",
        "system_account": Account.SYS,
        "jetstream": _jetstream(configuration),
        "accounts": accounts_section(configuration.users),
    }
    document |= _logging(configuration)
    if configuration.monitoring_port is not None:
        document["http"] = f"127.0.0.1:{configuration.monitoring_port or RANDOM_PORT}"
    if configuration.tls is not None:
        document["tls"] = _tls(configuration.tls)
    return document | dict(configuration.extra)


def _jetstream(configuration: ServerConfiguration) -> dict[str, Any]:
    jetstream: dict[str, Any] = {"store_dir": configuration.store}
    if configuration.sync_every_write:
        jetstream["sync_interval"] = "always"
    if configuration.max_store_bytes is not None:
        jetstream["max_file_store"] = configuration.max_store_bytes
    if configuration.encryption is not None:
        jetstream |= {"cipher": configuration.encryption.cipher, "key": f"${STORE_KEY_VARIABLE}"}
        if configuration.encryption.former_key_file is not None:
            jetstream["prev_key"] = f"${FORMER_STORE_KEY_VARIABLE}"
    return jetstream


def _unquote_variables(text: str) -> str:
    """Let the two lines that name a variable mean its value; no other text can look like them."""
    for name, variable in (("key", STORE_KEY_VARIABLE), ("prev_key", FORMER_STORE_KEY_VARIABLE)):
        text = text.replace(f'\n    "{name}": "${variable}"', f'\n    "{name}": ${variable}')
    return text


def _store_key(path: Path) -> str:
    key = read_private_text(path, "stream key file").strip()
    if len(key) < MIN_STORE_KEY_CHARS or not _KEY_TEXT.fullmatch(key):
        raise ConfigurationError(
            f"stream key file {path}: expected one line of at least {MIN_STORE_KEY_CHARS}"
            " letters, digits, + / = _ or -"
        )
    return key


def _logging(configuration: ServerConfiguration) -> dict[str, Any]:
    if configuration.log is None:
        return {}
    return {
        "logfile": configuration.log,
        "logfile_size_limit": configuration.log_bytes,
        "logfile_max_num": configuration.log_files,
    }


def _tls(tls: ServerTls) -> dict[str, Any]:
    lines: dict[str, Any] = {
        "cert_file": tls.certificate,
        "key_file": tls.key,
        "min_version": tls.min_version,
        "timeout": 2,
    }
    return lines if tls.ca is None else lines | {"ca_file": tls.ca, "verify": True}
