"""The AsyncAPI 3 document: which subject carries which message, seen from the gateway.

Bodies are MessagePack; a payload schema describes the values that are packed. The bytes of the
envelope, and what is signed, are in `docs/wire.md`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.subjects import (
    CANCEL,
    CURSOR,
    INBOX_ROOT,
    JOB,
    NEXT,
    NO_COLLECTION,
    ORDERED,
    OUTCOMES,
    PREFIX,
    SCHEDULED,
)
from mallku_contracts.tracing import HEADER
from mallku_deploy.contract.examples import example
from mallku_deploy.contract.schemas import COMPONENTS, Schemas, make_schemas, reply_schema

ASYNCAPI: Final = "3.0.0"
MSGPACK: Final = "application/msgpack"

_NAME: Final = "[A-Za-z0-9_-]{1,64}"
_PARAMETERS: Final = {
    "principal": "Who asks; the token's subject.",
    "database": "In which database.",
    "collection": "About which collection.",
    "operation": "The verb.",
    "outcome": f"One of {', '.join(OUTCOMES)}.",
    "worker": "A worker's instance, random.",
    "id": "Of the transmission that need not be begun any more.",
    "inbox": "One to four tokens of the caller's choice.",
}
_LINES: Final = (
    f", as a durable job; behind it `.{SCHEDULED}` where it has a time of its own, or"
    f" `.{ORDERED}.` and 32 hexadecimal digits where it has an ordering key"
)
_SIGNATURE: Final = {"type": "string", "format": "binary", "description": "Ed25519, 64 bytes."}
_TEXT: Final = """\
Signed commands over NATS, executed by workers, with an audit trail.

Every message body is a MessagePack array of four byte strings, `[protected, body, signature,
token]`; `payload` describes what `protected` and `body` hold. How they are packed, signed and
judged is in `docs/wire.md`, with vectors. Names in subjects match `[A-Za-z0-9_-]{1,64}`."""


def asyncapi_document() -> dict[str, Any]:
    """The document, ready for `json.dumps`."""
    schemas = make_schemas(COMPONENTS)
    channels, operations, messages = _others(schemas)
    channels["replies"] = _replies()
    for operation in OPERATIONS.values():
        named = _messages(schemas, operation)
        messages |= named
        for name, channel in _channels(operation):
            channels[name] = channel
            operations[name] = _operation(operation, name)
        channels["replies"]["messages"][f"{operation.name}.reply"] = _message(
            f"{operation.name}.reply"
        )
    return {
        "asyncapi": ASYNCAPI,
        "info": _info(),
        "defaultContentType": MSGPACK,
        "servers": _servers(),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas.definitions,
            "securitySchemes": _security(),
            "messageTraits": {"mirrored": {"headers": _headers()}},
        },
    }


def _info() -> dict[str, Any]:
    return {
        "title": "Mallku gateway",
        "version": version("mallku-gateway"),
        "description": _TEXT,
        "license": {"name": "Apache-2.0"},
    }


def _servers() -> dict[str, Any]:
    security = [{"$ref": "#/components/securitySchemes/nkey"}]
    return {
        "local": {
            "host": "127.0.0.1:4222",
            "protocol": "nats",
            "description": "`mallku-gateway up`",
            "security": security,
        },
        "secured": {
            "host": "{host}:{port}",
            "protocol": "nats",
            "description": "With TLS, and a certificate of one's own.",
            "variables": {"host": {}, "port": {"default": "4222"}},
            "security": [*security, {"$ref": "#/components/securitySchemes/certificate"}],
        },
    }


def _security() -> dict[str, Any]:
    return {
        "nkey": {
            "type": "asymmetricEncryption",
            "description": "The connection: an nkey whose public half the policy names.",
        },
        "certificate": {"type": "X509", "description": "With TLS, on top of the nkey."},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "For people and tools; nobody relies on them.",
        "properties": {
            "Mallku-Id": {"type": "string"},
            "Mallku-Operation": {"type": "string"},
            HEADER: {"type": "string", "description": "W3C Trace Context."},
        },
    }


def _channels(operation: Operation) -> list[tuple[str, dict[str, Any]]]:
    """Where commands of one operation are sent: at once, and as a durable job."""
    place = "{collection}" if operation.scope is Scope.COLLECTION else NO_COLLECTION
    name = operation.name
    if name == NEXT:
        address = f"{PREFIX}.{CURSOR}.{{principal}}.{{database}}.{{worker}}.{NEXT}"
        return [(name, _channel(address, f"{name}.command", operation.summary))]
    tail = f"{{principal}}.{{database}}.{place}.{name}"
    return [
        (name, _channel(f"{PREFIX}.cmd.{tail}", f"{name}.command", operation.summary)),
        (
            f"{name}.job",
            _channel(f"{PREFIX}.{JOB}.{tail}", f"{name}.command", f"{operation.summary}{_LINES}"),
        ),
    ]


def _channel(address: str, message: str, summary: str) -> dict[str, Any]:
    return {
        "address": address,
        "summary": summary,
        "messages": {message: _message(message)},
        "parameters": _parameters(address),
    }


def _parameters(address: str) -> dict[str, Any]:
    return {
        name: {"description": text}
        for name, text in _PARAMETERS.items()
        if f"{{{name}}}" in address
    }


def _operation(operation: Operation, channel: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": operation.summary,
        "tags": [{"name": operation.access.value}, {"name": operation.scope.value}],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{operation.name}.command"}],
        "reply": {
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/{operation.name}.reply"}],
        },
    }


def _replies() -> dict[str, Any]:
    address = f"{INBOX_ROOT}.{{principal}}.{{inbox}}"
    return {
        "address": address,
        "summary": "The inbox that the command's NATS reply subject names; only the caller's own.",
        "messages": {},
        "parameters": _parameters(address),
    }


def _messages(schemas: Schemas, operation: Operation) -> dict[str, Any]:
    name = operation.name
    command = _payload(schemas, "CommandHeader", schemas.arguments[name])
    reply = _payload(schemas, "ReplyHeader", reply_schema(schemas, name))
    shown = example(name)
    return {
        f"{name}.command": {
            "title": f"{name}: command",
            "contentType": MSGPACK,
            "traits": [{"$ref": "#/components/messageTraits/mirrored"}],
            "payload": command,
            "x-body-example": shown,
        },
        f"{name}.reply": {
            "title": f"{name}: reply",
            "contentType": MSGPACK,
            "headers": _reply_headers(),
            "payload": reply,
        },
    }


def _reply_headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "Nats-Service-Error": {"type": "string", "description": "With an error: its message."},
            "Nats-Service-Error-Code": {"type": "string", "description": "Its number."},
        },
    }


def _payload(schemas: Schemas, header: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "The four parts of the envelope, those that are packed unpacked.",
        "required": ["protected", "body", "signature", "token"],
        "properties": {
            "protected": schemas.reference(header),
            "body": body,
            "signature": _SIGNATURE,
            "token": {"type": "string", "description": "A JWT (EdDSA) with `cnf`."},
        },
    }


def _others(schemas: Schemas) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Channels, operations and messages that are no command: the trail, and cancellations."""
    audit = f"{PREFIX}.audit.{{principal}}.{{database}}.{{collection}}.{{operation}}.{{outcome}}"
    checkpoint = f"{PREFIX}.checkpoint.{{worker}}"
    statement = _payload(schemas, "CheckpointHeader", schemas.reference("Statement"))
    messages = {
        "record": {"title": "Audit record", "payload": schemas.reference("Record")},
        "checkpoint": {"title": "Signed checkpoint", "payload": statement},
        "cancellation": {"title": "Cancellation", "payload": _SIGNATURE},
    }
    channels = {
        "audit": _channel(audit, "record", "One record is one message of the stream MALLKU_AUDIT"),
        "checkpoints": _channel(checkpoint, "checkpoint", "Stream MALLKU_CHECKPOINTS"),
        "cancel": _channel(
            f"{PREFIX}.{CANCEL}.{{principal}}.{{id}}",
            "cancellation",
            "The caller has given up; the body is its key's signature over the subject",
        ),
    }
    operations: dict[str, Any] = {
        name: {
            "action": "receive" if name == "cancel" else "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": summary,
        }
        for name, summary in (
            ("audit", "Before anything is executed, and for every outcome"),
            ("checkpoints", "Every second while there is something to say"),
            ("cancel", "What was not begun is not begun any more"),
        )
    }
    return channels, operations, messages


def _message(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/messages/{name}"}
