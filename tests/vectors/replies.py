"""Replies as a worker sends them, and replies that a client refuses."""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.envelope import (
    Envelope,
    ReplyHeader,
    reply_signing_input,
    seal_reply,
    token_hash,
)
from mallku_contracts.errors import Busy, DocumentNotFound, MalformedEnvelope
from mallku_contracts.protected import VERSION
from tests.vectors.commands import question
from tests.vectors.world import (
    CALLER_TOKEN,
    KEYS,
    NOW_MS,
    WORKER_TOKEN,
    packed,
    shown,
    token,
)

RETRIED: Final = "insert, tried again: new id, same key, same body"
META: Final = {"_id": "memory_anchors/a1", "_key": "a1", "_rev": "_k1"}
RECEIPT: Final = {"stream": "MALLKU_AUDIT", "sequence": 42, "hash": bytes(range(32))}
STORED: Final = {**META, "kind": "khipu", "weight": 3, "tags": ["ñan", None]}
MISSING: Final = DocumentNotFound("there is no document 'a1' in memory_anchors")
BUSY: Final = Busy("this worker has no free slot", retry_after=0.25, details={"slots": 64})
UNREADABLE: Final = MalformedEnvelope("the message is not a msgpack array of four byte strings")


def reply_header(command: str | None, key: str = "worker", **changes: Any) -> ReplyHeader:
    """The header of a reply to `command`; without one, to what could not be read."""
    command_id, digest = question(command) if command else ("", b"")
    values: dict[str, Any] = {
        "v": VERSION,
        "kid": KEYS[key].kid,
        "id": command_id,
        "cmd": digest,
        "time": NOW_MS + 12,
        "worker": "w-1",
        "ath": token_hash(WORKER_TOKEN),
    }
    return ReplyHeader(**{**values, **changes})


def _signed(command: str, body: dict[str, Any]) -> bytes:
    return seal_reply(reply_header(command), packed(body), KEYS["worker"], WORKER_TOKEN)


def _unsigned(command: str | None, body: dict[str, Any]) -> bytes:
    return seal_reply(reply_header(command, ath=token_hash(b"")), packed(body), None, b"")


def _good() -> list[tuple[str, str | None, dict[str, Any], bytes]]:
    done = {"result": META, "receipt": RECEIPT}
    again = {**done, "replayed": True}
    missing, busy = {"error": MISSING.to_wire()}, {"error": BUSY.to_wire()}
    unreadable, found = {"error": UNREADABLE.to_wire()}, {"result": STORED}
    return [
        ("a mutation, with its receipt", "insert", done, _signed("insert", done)),
        ("a mutation answered from memory", RETRIED, again, _signed(RETRIED, again)),
        ("an error", "get", missing, _signed("get", missing)),
        ("an error that says when to come back", "insert", busy, _signed("insert", busy)),
        ("a read, unsigned", "get", found, _unsigned("get", found)),
        ("a refusal of what could not be read", None, unreadable, _unsigned(None, unreadable)),
    ]


def _bad() -> list[tuple[str, str, bytes]]:
    body = packed({"result": META, "receipt": RECEIPT})
    good = Envelope.split(_signed("insert", {"result": META, "receipt": RECEIPT}))
    stranger = KEYS["stranger"]
    own = token("stranger", audience="mallku-reply", principal="worker", key=stranger.public)
    as_caller = reply_header("insert", "caller", ath=token_hash(CALLER_TOKEN))
    as_stranger = reply_header("insert", "stranger", ath=token_hash(own))
    expired = token(
        audience="mallku-reply", key=KEYS["worker"].public, issued_at=1, expires_at=3_600
    )
    renewed = token(audience="mallku-reply", principal="worker", key=KEYS["worker"].public)
    stale = reply_header("insert", ath=token_hash(expired))
    altered = packed({"result": {**META, "_rev": "_k2"}, "receipt": RECEIPT})
    return [
        ("moved from another command", "cmd", _signed("get", {"result": META})),
        ("its body altered", "signature", _joined(good, body=altered)),
        ("not signed, though a mutation's reply must be", "signature", _unsigned("insert", {})),
        ("with another token than it names", "token", _joined(good, token=CALLER_TOKEN)),
        ("with another token of the same worker", "token", _joined(good, token=renewed)),
        ("signed by a caller", "token", seal_reply(as_caller, body, KEYS["caller"], CALLER_TOKEN)),
        ("signed by a stranger", "token", seal_reply(as_stranger, body, stranger, own)),
        ("with an expired token", "token", seal_reply(stale, body, KEYS["worker"], expired)),
        ("signed by another key than its token names", "signature", _foreign_key(body)),
    ]


def _foreign_key(body: bytes) -> bytes:
    return seal_reply(reply_header("insert"), body, KEYS["stranger"], WORKER_TOKEN)


def _joined(envelope: Envelope, **parts: bytes) -> bytes:
    values = {name: getattr(envelope, name) for name in Envelope.__slots__}
    return Envelope(**{**values, **parts}).join()


def vectors() -> dict[str, Any]:
    """Replies to the commands in `commands.json`, good ones and refused ones."""
    about = "`command` names the case in commands.json that is answered; `token` is one of tokens."
    refused = "Each pretends to answer `insert`; `check` is what finds it out, at `now_ms`."
    return {
        "about": about,
        "now_ms": NOW_MS,
        "cases": [_case(*case) for case in _good()],
        "about_refused": refused,
        "refused": [
            {"name": name, "command": "insert", "check": check, "message": message.hex()}
            for name, check, message in _bad()
        ],
    }


def _case(name: str, command: str | None, body: dict[str, Any], message: bytes) -> dict[str, Any]:
    envelope = Envelope.split(message)
    head = ReplyHeader.read(envelope.protected)
    signed = reply_signing_input(envelope.protected, envelope.body)
    return {
        "name": name,
        "command": command,
        "signed": bool(envelope.signature),
        "token": "worker" if envelope.token else None,
        "header": shown({field: getattr(head, field) for field in head.__slots__}),
        "reply": shown(body),
        "protected": envelope.protected.hex(),
        "body": envelope.body.hex(),
        "signing_input": signed.hex() if envelope.signature else None,
        "signature": envelope.signature.hex(),
        "message": message.hex(),
    }
