"""Commands as a caller signs them, with every step on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    command_hash,
    command_signing_input,
    fingerprint,
    seal_command,
)
from mallku_contracts.subjects import CommandSubject, job_line
from tests.vectors.world import CALLER_TOKEN, KEYS, NOW_MS, header, packed, shown

INSERT: Final = CommandSubject.build("mallku", "main", "memory_anchors", "insert")
GET: Final = CommandSubject.build("mallku", "main", "memory_anchors", "get")
LIST: Final = CommandSubject.build("mallku", "main", None, "list-collections")
FIND: Final = CommandSubject.build("mallku", "main", "fire-circle_2", "find")

SECURED: Final = CommandSubject.build("mallku", "main", "balances_secured", "insert")

DOCUMENT: Final = {"document": {"_key": "a1", "kind": "khipu", "weight": 3, "tags": ["ñan", None]}}
MODEL: Final = {
    "document": {"_key": "a1", "2c5d1c0a-6b7c-5f1e-9f57-0d6f1a3c9b11": 3},
    "model": "ReciprocityBalance",
}
FILTERS: Final = {"filters": {"weight": 2.5, "open": True}, "limit": 10, "skip": 0}
FIRST: Final = header(INSERT)
RETRY: Final = header(
    INSERT, 2, iat=NOW_MS + 4_000, exp=NOW_MS + 34_000, budget=6_000, attempt=2, idem=FIRST.idem
)
NAMED: Final = header(FIND, 5, idem="my own key, ü")

JOB_NOW: Final = replace(INSERT, channel="job")
JOB_LATER: Final = replace(JOB_NOW, line="at")
JOB_IN_ORDER: Final = replace(JOB_NOW, line=job_line(scheduled=False, ordering_key="khipu ñ"))
LATER_MS: Final = NOW_MS + 3_600_000


def job_header(
    subject: CommandSubject, number: int, run_at: int = 0, order: str = ""
) -> CommandHeader:
    """A job that lives for a day."""
    return header(subject, number, exp=NOW_MS + 86_400_000, run_at=run_at, order=order)


CASES: Final[tuple[tuple[str, CommandSubject, CommandHeader, dict[str, Any]], ...]] = (
    ("insert", INSERT, FIRST, DOCUMENT),
    ("insert, tried again: new id, same key, same body", INSERT, RETRY, DOCUMENT),
    ("get", GET, header(GET, 3), {"document": "a1"}),
    ("list-collections, which has no collection", LIST, header(LIST, 4), {}),
    ("find, with an idempotency key of the caller's own", FIND, NAMED, FILTERS),
    ("get, with the longest id there can be", GET, header(GET, 2**74 - 1), {"document": "a1"}),
    ("insert as a durable job", JOB_NOW, job_header(JOB_NOW, 6), DOCUMENT),
    (
        "insert as a job that is to be done later",
        JOB_LATER,
        job_header(JOB_LATER, 7, LATER_MS),
        DOCUMENT,
    ),
    (
        "insert as a job in order",
        JOB_IN_ORDER,
        job_header(JOB_IN_ORDER, 8, order="khipu ñ"),
        DOCUMENT,
    ),
    ("insert in the name of a secured model", SECURED, header(SECURED, 9), MODEL),
)


def sealed(subject: CommandSubject, head: CommandHeader, body: bytes) -> bytes:
    """A command signed by the caller, with the caller's token."""
    return seal_command(subject, head, body, KEYS["caller"], CALLER_TOKEN)


def question(name: str) -> tuple[str, bytes]:
    """The id and the hash of the command `name`."""
    subject, head, body = next(case[1:] for case in CASES if case[0] == name)
    return head.id, command_hash(str(subject), head.pack(), packed(body))


def vectors() -> dict[str, Any]:
    """Every command with its parts."""
    return {
        "about": "Commands of `caller` with the token `caller`; every one is accepted at `now_ms`.",
        "now_ms": NOW_MS,
        "cases": [_case(*case) for case in CASES],
    }


def _case(
    name: str, subject: CommandSubject, head: CommandHeader, body: dict[str, Any]
) -> dict[str, Any]:
    data = packed(body)
    message = sealed(subject, head, data)
    envelope = Envelope.split(message)
    fields = {field: getattr(head, field) for field in head.__slots__}
    fields = {field: value for field, value in fields.items() if value is not None}
    return {
        "name": name,
        "subject": str(subject),
        "key": "caller",
        "token": "caller",
        "header": shown(fields),
        "arguments": body,
        "protected": envelope.protected.hex(),
        "body": data.hex(),
        "signing_input": command_signing_input(str(subject), envelope.protected, data).hex(),
        "signature": envelope.signature.hex(),
        "message": message.hex(),
        "hash": command_hash(str(subject), envelope.protected, data).hex(),
        "fingerprint": fingerprint(subject, data).hex(),
    }
