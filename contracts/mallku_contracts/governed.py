"""Signed administrative documents, to the byte: policy, revocations, flags (`docs/wire.md`).

Whoever can write into a bucket cannot govern the gateway with it: workers believe a document for
its signature alone. A document is an envelope without a token: `[protected, body, signature, ""]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.envelope import (
    Envelope,
    length_prefixed,
)
from mallku_contracts.errors import EnvelopeError, MessageTooLarge
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.limits import KIB, MAX_PROTECTED_BYTES, MAX_TIME_MS, MIB
from mallku_contracts.protected import check_ranges, read_fields
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject

VERSION: Final = 1
DOCUMENT_CONTEXT: Final = b"mallku-policy-v1"

MAX_DOCUMENT_BYTES: Final = 4 * MIB
"""The body of a signed document, bytes."""

MAX_DOCUMENT_VERSION: Final = 2**53 - 1
"""The highest version of a document: the largest whole number that JSON keeps exact."""

GATEWAY: Final = "_gateway"
"""Stands for the principal in records about the gateway itself; no principal has such a name."""

CURRENT: Final = "current"
"""The key of a bucket under which the documents of its kind are put."""

ADOPT: Final = "adopt"
"""Stands for the operation in records about documents: taken (`done`) or refused (`denied`)."""

_MAX_SIGNED_BYTES: Final = MAX_DOCUMENT_BYTES + MAX_PROTECTED_BYTES + KIB


class Kind(StrEnum):
    """What a document governs; one of a kind is in force at a time."""

    POLICY = "policy"
    KEYS = "keys"
    FLAGS = "flags"

    @property
    def bucket(self) -> str:
        """Where documents of this kind are kept."""
        return f"mallku_{self.value}"


class DocumentError(ValueError):
    """The bytes are no document that may govern; the message says why."""


@dataclass(frozen=True)
class Document:
    """A document whose signature held; made by `sign_document` and `open_document` alone.

    Attributes:
        version: Only ever goes up; counted for each kind apart.
        issued_at: Unix milliseconds of the administrator's clock.
        data: The signed bytes, as they are kept in the bucket.
        key: The administrator's key that the signature holds with.
    """

    kind: Kind
    version: int
    issued_at: int
    body: bytes = field(repr=False)
    data: bytes = field(repr=False)
    key: PublicKey = field(repr=False)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes."""
        return hashlib.sha256(self.data).digest()

    @property
    def parts(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Protected part, body, signature and public key: what anybody can check again."""
        envelope = Envelope.split(self.data, max_bytes=_MAX_SIGNED_BYTES)
        return envelope.protected, envelope.body, envelope.signature, self.key.raw

    @property
    def text(self) -> str:
        """The body as text; `DocumentError` when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise DocumentError("the body is not UTF-8 text") from None


def sign_document(
    kind: Kind, version: int, body: bytes, key: SigningKey, *, issued_at: int
) -> Document:
    """Sign a document; `DocumentError` when nobody could take it."""
    if len(body) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"longer than {MAX_DOCUMENT_BYTES} bytes")
    if not 1 <= version <= MAX_DOCUMENT_VERSION:
        raise DocumentError(f"a version is a number from 1 to {MAX_DOCUMENT_VERSION}")
    fields = {"v": VERSION, "kind": kind.value, "version": version, "kid": key.kid}
    protected = codec.pack_trusted(fields | {"iat": issued_at})
    signature = key.sign(_signing_input(protected, body))
    data = Envelope(protected, body, signature, b"").join()
    return Document(kind, version, issued_at, body, data, key.public)


def open_document(data: bytes, kind: Kind, administrators: Mapping[str, PublicKey]) -> Document:
    """Believe a document of this kind that one of the administrators signed.

    Args:
        administrators: Their public keys by key id (`Trust.administrators`).

    Raises:
        DocumentError: it is unsigned, altered, of another kind, or signed by somebody else.
    """
    envelope, fields = _read(data)
    if fields["kind"] != kind.value:
        raise DocumentError(
            f"a document of the kind {fields['kind'][:40]!r} in the place of {kind}"
        )
    key = administrators.get(fields["kid"])
    if key is None:
        raise DocumentError(f"signed with a key that no administrator has: {fields['kid'][:64]!r}")
    if not key.verify(_signing_input(envelope.protected, envelope.body), envelope.signature):
        raise DocumentError("the signature does not hold")
    return Document(kind, fields["version"], fields["iat"], envelope.body, data, key)


def adopted(kind: Kind, version: int) -> CommandSubject:
    """Stands in the audit subject of records that say a worker took this version.

    The version is a token of its own, so that the highest one is found without reading records.
    """
    return CommandSubject(GATEWAY, kind.bucket, str(version), ADOPT)


def refused(kind: Kind) -> CommandSubject:
    """Stands in the audit subject of records that say a worker refused a document."""
    return CommandSubject(GATEWAY, kind.bucket, NO_COLLECTION, ADOPT)


_FIELDS: Final[dict[str, type]] = {"v": int, "kind": str, "version": int, "kid": str, "iat": int}
_RANGES: Final = (("version", 1, MAX_DOCUMENT_VERSION), ("iat", 0, MAX_TIME_MS))


def _read(data: bytes) -> tuple[Envelope, dict[str, Any]]:
    try:
        envelope = Envelope.split(data, max_bytes=_MAX_SIGNED_BYTES)
        fields = read_fields(envelope.protected, _FIELDS)
        check_ranges(fields, _RANGES)
    except (EnvelopeError, MessageTooLarge) as error:
        raise DocumentError(f"not a signed document: {error.message}") from None
    if envelope.token:
        raise DocumentError("not a signed document: something stands in the token's place")
    return envelope, fields


def _signing_input(protected: bytes, body: bytes) -> bytes:
    return DOCUMENT_CONTEXT + length_prefixed(protected, body)
