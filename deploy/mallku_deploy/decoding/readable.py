"""What a message says, as plain values for human eyes; no bytes make it fail.

Nothing is believed here: `proof` checks signatures. A token's text is never shown, only its claims.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mallku_contracts import audit, codec
from mallku_contracts.envelope import CommandHeader, Envelope, ReplyHeader
from mallku_contracts.errors import InvalidToken, MallkuError
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_contracts.unverified import read_unverified

_OF_A_DOOR: Final = ("door", "caller", "proof")
"""What a door's token part holds."""

SHOWN_JUNK_BYTES: Final = 64
"""How much of an unreadable message is shown, bytes."""


@dataclass(frozen=True, slots=True)
class Readable:
    """One message: its description, and the parts that a proof needs when they could be read."""

    content: dict[str, Any]
    envelope: Envelope | None = None
    header: CommandHeader | ReplyHeader | None = None
    record: audit.Record | None = None
    data: bytes = b""


def read_message(data: bytes) -> Readable:
    """Describe a command, a reply, a checkpoint, a signed document, an audit record or a text.

    Of anything else it says what was seen.
    """
    if not data:
        return Readable({"kind": "empty", "bytes": 0})
    for reader in (_read_envelope, read_record, _read_text):
        found = reader(data)
        if found is not None:
            return found
    return _junk(data)


def _read_envelope(data: bytes) -> Readable | None:
    try:
        envelope = Envelope.split(data, max_bytes=MAX_PAYLOAD_BYTES)
    except MallkuError:
        return None
    fields = _unpacked(envelope.protected)
    kind = _kind(fields)
    is_document = kind == "document"
    content: dict[str, Any] = {
        "kind": kind,
        "bytes": len(data),
        "protected": plain(fields),
        "times": _times(fields),
        "body": _text(envelope.body) if is_document else plain(_unpacked(envelope.body)),
        "signature": f"{len(envelope.signature)} bytes" if envelope.signature else "unsigned",
        "token": _claims(envelope.token),
    }
    header, problem = None, None
    if kind in _HEADERS:
        header, problem = _header(_HEADERS[kind], envelope.protected)
    if problem is not None:
        content["problem"] = problem
    return Readable(content, envelope, header, data=data)


_HEADERS: Final[dict[str, type[CommandHeader | ReplyHeader]]] = {
    "command": CommandHeader,
    "reply": ReplyHeader,
}
_CHECKPOINT_FIELDS: Final = {"previous", "worker", "number"}
_DOCUMENT_FIELDS: Final = {"kind", "version", "kid"}


def _kind(fields: Any) -> str:
    """What an envelope is, by the names in its protected part."""
    names = fields.keys() if isinstance(fields, dict) else set[str]()
    if "op" in names:
        return "command"
    if names >= _CHECKPOINT_FIELDS:
        return "checkpoint"
    return "document" if names >= _DOCUMENT_FIELDS else "reply"


def _text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return plain(data)


def _header(
    kind: type[CommandHeader | ReplyHeader], protected: bytes
) -> tuple[CommandHeader | ReplyHeader | None, str | None]:
    try:
        return kind.read(protected), None
    except MallkuError as error:
        return None, f"{error.number} {error.code}: {error.message}"


def read_record(data: bytes) -> Readable | None:
    """Describe an audit record, or a map that might have become one; None for anything else."""
    try:
        record = audit.Record.read(data)
    except audit.RecordError as error:
        fields = _unpacked(data)
        if not isinstance(fields, dict):
            return None
        content = {"kind": "map", "bytes": len(data), "problem": f"not an audit record: {error}"}
        return Readable({**content, "content": plain(fields)})
    fields = codec.unpack(data, allow_bytes=True)
    shown = plain(fields)
    if record.command is not None:
        shown["command"] = _recorded_command(record.command)
    content = {"kind": "record", "bytes": len(data), "times": _times(fields), "record": shown}
    return Readable(content, record=record)


def _recorded_command(parts: Any) -> Any:
    if [type(part) for part in parts] != [bytes] * 4:
        return plain(parts)
    protected, body, signature, key = parts
    return {
        "protected": plain(_unpacked(protected)),
        "body": plain(_unpacked(body)),
        "signature": f"{len(signature)} bytes",
        "key": key.hex(),
    }


def _read_text(data: bytes) -> Readable | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character in "\t\r\n" for character in text):
        return None
    try:
        content = json.loads(text)
        codec.check_plain(content)
    except (ValueError, RecursionError):
        return Readable({"kind": "text", "bytes": len(data), "content": text})
    return Readable({"kind": "json", "bytes": len(data), "content": content})


def _junk(data: bytes) -> Readable:
    content = {
        "kind": "unknown",
        "bytes": len(data),
        "problem": "neither an envelope, an audit record nor text",
        "begins_with": data[:SHOWN_JUNK_BYTES].hex(),
    }
    return Readable(content)


def _unpacked(data: bytes) -> Any:
    """The values in `data`, or the bytes themselves where they cannot be read."""
    try:
        return codec.unpack(data, allow_bytes=True)
    except codec.CodecError:
        return data


def _claims(token: bytes) -> Any:
    if not token:
        return None
    try:
        parts = [read_unverified(text)[1] for text in token.decode("ascii", "replace").split("~")]
    except InvalidToken:
        return f"unreadable, {len(token)} bytes"
    return parts[0] if len(parts) == 1 else dict(zip(_OF_A_DOOR, parts, strict=False))


def _times(fields: Any) -> dict[str, str]:
    if not isinstance(fields, dict):
        return {}
    return {name: clock(fields[name]) for name in ("iat", "exp", "time") if name in fields}


def clock(milliseconds: Any) -> str:
    """Unix milliseconds as ISO 8601 in UTC; whatever is no time comes back as text."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return str(milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """The value with every byte string as hexadecimal text, ready for JSON."""
    if isinstance(value, bytes):
        shown = value[:SHOWN_JUNK_BYTES].hex()
        return shown if len(value) <= SHOWN_JUNK_BYTES else f"{shown}… ({len(value)} bytes)"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
