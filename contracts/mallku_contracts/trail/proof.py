"""Receipts that prove themselves: a signed reply, a path to a root, and the checkpoint with it.

A receipt bundle is JSON, and needs nothing but a trust file to be checked::

    {"v": 1, "kind": "mallku-receipt", "reply": BASE64,
     "record": {"worker": INSTANCE, "number": N, "sequence": S},
     "index": I, "path": [HEX, …], "checkpoint": BASE64, "data": BASE64}

The first three are what a client keeps of an answer; `audit prove` adds the others, and `data`, the
record itself, where it was asked for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.envelope import HASH_BYTES, Envelope, Reply, ReplyHeader
from mallku_contracts.errors import EnvelopeError, MessageTooLarge
from mallku_contracts.limits import (
    MAX_CLOCK_SKEW_MS,
    MAX_PAYLOAD_BYTES,
    MAX_REPLY_BYTES,
    MIB,
)
from mallku_contracts.trail.checkpoint import (
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    record_leaf,
)
from mallku_contracts.trail.merkle import MAX_PATH_HASHES, inclusion_path, proves
from mallku_contracts.trail.resume import Leaf
from mallku_contracts.trail.statement import Statement, Vouch
from mallku_contracts.trust import Trust

VERSION: Final = 1
KIND: Final = "mallku-receipt"

MAX_BUNDLE_CHARS: Final = 2 * MAX_PAYLOAD_BYTES + 8 * MIB
"""A receipt bundle, characters: a reply and a record in base64, and what stands around them."""

_MS_PER_S: Final = 1_000
_RECEIPT: Final = ("stream", "sequence", "hash")
_PLACE: Final = ("worker", "number", "sequence")
_PROOF: Final = frozenset({"record", "index", "path", "checkpoint"})


class ProofError(ValueError):
    """The bundle proves nothing; the message says which part of it does not hold, and why."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a record stands under a checkpoint's root.

    Attributes:
        worker: The instance that wrote the record.
        number: The record's number in the worker's count.
        sequence: Its sequence in the stream.
        index: Which leaf under the root it is, from 0.
        path: The hashes that lead from the leaf to the root, lowest first.
        checkpoint: The checkpoint's message.
    """

    worker: str
    number: int
    sequence: int
    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceiptBundle:
    """A receipt that can be kept and shown to others.

    Attributes:
        reply: The reply's message, with the worker's signature.
        inclusion: Where the record stands; None until it was asked for.
        data: The record's bytes, where they were asked for.
    """

    reply: bytes = field(repr=False)
    inclusion: Inclusion | None = None
    data: bytes | None = field(default=None, repr=False)

    def to_json(self) -> str:
        """The bundle as indented JSON, ready for a file."""
        document: dict[str, Any] = {"v": VERSION, "kind": KIND, "reply": _text(self.reply)}
        if self.inclusion is not None:
            place = {name: getattr(self.inclusion, name) for name in _PLACE}
            document |= {
                "record": place,
                "index": self.inclusion.index,
                "path": [step.hex() for step in self.inclusion.path],
                "checkpoint": _text(self.inclusion.checkpoint),
            }
        if self.data is not None:
            document["data"] = _text(self.data)
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ReceiptBundle:
        """Read a bundle, of whatever it may prove; `ProofError` names what has another shape."""
        document = _read_json(text)
        if document.get("v") != VERSION or document.get("kind") != KIND:
            raise ProofError(f'not a receipt: expected "v": {VERSION} and "kind": "{KIND}"')
        if not document.keys() <= {"v", "kind", "reply", "data", *_PROOF}:
            raise ProofError("not a receipt: there is something else in it")
        reply = _bytes(document, "reply")
        data = _bytes(document, "data") if "data" in document else None
        present = _PROOF & document.keys()
        if present and present != _PROOF:
            raise ProofError(f"half a proof: {', '.join(sorted(_PROOF - present))} missing")
        return cls(reply, _inclusion(document) if present else None, data)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker signed: the outcome of a command stands in the trail, and where.

    Attributes:
        stream: The stream that holds the record.
        sequence: The record's sequence there.
        hash: The SHA-256 of the record's bytes.
        command: The id of the transmission that was answered.
        command_hash: The SHA-256 of the caller's signed bytes.
        worker: The instance that answered.
        principal: Whom the worker's token was given to.
        issuer: By whom.
        kid: The worker's key.
        time: When it was signed, Unix milliseconds of the worker's clock.
    """

    stream: str
    sequence: int
    hash: bytes
    command: str
    command_hash: bytes
    worker: str
    principal: str
    issuer: str
    kid: str
    time: int


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle proves.

    Attributes:
        receipt: What the worker said when it answered.
        number: The record's number in its worker's count; None without a proof of inclusion.
        checkpoint: The checkpoint that covers the record; None likewise.
        vouched: Another worker vouches for it: the one that wrote it died before it did.
        record: The record itself, where the bundle holds it.
    """

    receipt: Receipt
    number: int | None = None
    checkpoint: Checkpoint | None = None
    vouched: bool = False
    record: Record | None = None


def check_bundle(bundle: ReceiptBundle, trust: Trust) -> Proven:
    """Check everything that a bundle holds; needs nothing but whom to trust.

    The order is: the reply's token at its own time and its signature; that the record is the one of
    the receipt; the checkpoint's token and signature; the path from the record to its root.

    Raises:
        ProofError: naming the part that does not hold.
    """
    receipt = read_receipt(bundle.reply, trust)
    record = None if bundle.data is None else _record(bundle.data, receipt)
    inclusion = bundle.inclusion
    if inclusion is None:
        return Proven(receipt, record=record)
    if (inclusion.sequence, inclusion.worker) != (receipt.sequence, receipt.worker):
        raise ProofError("record: it is another one than the receipt's")
    checkpoint = _checkpoint(inclusion.checkpoint, trust)
    tree = covering(checkpoint, inclusion.worker, inclusion.number)
    if tree is None or checkpoint.statement.stream != receipt.stream:
        raise ProofError("checkpoint: it covers other records than this one")
    own = checkpoint.header.worker == receipt.worker
    if own and checkpoint.header.kid != receipt.kid:
        raise ProofError("checkpoint: it is signed with another key than the reply")
    leaf = record_leaf(inclusion.number, inclusion.sequence, receipt.hash)
    if not proves(leaf, inclusion.index, tree.size, inclusion.path, tree.root):
        raise ProofError("path: it does not lead from the record to the checkpoint's root")
    return Proven(receipt, inclusion.number, checkpoint, isinstance(tree, Vouch), record)


def read_receipt(reply: bytes, trust: Trust) -> Receipt:
    """The receipt in a worker's reply, believed at the reply's own time.

    Raises:
        ProofError: it is no reply with a receipt, or no trusted worker signed it.
    """
    from mallku_contracts.tokens import REPLY_AUDIENCE, verify_token  # brings PyJWT

    try:
        envelope = Envelope.split(reply, max_bytes=MAX_REPLY_BYTES)
        header = ReplyHeader.read(envelope.protected)
        identity = verify_token(
            envelope.token,
            trust,
            audience=REPLY_AUDIENCE,
            now_s=header.time / _MS_PER_S,
            leeway_s=MAX_CLOCK_SKEW_MS / _MS_PER_S,
        )
        Reply(envelope, header).verify(identity.key)
    except (EnvelopeError, MessageTooLarge) as error:
        raise ProofError(f"reply: {error.message}") from None
    found = _receipt_in(envelope.body)
    return Receipt(
        *found,
        header.id,
        header.cmd,
        header.worker,
        identity.principal,
        identity.issuer,
        header.kid,
        header.time,
    )


def covering(checkpoint: Checkpoint, worker: str, number: int) -> Statement | Vouch | None:
    """The tree of a checkpoint that this record is under: its own, or one it vouches for."""
    statement = checkpoint.statement
    if checkpoint.header.worker == worker:
        inside = statement.first <= number <= statement.last and number not in statement.void
        return statement if inside else None
    for vouch in statement.vouches:
        if vouch.worker == worker and vouch.first <= number <= vouch.last:
            return vouch
    return None


def include(
    checkpoint: Checkpoint, leaves: Sequence[tuple[int, Leaf]], worker: str, number: int
) -> Inclusion:
    """The proof that a record is under a checkpoint's root.

    Args:
        leaves: All records under that root, by number, in ascending order.

    Raises:
        ProofError: the record is not among them, or they do not give the root.
    """
    tree = covering(checkpoint, worker, number)
    index = next((place for place, (held, _) in enumerate(leaves) if held == number), None)
    if tree is None or index is None:
        raise ProofError(f"record {number} of {worker} is not under this checkpoint")
    hashes = [record_leaf(held, leaf.sequence, leaf.hash) for held, leaf in leaves]
    path = tuple(inclusion_path(hashes, index))
    if not proves(hashes[index], index, tree.size, path, tree.root):
        raise ProofError(
            f"checkpoint {checkpoint.header.number} of {checkpoint.header.worker}: the records of"
            " its range do not give its root; `audit verify` says more"
        )
    sequence = leaves[index][1].sequence
    return Inclusion(worker, number, sequence, index, path, checkpoint.data)


def _receipt_in(body: bytes) -> tuple[str, int, bytes]:
    try:
        fields = codec.unpack(body, allow_bytes=True)
    except codec.CodecError as error:
        raise ProofError(f"reply: its body is unreadable: {error}") from None
    receipt: Any = fields.get("receipt") if isinstance(fields, dict) else None
    if isinstance(receipt, dict) and receipt.keys() == set(_RECEIPT):
        stream, sequence, digest = (receipt[name] for name in _RECEIPT)
        hashed = isinstance(digest, bytes) and len(digest) == HASH_BYTES
        if isinstance(stream, str) and type(sequence) is int and hashed:
            return stream, sequence, digest
    raise ProofError("reply: there is no receipt in it; only answers to mutations have one")


def _record(data: bytes, receipt: Receipt) -> Record:
    if record_hash(data) != receipt.hash:
        raise ProofError("data: it is another record than the receipt's")
    try:
        return Record.read(data)
    except RecordError as error:
        raise ProofError(f"data: {error}") from None


def _checkpoint(data: bytes, trust: Trust) -> Checkpoint:
    try:
        return open_checkpoint(data, trust)
    except CheckpointError as error:
        raise ProofError(f"checkpoint: {error}") from None


def _read_json(text: str) -> dict[str, Any]:
    if len(text) > MAX_BUNDLE_CHARS:
        raise ProofError(f"not a receipt: longer than {MAX_BUNDLE_CHARS} characters")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ProofError("not a receipt: it is not JSON") from None
    if not isinstance(document, dict):
        raise ProofError("not a receipt: expected a JSON object")
    return document


def _inclusion(document: dict[str, Any]) -> Inclusion:
    place, index, path = document["record"], document["index"], document["path"]
    if not isinstance(place, dict) or place.keys() != set(_PLACE) or not _is_place(place):
        raise ProofError(f"record: expected {', '.join(_PLACE)}")
    if type(index) is not int or index < 0:
        raise ProofError("index: expected a whole number from 0")
    if not isinstance(path, list) or len(path) > MAX_PATH_HASHES:
        raise ProofError(f"path: expected a list of at most {MAX_PATH_HASHES} hashes")
    checkpoint = _bytes(document, "checkpoint")
    steps = tuple(map(_step, path))
    return Inclusion(place["worker"], place["number"], place["sequence"], index, steps, checkpoint)


def _is_place(place: dict[str, Any]) -> bool:
    counts = (place["number"], place["sequence"])
    return isinstance(place["worker"], str) and all(
        type(count) is int and 0 < count < 2**63 for count in counts
    )


def _step(value: object) -> bytes:
    try:
        step = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        step = b""
    if len(step) != HASH_BYTES:
        raise ProofError("path: expected hashes of 64 hexadecimal digits")
    return step


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(document: dict[str, Any], name: str) -> bytes:
    value = document.get(name)
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except ValueError:
        pass
    raise ProofError(f"{name}: expected base64")
