"""Signed commands and signed replies, to the byte (`docs/wire.md`).

A message body is a msgpack array of four byte strings: `[protected, body, signature, token]`. The
signature covers the exact bytes; nothing is canonicalised, and `body` is unpacked by whoever holds
a verified envelope, never before.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from mallku_contracts import codec
from mallku_contracts.errors import (
    CommandFromFuture,
    MalformedEnvelope,
    MessageTooLarge,
    StaleCommand,
    SubjectMismatch,
    UnverifiedReply,
)
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from mallku_contracts.limits import (
    MAX_ATTEMPTS,
    MAX_CLOCK_SKEW_MS,
    MAX_COMMAND_BYTES,
    MAX_COMMAND_LIFE_MS,
    MAX_IDEMPOTENCY_KEY_CHARS,
    MAX_JOB_LIFE_MS,
    MAX_ORDERING_KEY_CHARS,
    MAX_PROTECTED_BYTES,
    MAX_REPLY_BYTES,
    MAX_TIME_MS,
    MAX_TOKEN_BYTES,
)
from mallku_contracts.protected import check_ranges, read_fields
from mallku_contracts.subjects import JOB, CommandSubject, inbox_prefix, job_line

COMMAND_CONTEXT: Final = b"mallku-command-v1"
REPLY_CONTEXT: Final = b"mallku-reply-v1"
HASH_BYTES: Final = 32
_ARRAY_OF_FOUR: Final = b"\x94"
_LENGTH_WIDTHS: Final = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}
"""Bytes of length behind the marks of bin 8, bin 16 and bin 32 (msgpack's specification)."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The four byte strings of a message, not yet believed; `repr` shows the first alone."""

    protected: bytes
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    token: bytes = field(repr=False)

    @classmethod
    def split(cls, data: bytes, *, max_bytes: int = MAX_COMMAND_BYTES) -> Envelope:
        """Cut a message body into its parts; no part is interpreted.

        Raises:
            MessageTooLarge: above `max_bytes`.
            MalformedEnvelope: for any other shape than an array of four byte strings.
        """
        if len(data) > max_bytes:
            raise MessageTooLarge(f"the message has {len(data)} bytes; at most {max_bytes} may be")
        if data[:1] != _ARRAY_OF_FOUR:
            raise MalformedEnvelope("the message is not a msgpack array of four byte strings")
        parts, place = [], 1
        for name in ("protected", "body", "signature", "token"):
            part, place = _byte_string(data, place, name)
            parts.append(part)
        if place != len(data):
            raise MalformedEnvelope("something follows the four byte strings")
        envelope = cls(*parts)
        _check_sizes(envelope)
        return envelope

    def join(self) -> bytes:
        """The message body."""
        return codec.pack_trusted([self.protected, self.body, self.signature, self.token])


def _byte_string(data: bytes, place: int, name: str) -> tuple[bytes, int]:
    """The byte string at `place`, and where it ends.

    Read by hand: whoever may publish can send this before anything is proven, and a general reader
    would build whatever it announces.
    """
    width = _LENGTH_WIDTHS.get(data[place : place + 1])
    if width is None:
        raise MalformedEnvelope(f"{name} is not a byte string")
    begin = place + 1 + width
    end = begin + int.from_bytes(data[place + 1 : begin])
    if end > len(data):
        raise MalformedEnvelope(f"{name} is longer than the message")
    return data[begin:end], end


def _check_sizes(envelope: Envelope) -> None:
    if len(envelope.protected) > MAX_PROTECTED_BYTES:
        raise MalformedEnvelope(f"protected is longer than {MAX_PROTECTED_BYTES} bytes")
    if len(envelope.signature) not in (0, SIGNATURE_BYTES):
        raise MalformedEnvelope(f"signature does not have {SIGNATURE_BYTES} bytes")
    if len(envelope.token) > MAX_TOKEN_BYTES:
        raise MalformedEnvelope(f"token is longer than {MAX_TOKEN_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class CommandHeader:
    """The protected part of a command. Times are Unix milliseconds, `budget` milliseconds.

    Attributes:
        run_at: Of a durable job, when it is to be done at the earliest; 0 for at once. None in
            every other command.
        order: Of a durable job, its ordering key; empty without one. None in every other command.
    """

    v: int
    kid: str
    id: str
    iat: int
    exp: int
    budget: int
    attempt: int
    op: str
    db: str
    col: str
    idem: str
    reply: str
    ath: bytes
    run_at: int | None = None
    order: str | None = None

    @property
    def is_job(self) -> bool:
        """Whether it was signed as a durable job."""
        return self.run_at is not None

    @property
    def id_ends_ms(self) -> int:
        """When its id is over, under which nothing is begun later, Unix milliseconds."""
        return uuid7_ms(self.id) + MAX_COMMAND_LIFE_MS

    def pack(self) -> bytes:
        """The bytes that are signed."""
        fields = _JOB_FIELDS if self.is_job else _COMMAND_FIELDS
        return codec.pack_trusted({name: getattr(self, name) for name in fields})

    @classmethod
    def read(cls, protected: bytes) -> CommandHeader:
        """Read exactly these fields, each of its type and within its range.

        Raises:
            UnsupportedVersion: `v` is not the version spoken here.
            MalformedEnvelope: naming the field that is wrong.
        """
        fields = read_fields(protected, _COMMAND_FIELDS, _JOB_FIELDS)
        check_ranges(fields, _COMMAND_RANGES)
        header = cls(**fields)
        if not is_uuid7(header.id):
            raise MalformedEnvelope("protected.id is not a UUIDv7")
        if not 0 < len(header.idem) <= MAX_IDEMPOTENCY_KEY_CHARS:
            raise MalformedEnvelope("protected.idem is empty or too long")
        if len(header.ath) != HASH_BYTES:
            raise MalformedEnvelope("protected.ath is not a SHA-256")
        if header.is_job:
            header._check_job()
        return header

    def _check_job(self) -> None:
        run_at, order = self.run_at or 0, self.order or ""
        if run_at and not self.iat <= run_at <= self.exp:
            raise MalformedEnvelope("protected.run_at is not 0, and not between iat and exp")
        if len(order) > MAX_ORDERING_KEY_CHARS:
            raise MalformedEnvelope("protected.order is too long")
        if run_at and order:
            raise MalformedEnvelope("protected: a job has run_at or order, not both")

    def check_times(self, now_ms: int, *, skew_ms: int = MAX_CLOCK_SKEW_MS) -> None:
        """Refuse what is stale, from the future, or valid for too long.

        Args:
            now_ms: When it was sent, as far as that is known: of a durable job the time at which
                the stream took it, which must be as soon after `iat` as with any command.
        """
        most = MAX_JOB_LIFE_MS if self.is_job else MAX_COMMAND_LIFE_MS
        if not 0 < self.exp - self.iat <= most:
            raise MalformedEnvelope(f"a command is valid for 1 to {most} ms")
        stale_ms = min(self.exp, self.iat + MAX_COMMAND_LIFE_MS)
        if now_ms > stale_ms + skew_ms:
            raise StaleCommand(f"the command's exp passed {now_ms - stale_ms} ms ago")
        if now_ms < self.iat - skew_ms:
            raise CommandFromFuture(f"the command's iat lies {self.iat - now_ms} ms ahead")
        # Whatever iat says, an id is over before the trail forgets that it saw it.
        if not uuid7_ms(self.id) - skew_ms <= now_ms <= self.id_ends_ms + skew_ms:
            raise MalformedEnvelope("protected.id was made at another time than now")

    def check_subject(self, subject: CommandSubject) -> None:
        """Refuse a command that came on another subject than the one it was signed for."""
        if self.is_job != (subject.channel == JOB):
            raise SubjectMismatch("a durable job is signed as one, and nothing else is")
        if subject.line != job_line(scheduled=bool(self.run_at), ordering_key=self.order or ""):
            raise SubjectMismatch("the subject names another time or ordering key")
        signed = (self.op, self.db, self.col)
        if signed != (subject.operation, subject.database, subject.collection):
            raise SubjectMismatch("the subject names another operation, database or collection")
        if self.reply != inbox_prefix(subject.principal):
            raise SubjectMismatch("the signed reply prefix is not the principal's own inbox")


_COMMAND_FIELDS: Final[dict[str, type]] = {
    "v": int,
    "kid": str,
    "id": str,
    "iat": int,
    "exp": int,
    "budget": int,
    "attempt": int,
    "op": str,
    "db": str,
    "col": str,
    "idem": str,
    "reply": str,
    "ath": bytes,
}
_JOB_FIELDS: Final[dict[str, type]] = _COMMAND_FIELDS | {"run_at": int, "order": str}
_COMMAND_RANGES: Final = (
    ("iat", 0, MAX_TIME_MS),
    ("exp", 0, MAX_TIME_MS),
    ("budget", 1, MAX_COMMAND_LIFE_MS),
    ("attempt", 1, MAX_ATTEMPTS),
)


@dataclass(frozen=True, slots=True)
class ReplyHeader:
    """The protected part of a reply.

    `id` is the command's, `cmd` the SHA-256 of its signed bytes, `time` the worker's clock in Unix
    milliseconds, `worker` its instance id, `ath` the SHA-256 of the token part. When the command
    could not be read, `id` and `cmd` are empty.
    """

    v: int
    kid: str
    id: str
    cmd: bytes
    time: int
    worker: str
    ath: bytes

    def pack(self) -> bytes:
        """The bytes that are signed."""
        return codec.pack_trusted({name: getattr(self, name) for name in _REPLY_FIELDS})

    @classmethod
    def read(cls, protected: bytes) -> ReplyHeader:
        """Read exactly these fields, each of its type and within its range.

        Raises:
            UnsupportedVersion: `v` is not the version spoken here.
            MalformedEnvelope: naming the field that is wrong.
        """
        fields = read_fields(protected, _REPLY_FIELDS)
        check_ranges(fields, _REPLY_RANGES)
        header = cls(**fields)
        if header.id and not is_uuid7(header.id):
            raise MalformedEnvelope("protected.id is not a UUIDv7")
        if len(header.cmd) != (HASH_BYTES if header.id else 0):
            raise MalformedEnvelope("protected.cmd is not a SHA-256")
        if len(header.ath) != HASH_BYTES:
            raise MalformedEnvelope("protected.ath is not a SHA-256")
        return header


_REPLY_FIELDS: Final[dict[str, type]] = {
    "v": int,
    "kid": str,
    "id": str,
    "cmd": bytes,
    "time": int,
    "worker": str,
    "ath": bytes,
}
_REPLY_RANGES: Final = (("time", 0, MAX_TIME_MS),)


def command_signing_input(subject: str, protected: bytes, body: bytes) -> bytes:
    """What a command's signature covers: the context, then each part behind its length."""
    return COMMAND_CONTEXT + length_prefixed(subject.encode(), protected, body)


def reply_signing_input(protected: bytes, body: bytes) -> bytes:
    """What a reply's signature covers: the context, then each part behind its length."""
    return REPLY_CONTEXT + length_prefixed(protected, body)


_length: Final = struct.Struct(">I").pack


def length_prefixed(*parts: bytes) -> bytes:
    """Each part behind its length: 4 bytes, big-endian."""
    return b"".join([piece for part in parts for piece in (_length(len(part)), part)])


def command_hash(subject: str, protected: bytes, body: bytes) -> bytes:
    """SHA-256 of a command's signed bytes: what a reply to it carries as `cmd`."""
    return hashlib.sha256(command_signing_input(subject, protected, body)).digest()


def token_hash(token: bytes) -> bytes:
    """SHA-256 of a token: what a protected part carries as `ath`."""
    return hashlib.sha256(token).digest()


def fingerprint(subject: CommandSubject, body: bytes) -> bytes:
    """SHA-256 over principal, database, collection, operation and body: what a retry repeats."""
    names = (subject.principal, subject.database, subject.collection, subject.operation)
    return hashlib.sha256(length_prefixed(*(name.encode() for name in names), body)).digest()


def seal_command(
    subject: CommandSubject, header: CommandHeader, body: bytes, key: SigningKey, token: bytes
) -> bytes:
    """Sign a command; `MessageTooLarge` when it could not be admitted anywhere."""
    protected = header.pack()
    signature = key.sign(command_signing_input(str(subject), protected, body))
    data = Envelope(protected, body, signature, token).join()
    if len(data) > MAX_COMMAND_BYTES:
        raise MessageTooLarge(
            f"the command has {len(data)} bytes; at most {MAX_COMMAND_BYTES} may be"
        )
    return data


def seal_reply(header: ReplyHeader, body: bytes, key: SigningKey | None, token: bytes) -> bytes:
    """Sign a reply; without a key it leaves unsigned, with empty signature and token."""
    protected = header.pack()
    if key is None:
        return Envelope(protected, body, b"", b"").join()
    signature = key.sign(reply_signing_input(protected, body))
    return Envelope(protected, body, signature, token).join()


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply whose shape holds; `envelope.signature` is empty when the worker did not sign."""

    envelope: Envelope
    header: ReplyHeader

    @classmethod
    def open(cls, data: bytes, *, expected_command: bytes) -> Reply:
        """Read a reply and refuse one that answers another command than `expected_command`.

        Raises:
            UnverifiedReply: the hash in it is not `expected_command` (32 bytes).
            MalformedEnvelope, MessageTooLarge, UnsupportedVersion: the shape does not hold.
        """
        envelope = Envelope.split(data, max_bytes=MAX_REPLY_BYTES)
        header = ReplyHeader.read(envelope.protected)
        if header.cmd != expected_command:
            raise UnverifiedReply("the reply answers another command")
        return cls(envelope, header)

    @property
    def signed(self) -> bool:
        """Whether there is a signature to check."""
        return bool(self.envelope.signature)

    def verify(self, key: PublicKey) -> None:
        """Refuse a reply that `key` did not sign, or that names another key or token."""
        envelope, header = self.envelope, self.header
        if header.kid != key.kid or header.ath != token_hash(envelope.token):
            raise UnverifiedReply("the reply names another key or token than it brings")
        signed = reply_signing_input(envelope.protected, envelope.body)
        if not key.verify(signed, envelope.signature):
            raise UnverifiedReply("the reply's signature does not hold")
