"""Where the trail goes on in another stream: the order to do so, and the record that says it was.

An administrator signs the order. The first record of the new stream, a `rotate` record about the
gateway, names the last one of the old stream by sequence and hash, the workers' newest checkpoints,
and holds the order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.audit import ROTATION, Record
from mallku_contracts.envelope import (
    Envelope,
    length_prefixed,
)
from mallku_contracts.errors import EnvelopeError, MessageTooLarge
from mallku_contracts.governed import GATEWAY
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.limits import KIB, MAX_TIME_MS
from mallku_contracts.protected import VERSION, check_ranges, read_fields
from mallku_contracts.subjects import audit_subject
from mallku_contracts.trail.gateway import Verb, about_gateway
from mallku_contracts.trail.statement import MAX_COUNT, Head

ROTATE_FACTS: Final = (ROTATION, "stream", "sealed", "last", "hash", "heads", "by", "order")
"""Which stream of the trail begins here, counted from 1, and its name; the one that was sealed, its
last sequence and the SHA-256 of the record there; other workers' newest checkpoints, `{instance:
[number, SHA-256]}`; the administrator's key id, and the order in base64."""

ROTATE_SUBJECT: Final = audit_subject(about_gateway(Verb.ROTATE), "done")
"""Where `rotate` records stand, and all that a new stream takes before it has one."""

ORDER_CONTEXT: Final = b"mallku-rotation-v1"
MAX_ORDER_BYTES: Final = 4 * KIB

_FIELDS: Final[dict[str, type]] = {
    "v": int,
    "kid": str,
    "iat": int,
    "generation": int,
    "stream": str,
    "bytes": int,
}
_RANGES: Final = (
    ("iat", 0, MAX_TIME_MS),
    ("generation", 2, MAX_COUNT),
    ("bytes", 0, MAX_COUNT),
)


class OrderError(ValueError):
    """The bytes are no order of an administrator; the message says why."""


@dataclass(frozen=True, slots=True)
class RotationOrder:
    """An administrator's order to begin the trail's next stream.

    Attributes:
        generation: Which stream that is, counted from 1.
        stream: Its name.
        size: What it may take, bytes; 0 for no limit.
        issued_at: Unix milliseconds of the administrator's clock.
        kid: The administrator's key.
        data: The signed bytes.
    """

    generation: int
    stream: str
    size: int
    issued_at: int
    kid: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a `rotate` record says of the stream before."""

    generation: int
    last: int
    hash: bytes


def sign_order(
    generation: int, stream: str, size: int, key: SigningKey, *, issued_at: int
) -> RotationOrder:
    """Sign an order; `size` is what the new stream may take, bytes."""
    fields = {"v": VERSION, "kid": key.kid, "iat": issued_at}
    protected = codec.pack_trusted(
        fields | {"generation": generation, "stream": stream, "bytes": size}
    )
    signature = key.sign(_signing_input(protected))
    data = Envelope(protected, b"", signature, b"").join()
    return RotationOrder(generation, stream, size, issued_at, key.kid, data)


def open_order(data: bytes, administrators: Mapping[str, PublicKey]) -> RotationOrder:
    """Believe an order that one of the administrators signed; `OrderError` says why not."""
    try:
        envelope = Envelope.split(data, max_bytes=MAX_ORDER_BYTES)
        fields = read_fields(envelope.protected, _FIELDS)
        check_ranges(fields, _RANGES)
    except (EnvelopeError, MessageTooLarge) as error:
        raise OrderError(f"not a signed order: {error.message}") from None
    key = administrators.get(fields["kid"])
    if key is None:
        raise OrderError(f"signed with a key that no administrator has: {fields['kid'][:64]!r}")
    if envelope.body or not key.verify(_signing_input(envelope.protected), envelope.signature):
        raise OrderError("the signature does not hold")
    return RotationOrder(
        fields["generation"], fields["stream"], fields["bytes"], fields["iat"], fields["kid"], data
    )


def rotate_facts(
    order: RotationOrder, sealed: str, last: int, digest: bytes, heads: Mapping[str, Head]
) -> dict[str, Any]:
    """The facts of the record: `ROTATE_FACTS`.

    Args:
        sealed: The name of the stream that has ended.
        last: Its last sequence.
        digest: The SHA-256 of the record there.
    """
    named = {worker: [head.number, head.hash.hex()] for worker, head in heads.items()}
    text = base64.b64encode(order.data).decode()
    values = (order.generation, order.stream, sealed, last, digest.hex(), named, order.kid, text)
    return dict(zip(ROTATE_FACTS, values, strict=True))


def read_rotation(record: Record) -> Rotation | None:
    """What a `rotate` record says; None for any other record, and for one that says it wrongly."""
    facts = record.facts
    if record.principal != GATEWAY or record.kind != "done" or ROTATION not in facts:
        return None
    generation, last, digest = facts[ROTATION], facts.get("last"), facts.get("hash")
    if type(generation) is not int or type(last) is not int or not isinstance(digest, str):
        return None
    try:
        return Rotation(generation, last, bytes.fromhex(digest))
    except ValueError:
        return None


def read_order(record: Record, administrators: Mapping[str, PublicKey]) -> RotationOrder:
    """The order in a `rotate` record; `OrderError` says why it is none."""
    text = record.facts.get("order")
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except binascii.Error:
        raise OrderError("the order is no base64") from None
    return open_order(data, administrators)


def _signing_input(protected: bytes) -> bytes:
    return ORDER_CONTEXT + length_prefixed(protected)
