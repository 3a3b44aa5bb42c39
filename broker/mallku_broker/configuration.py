"""The configuration of nats-server as a value, and as the text that the server reads.

The text is JSON, which is a subset of the server's configuration format; so a name can never become
syntax. Nothing here ever says `allow_responses`: a reply is not held to the publish lists, and who
may answer may write anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from mallku_broker.conf import conf_text
from mallku_broker.files import read_private_text
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MAX_PAYLOAD_BYTES, MIB
from mallku_contracts.subjects import FLAGS_CHANGED, JOB, PREFIX, STORED

RANDOM_PORT: Final = -1
"""The server takes a free port by itself, so that nobody can take it in between."""

MAX_CONNECTIONS: Final = 1_024
"""Connections to one server."""

MAX_CALLERS_CONNECTIONS: Final = 896
"""Connections to one server in MALLKU; the rest are kept for RECORDS, so that however many callers
take, workers reach the trail and administrators the streams. NATS counts connections of servers and
accounts, not of users (nats-server issue 1552)."""

MAX_AUDITORS_CONNECTIONS: Final = 32
"""Connections to one server in AUDITORS."""

MAX_SUBSCRIPTIONS: Final = 1_024
"""Subscriptions of one connection."""

MAX_OUTBOUND_BYTES: Final = 64 * MIB
"""What the server keeps for a slow connection before it closes it, bytes."""

MIN_STORE_KEY_CHARS: Final = 32
"""The key that streams are encrypted with, characters at the least."""

STORE_KEY_VARIABLE: Final = "MALLKU_STORE_KEY"
FORMER_STORE_KEY_VARIABLE: Final = "MALLKU_FORMER_STORE_KEY"

AUDITOR_PREFIX: Final = "AUD.API"
"""Where auditors find the part of the JetStream API that they may use."""

AUDITED_STREAMS: Final = (AUDIT, CHECKPOINTS)
"""The streams that auditors read."""

SERVER_REPORT: Final = "$SYS.REQ.SERVER.PING.JSZ"
"""Where servers say how JetStream is configured on them; the system account lends it to RECORDS.

Without it nobody in RECORDS could know whether a server syncs what it acknowledges.
"""

JOBS: Final = f"{PREFIX}.{JOB}.>"
"""Where callers put durable jobs: a service that RECORDS exports to MALLKU.

It answers nobody. The server's own answers go wherever a reply subject says, past all permissions
(`docs/decisions/0019`); so the stream of jobs gives none, and what was asked for is forgotten.
"""

JOBS_ANSWER_WITHIN: Final = "1s"
"""How long the server remembers who asked for the answer to a job, which never comes."""

MIRRORED: Final = "mallku.mirror"
"""Below it the server hands mirrored messages over to KEEPERS, stream by stream."""

KEEPER_PREFIX: Final = "REC.API"
"""Where KEEPERS find the one call of the JetStream API that a mirror makes."""

CONFIRMATIONS: Final = f"{PREFIX}.{STORED}.>"
"""Where the server says which jobs it keeps, principal by principal; RECORDS exports it to MALLKU.

The subject is made of the job's own, which the sender's permissions held: nobody can have it sent
to anybody else.
"""

TOLD_TO_CALLERS: Final = (CONFIRMATIONS, FLAGS_CHANGED)
"""What RECORDS says in MALLKU without being asked; permissions say who there may listen."""


_KEY_TEXT = re.compile(r"[A-Za-z0-9+/=_-]+")


class Account(StrEnum):
    """The walls inside the broker; nothing crosses them but what is exported and imported below."""

    MALLKU = "MALLKU"
    RECORDS = "RECORDS"
    AUDITORS = "AUDITORS"
    KEEPERS = "KEEPERS"
    SYS = "SYS"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one user may publish and subscribe to; what is in no list is refused.

    A subscription may name a queue after a blank: then only members of that queue may subscribe.
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may connect: the public half of an nkey, an account, and permissions.

    Two users cannot share an nkey; whoever stands in two accounts has two keys.
    """

    name: str
    nkey: str
    account: Account
    permissions: Permissions


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
    _refuse_shared_nkeys(configuration.users)
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
        "accounts": _accounts(configuration.users),
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


def accounts_text(users: Iterable[User]) -> str:
    """The accounts alone, as people write them, for a server's own configuration to `include`.

    Raises:
        ConfigurationError: two users share an nkey.
    """
    listed = tuple(users)
    _refuse_shared_nkeys(listed)
    return conf_text({"system_account": Account.SYS, "accounts": _accounts(listed)})


def _accounts(users: Iterable[User]) -> dict[str, Any]:
    members: dict[Account, list[dict[str, Any]]] = {account: [] for account in Account}
    for user in users:
        members[user.account].append(_user(user))
    records, auditors = str(Account.RECORDS), str(Account.AUDITORS)
    accounts: dict[str, Any] = {
        Account.MALLKU: {
            "users": members[Account.MALLKU],
            "limits": {"max_connections": MAX_CALLERS_CONNECTIONS},
            "imports": [
                {"service": {"account": records, "subject": JOBS}},
                *({"stream": {"account": records, "subject": told}} for told in TOLD_TO_CALLERS),
            ],
        },
        Account.RECORDS: {
            "users": members[Account.RECORDS],
            "jetstream": "enabled",
            "imports": [{"service": {"account": str(Account.SYS), "subject": SERVER_REPORT}}],
            "exports": [
                {
                    "service": JOBS,
                    "accounts": [str(Account.MALLKU)],
                    "response_threshold": JOBS_ANSWER_WITHIN,
                },
                *({"stream": told, "accounts": [str(Account.MALLKU)]} for told in TOLD_TO_CALLERS),
                *(
                    {"service": f"$JS.API.{call}", "accounts": [auditors]} | response
                    for call, response in audit_calls()
                ),
            ],
        },
        Account.AUDITORS: {
            "users": members[Account.AUDITORS],
            "limits": {"max_connections": MAX_AUDITORS_CONNECTIONS},
            "imports": [
                {
                    "service": {"account": records, "subject": f"$JS.API.{call}"},
                    "to": f"{AUDITOR_PREFIX}.{call}",
                    "share": True,  # RECORDS is told who reads, and not only that it is an auditor
                }
                for call, _ in audit_calls()
            ],
        },
        Account.SYS: {
            "users": members[Account.SYS],
            "exports": [{"service": SERVER_REPORT, "accounts": [records]}],
        },
    }
    if members[Account.KEEPERS]:
        accounts[records]["exports"] += _mirror_exports()
        accounts[Account.KEEPERS] = _keepers(members[Account.KEEPERS])
    return accounts


def mirror_calls() -> list[tuple[str, str]]:
    """What a mirror asks RECORDS for: the subject there, and the one in KEEPERS."""
    return [
        pair
        for stream in AUDITED_STREAMS
        for pair in (
            (f"$JS.API.CONSUMER.CREATE.{stream}", f"{KEEPER_PREFIX}.CONSUMER.CREATE.{stream}"),
            (f"$JS.FC.{stream}.>", f"$JS.FC.{stream}.>"),
        )
    ]


def _mirror_exports() -> list[dict[str, Any]]:
    keepers = [str(Account.KEEPERS)]
    calls = [{"service": remote, "accounts": keepers} for remote, _ in mirror_calls()]
    streams = [{"stream": f"{MIRRORED}.{each}.>", "accounts": keepers} for each in AUDITED_STREAMS]
    return [*calls, *streams]


def _keepers(users: list[dict[str, Any]]) -> dict[str, Any]:
    """The account of those who keep a second trail; it is there when somebody is in it."""
    records = str(Account.RECORDS)
    calls = [
        {"service": {"account": records, "subject": remote}, "to": local, "share": True}
        for remote, local in mirror_calls()
    ]
    streams = [
        {"stream": {"account": records, "subject": f"{MIRRORED}.{each}.>"}}
        for each in AUDITED_STREAMS
    ]
    return {"users": users, "jetstream": "enabled", "imports": [*calls, *streams]}


def audit_calls() -> list[tuple[str, dict[str, str]]]:
    """The calls of the JetStream API that auditors reach, and how the server answers them."""
    streamed = {"response_type": "stream"}
    return [
        call
        for stream in AUDITED_STREAMS
        for call in (
            (f"STREAM.INFO.{stream}", {}),
            (f"CONSUMER.CREATE.{stream}.>", {}),
            (f"CONSUMER.INFO.{stream}.*", {}),
            (f"CONSUMER.MSG.NEXT.{stream}.*", streamed),
        )
    ]


def _user(user: User) -> dict[str, Any]:
    permissions = user.permissions
    return {
        "nkey": user.nkey,
        "allowed_connection_types": ["STANDARD"],
        "permissions": {
            "publish": _subjects(permissions.publish, ()),
            "subscribe": _subjects(permissions.subscribe, permissions.deny_subscribe),
        },
    }


def _subjects(allow: tuple[str, ...], deny: tuple[str, ...]) -> dict[str, list[str]]:
    """A list of permissions; an empty one is spelled out, lest the server read it as "all"."""
    if not allow:
        return {"deny": [">"]}
    return {"allow": list(allow)} | ({"deny": list(deny)} if deny else {})


def _refuse_shared_nkeys(users: Iterable[User]) -> None:
    owners: dict[str, str] = {}
    for user in users:
        if owners.setdefault(user.nkey, user.name) != user.name:
            raise ConfigurationError(
                f"{owners[user.nkey]!r} and {user.name!r} have the same nkey; give each its own"
            )
