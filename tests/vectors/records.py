"""Audit records as they lie in the stream."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from mallku_contracts.audit import Record, message_id, record_hash
from mallku_contracts.envelope import Envelope
from mallku_contracts.subjects import audit_subject
from tests.vectors.commands import DOCUMENT, FIRST, GET, INSERT, sealed
from tests.vectors.world import KEYS, NOW_MS, header, packed, shown

_COMMAND: Final = Envelope.split(sealed(INSERT, FIRST, packed(DOCUMENT)))
_KNOWN: Final[dict[str, Any]] = {
    "worker": "w-1",
    "id": FIRST.id,
    "principal": "mallku",
    "subject": str(INSERT),
    "attempt": 1,
    "kid": KEYS["caller"].kid,
    "roles": ("reader", "writer"),
    "policy": 7,
    "rule": "writer/anchors",
}
_NEW: Final = {**DOCUMENT["document"], "_id": "memory_anchors/a1", "_rev": "_k1"}
_EFFECT: Final = {
    "collection": "memory_anchors",
    "key": "a1",
    "old_rev": None,
    "new_rev": "_k1",
    "new": _NEW,
}

INTENT: Final = Record(
    kind="intent",
    number=1,
    time=NOW_MS + 2,
    command=(
        _COMMAND.protected,
        _COMMAND.body,
        _COMMAND.signature,
        KEYS["caller"].public.raw,
    ),
    bound={"set": {"owner": "mallku"}, "hide": ["token"]},
    steps={"admit": 20, "open": 9, "identify": 60},
    **_KNOWN,
)
DONE: Final = Record(
    kind="done", number=2, time=NOW_MS + 9, effects=(_EFFECT,), position=1001, **_KNOWN
)
FAILED: Final = Record(
    kind="failed", number=3, time=NOW_MS + 9, code="unique_violation", number_of=412, **_KNOWN
)
DENIED: Final = Record(
    kind="denied",
    worker="w-1",
    number=4,
    time=NOW_MS + 10,
    id=header(GET, 3).id,
    principal="mallku",
    subject=str(GET),
    attempt=1,
    code="stale_command",
    number_of=203,
    count=12,
)


def vectors() -> dict[str, Any]:
    """Records with the subject and the message id under which they are published."""
    return {
        "about": "`record` shows every field; the message leaves out those that have defaults.",
        "cases": [_case(record) for record in (INTENT, DONE, FAILED, DENIED)],
    }


def _case(record: Record) -> dict[str, Any]:
    data = record.pack()
    subject = INSERT if record.subject == str(INSERT) else GET
    present = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {
        "name": record.kind,
        "subject": audit_subject(subject, record.kind),
        "message_id": message_id(record.fields()),
        "record": shown({"v": 1, **present}),
        "message": data.hex(),
        "hash": record_hash(data).hex(),
    }
