"""What a record says of a document that a worker took: signed by whom, and whom it revokes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mallku_contracts.audit import Record
from mallku_contracts.envelope import Envelope
from mallku_contracts.governed import ADOPT, GATEWAY, DocumentError, Kind, open_document
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.revocation import RevocationError, RevocationList
from mallku_contracts.subjects import PREFIX

_ABOUT_GATEWAY: Final = f"{PREFIX}.audit.{GATEWAY}."
_TOKENS: Final = 4
_KINDS: Final = {kind.bucket: kind for kind in Kind}


class Adopted(NamedTuple):
    """A document that a worker put in force.

    Attributes:
        version: As the record's subject says.
        kid: The key that its signature holds with; whose that is, the trust file says.
        revoked: Of a list of revocations, the names, each with since when (Unix milliseconds).
    """

    kind: Kind
    version: int
    kid: str
    revoked: Mapping[str, int]


class NotSigned(ValueError):
    """A record says that a document was taken, and holds none whose signature holds."""


def read_adoption(record: Record, subject: str) -> Adopted | None:
    """The document in an adoption record; None for any other record.

    Raises:
        NotSigned: the message says what does not hold.
    """
    if record.principal != GATEWAY or record.kind != "done" or record.command is None:
        return None
    tokens = subject.removeprefix(_ABOUT_GATEWAY).split(".")
    if len(tokens) != _TOKENS or tokens[2] != ADOPT or tokens[0] not in _KINDS:
        return None
    kind = _KINDS[tokens[0]]
    protected, body, signature, raw = record.command
    try:
        key = PublicKey(raw)
        data = Envelope(protected, body, signature, b"").join()
        document = open_document(data, kind, {key.kid: key})
        if str(document.version) != tokens[1]:
            raise NotSigned(f"version {document.version} stands where {tokens[1]} is said")
        revoked = _revoked(document.text) if kind is Kind.KEYS else {}
    except (KeyFormatError, DocumentError, RevocationError) as error:
        raise NotSigned(str(error)) from None
    return Adopted(kind, document.version, key.kid, revoked)


def _revoked(text: str) -> dict[str, int]:
    return {name: each.since for name, each in RevocationList.from_text(text).revoked.items()}
