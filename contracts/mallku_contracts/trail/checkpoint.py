"""Signed checkpoints: what a worker wrote, so that nobody can change it later (`docs/wire.md`).

A checkpoint is an envelope `[protected, body, signature, token]` that covers the worker's record
numbers from `first` to `last`, right behind the one before, whose hash it holds. The signature
covers the exact bytes; `body` is unpacked only after it held.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mallku_contracts import codec
from mallku_contracts.envelope import (
    Envelope,
    length_prefixed,
    token_hash,
)
from mallku_contracts.errors import EnvelopeError, MessageTooLarge
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.limits import MAX_CHECKPOINT_BYTES, MAX_CLOCK_SKEW_MS, MAX_TIME_MS
from mallku_contracts.protected import check_ranges, read_fields
from mallku_contracts.subjects import PREFIX, check_name, is_name
from mallku_contracts.trail.merkle import HASH_BYTES
from mallku_contracts.trail.statement import (
    MAX_COUNT,
    MAX_COVERED,
    MAX_HEADS,
    MAX_VOID,
    MAX_VOUCHES,
    CheckpointError,
    Head,
    MalformedCheckpoint,
    Statement,
    Vouch,
)
from mallku_contracts.trust import Trust

if TYPE_CHECKING:
    from mallku_contracts.tokens import Identity

CHECKPOINT_CONTEXT: Final = b"mallku-checkpoint-v1"

NO_CHECKPOINT: Final = bytes(HASH_BYTES)
"""Stands for the hash of the former checkpoint in a worker's first."""

MAX_KNOWN_TOKENS: Final = 256
"""Workers' tokens whose signature is remembered as checked; the oldest is forgotten first."""

__all__ = [
    "CHECKPOINT_CONTEXT",
    "MAX_CHECKPOINT_BYTES",
    "MAX_COUNT",
    "MAX_COVERED",
    "MAX_HEADS",
    "MAX_KNOWN_TOKENS",
    "MAX_VOID",
    "MAX_VOUCHES",
    "NO_CHECKPOINT",
    "Checkpoint",
    "CheckpointError",
    "CheckpointHeader",
    "CheckpointOpener",
    "ForgedCheckpoint",
    "Head",
    "MalformedCheckpoint",
    "Statement",
    "UntrustedCheckpoint",
    "Vouch",
    "checkpoint_signing_input",
    "checkpoint_subject",
    "open_checkpoint",
    "record_leaf",
    "seal_checkpoint",
]

_MS_PER_S: Final = 1_000
_marked_entry: Final = struct.Struct(">xQQ32s").pack
"""The entry of a leaf behind the zero byte that marks leaves (`merkle.leaf_hash`)."""


class UntrustedCheckpoint(CheckpointError):
    """No trusted issuer gave its worker a token that held at its time: an unknown key."""


class ForgedCheckpoint(CheckpointError):
    """The signature does not hold with the token's key, or another key or token is named."""


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """The protected part of a checkpoint.

    Attributes:
        v: The version spoken, 1.
        kid: Key id of the worker's key.
        worker: The instance that says this.
        number: Counts the worker's checkpoints from 1, without gaps.
        time: When it was signed, Unix milliseconds of the worker's clock.
        previous: SHA-256 of the former checkpoint's message; `NO_CHECKPOINT` in the first.
        ath: SHA-256 of the token part.
    """

    v: int
    kid: str
    worker: str
    number: int
    time: int
    previous: bytes
    ath: bytes

    def pack(self) -> bytes:
        """The bytes that are signed."""
        return codec.pack_trusted({name: getattr(self, name) for name in _HEADER})

    @classmethod
    def read(cls, protected: bytes) -> CheckpointHeader:
        """Read exactly these fields; `MalformedCheckpoint` names the one that is wrong."""
        try:
            fields = read_fields(protected, _HEADER)
            check_ranges(fields, _RANGES)
        except EnvelopeError as error:
            raise MalformedCheckpoint(error.message) from None
        header = cls(**fields)
        if not is_name(header.worker):
            raise MalformedCheckpoint("protected.worker is not a name")
        if len(header.previous) != HASH_BYTES or len(header.ath) != HASH_BYTES:
            raise MalformedCheckpoint("protected.previous or protected.ath is not a SHA-256")
        if (header.number == 1) != (header.previous == NO_CHECKPOINT):
            raise MalformedCheckpoint("protected.previous is zero in the first checkpoint alone")
        return header


_HEADER: Final[dict[str, type]] = {
    "v": int,
    "kid": str,
    "worker": str,
    "number": int,
    "time": int,
    "previous": bytes,
    "ath": bytes,
}
_RANGES: Final = (("number", 1, MAX_COUNT), ("time", 0, MAX_TIME_MS))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose signature held; made by `seal_checkpoint` and `CheckpointOpener` alone.

    Attributes:
        header: Who says it, when, and after what.
        statement: What it says.
        key: The worker's key that signed it.
        data: The message.
    """

    header: CheckpointHeader
    statement: Statement
    key: PublicKey = field(repr=False)
    data: bytes = field(repr=False)

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the message: what the next checkpoint holds as `previous`."""
        return sha256(self.data).digest()

    @property
    def head(self) -> Head:
        """How other workers' checkpoints name it."""
        return Head(self.header.number, self.hash)

    @property
    def subject(self) -> str:
        """Where it is published."""
        return checkpoint_subject(self.header.worker)

    @property
    def message_id(self) -> str:
        """Its `Nats-Msg-Id`."""
        return f"c.{self.header.worker}.{self.header.number}"


def checkpoint_subject(worker: str) -> str:
    """Where this worker publishes its checkpoints; `InvalidSubject` when it has no name."""
    return f"{PREFIX}.checkpoint.{check_name(worker, 'worker')}"


def record_leaf(number: int, sequence: int, record_hash: bytes) -> bytes:
    """The leaf of one record: its number, its stream sequence, and the SHA-256 of its bytes."""
    return sha256(_marked_entry(number, sequence, record_hash)).digest()


def seal_checkpoint(
    header: CheckpointHeader, statement: Statement, key: SigningKey, token: bytes
) -> Checkpoint:
    """Sign a checkpoint.

    Args:
        token: The worker's token, made for replies and bound to `key`; `header` names both.

    Raises:
        MalformedCheckpoint: what it says contradicts itself, or is too large for anybody to read.
    """
    statement.check()
    protected, body = header.pack(), statement.pack()
    CheckpointHeader.read(protected)
    signature = key.sign(checkpoint_signing_input(protected, body))
    data = Envelope(protected, body, signature, token).join()
    if len(data) > MAX_CHECKPOINT_BYTES:
        raise MalformedCheckpoint(f"{len(data)} bytes; at most {MAX_CHECKPOINT_BYTES} may be")
    return Checkpoint(header, statement, key.public, data)


def checkpoint_signing_input(protected: bytes, body: bytes) -> bytes:
    """What a checkpoint's signature covers: the context, then each part behind its length."""
    return CHECKPOINT_CONTEXT + length_prefixed(protected, body)


def open_checkpoint(data: bytes, trust: Trust) -> Checkpoint:
    """Believe one checkpoint, or raise; as `CheckpointOpener.believe` does."""
    return CheckpointOpener(trust).believe(data)


class CheckpointOpener:
    """Opens checkpoints, and checks the signature of a worker's token once for all of them."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._known: dict[bytes, Identity] = {}

    def believe(self, data: bytes) -> Checkpoint:
        """Believe a checkpoint that a worker signed, its token being judged at its own time.

        The order is: shape and header, token, key, signature, body. That it follows the former
        one, and that its root is that of the records, is for the reader of the trail to see.

        Raises:
            MalformedCheckpoint: it is not one, or contradicts itself.
            UntrustedCheckpoint: the token is not a trusted issuer's, or did not hold at its time.
            ForgedCheckpoint: the signature does not hold.
        """
        try:
            envelope = Envelope.split(data, max_bytes=MAX_CHECKPOINT_BYTES)
        except (EnvelopeError, MessageTooLarge) as error:
            raise MalformedCheckpoint(error.message) from None
        header = CheckpointHeader.read(envelope.protected)
        if header.ath != token_hash(envelope.token):
            raise ForgedCheckpoint("it names another token than it brings")
        key = self._key(envelope.token, header.time)
        if header.kid != key.kid:
            raise ForgedCheckpoint("it names another key than its token")
        signed = checkpoint_signing_input(envelope.protected, envelope.body)
        if not key.verify(signed, envelope.signature):
            raise ForgedCheckpoint("the signature does not hold")
        return Checkpoint(header, Statement.read(envelope.body), key, data)

    def _key(self, token: bytes, time_ms: int) -> PublicKey:
        from mallku_contracts.tokens import REPLY_AUDIENCE, verify_token  # brings PyJWT

        now_s, leeway_s = time_ms / _MS_PER_S, MAX_CLOCK_SKEW_MS / _MS_PER_S
        identity = self._known.get(token)
        try:
            if identity is None:
                identity = verify_token(
                    token, self._trust, audience=REPLY_AUDIENCE, now_s=now_s, leeway_s=leeway_s
                )
                self._remember(token, identity)
            else:
                identity.check_times(now_s, leeway_s)
        except EnvelopeError as error:
            raise UntrustedCheckpoint(f"its token, at its time: {error.message}") from None
        return identity.key

    def _remember(self, token: bytes, identity: Identity) -> None:
        if len(self._known) >= MAX_KNOWN_TOKENS:
            del self._known[next(iter(self._known))]
        self._known[token] = identity
