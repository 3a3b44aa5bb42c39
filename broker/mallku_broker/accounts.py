"""The server's accounts: who stands in which, and what little crosses the walls between them.

Nothing here ever says `allow_responses`: a reply is not held to the publish lists, and who may
answer may write anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mallku_broker.conf import conf_text
from mallku_broker.streams import AUDIT, AUDIT_STREAMS, CHECKPOINTS
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import FLAGS_CHANGED, JOB, PREFIX, STORED

MAX_CALLERS_CONNECTIONS: Final = 1_792
"""Connections to one server in MALLKU; the rest are kept for RECORDS, so that however many callers
take, workers reach the trail and administrators the streams. NATS counts connections of servers and
accounts, not of users (nats-server issue 1552)."""

MAX_AUDITORS_CONNECTIONS: Final = 32
"""Connections to one server in AUDITORS."""

AUDITOR_PREFIX: Final = "AUD.API"
"""Where auditors find the part of the JetStream API that they may use."""

AUDITED_STREAMS: Final = (AUDIT, CHECKPOINTS)
"""The streams that auditors read."""

TRAIL_STREAMS: Final = (*AUDIT_STREAMS, CHECKPOINTS)
"""The streams that the trail may ever be made of, and its checkpoints."""

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


def accounts_text(users: Iterable[User]) -> str:
    """The accounts alone, as people write them, for a server's own configuration to `include`.

    Raises:
        ConfigurationError: two users share an nkey.
    """
    listed = tuple(users)
    refuse_shared_nkeys(listed)
    return conf_text({"system_account": Account.SYS, "accounts": accounts_section(listed)})


def accounts_section(users: Iterable[User]) -> dict[str, Any]:
    """The accounts with their users, exports and imports, as the server has them."""
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
        for stream in TRAIL_STREAMS
        for pair in (
            (f"$JS.API.CONSUMER.CREATE.{stream}", f"{KEEPER_PREFIX}.CONSUMER.CREATE.{stream}"),
            (f"$JS.FC.{stream}.>", f"$JS.FC.{stream}.>"),
        )
    ]


def _mirror_exports() -> list[dict[str, Any]]:
    keepers = [str(Account.KEEPERS)]
    calls = [{"service": remote, "accounts": keepers} for remote, _ in mirror_calls()]
    streams = [{"stream": f"{MIRRORED}.{each}.>", "accounts": keepers} for each in TRAIL_STREAMS]
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
        for each in TRAIL_STREAMS
    ]
    return {"users": users, "jetstream": "enabled", "imports": [*calls, *streams]}


def audit_calls() -> list[tuple[str, dict[str, str]]]:
    """The calls of the JetStream API that auditors reach, and how the server answers them."""
    streamed = {"response_type": "stream"}
    return [
        call
        for stream in TRAIL_STREAMS
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


def refuse_shared_nkeys(users: Iterable[User]) -> None:
    """Refuse users whom the server could not tell apart: `ConfigurationError` names them."""
    owners: dict[str, str] = {}
    for user in users:
        if owners.setdefault(user.nkey, user.name) != user.name:
            raise ConfigurationError(
                f"{owners[user.nkey]!r} and {user.name!r} have the same nkey; give each its own"
            )
