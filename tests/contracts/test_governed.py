from __future__ import annotations

import pytest

from mallku_contracts import codec
from mallku_contracts.documents import read_policy_document, read_revocations
from mallku_contracts.envelope import Envelope, length_prefixed
from mallku_contracts.governed import (
    DOCUMENT_CONTEXT,
    MAX_DOCUMENT_BYTES,
    Document,
    DocumentError,
    Kind,
    adopted,
    open_document,
    refused,
    sign_document,
)
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.policy import read_policy
from mallku_contracts.revocation import RevocationList
from mallku_contracts.subjects import audit_subject

KEY = SigningKey(b"a" * 32)
OTHER = SigningKey(b"b" * 32)
ADMINISTRATORS = {KEY.kid: KEY.public}
TEXT = "version: 3\nroles: {}\nprincipals: {}\n"


def _sign(
    version: int = 3, text: str = TEXT, key: SigningKey = KEY, kind: Kind = Kind.POLICY
) -> Document:
    return sign_document(kind, version, text.encode(), key, issued_at=1_767_225_600_000)


def _open(
    data: bytes, kind: Kind = Kind.POLICY, administrators: dict[str, PublicKey] = ADMINISTRATORS
) -> Document:
    return open_document(data, kind, administrators)


def _sealed(
    fields: dict[str, object], body: bytes = b"", context: bytes = DOCUMENT_CONTEXT
) -> bytes:
    protected = codec.pack_trusted(fields)
    signature = KEY.sign(context + length_prefixed(protected, body))
    return Envelope(protected, body, signature, b"").join()


def _fields(**changes: object) -> dict[str, object]:
    whole = {"v": 1, "kind": "policy", "version": 3, "kid": KEY.kid, "iat": 0}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def test_what_was_signed_is_read_again() -> None:
    """Kind, version, time and body come back to the byte, with the key that signed them."""
    document = _sign()
    assert _open(document.data) == document
    assert document.text == TEXT
    protected, body, signature, key = document.parts
    assert PublicKey(key).verify(DOCUMENT_CONTEXT + length_prefixed(protected, body), signature)


def test_every_flipped_bit_is_refused() -> None:
    """No byte of a document can be changed, whether it frames, says or signs something."""
    data = _sign().data
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(DocumentError):
                _open(bytes(changed))


def test_every_cut_and_every_addition_is_refused() -> None:
    """A document is whole, and nothing stands behind it."""
    data = _sign().data
    for end in range(len(data)):
        with pytest.raises(DocumentError):
            _open(data[:end])
    with pytest.raises(DocumentError):
        _open(data + b"\x00")


def test_a_signature_belongs_to_its_kind() -> None:
    """A revocation list cannot stand where a policy belongs."""
    with pytest.raises(DocumentError, match="'keys' in the place of policy"):
        _open(_sign(kind=Kind.KEYS).data)


def test_an_unknown_administrator_is_refused() -> None:
    """Whoever signs has to be named in the trust file, and one cannot borrow another's name."""
    with pytest.raises(DocumentError, match="no administrator has"):
        _open(_sign(key=OTHER).data)
    with pytest.raises(DocumentError, match="does not hold"):
        _open(_sign().data, administrators={KEY.kid: OTHER.public})
    with pytest.raises(DocumentError, match="no administrator has"):
        _open(_sign().data, administrators={})


def test_a_signature_made_for_something_else_does_not_count() -> None:
    """The key's signatures over commands and replies are no documents."""
    for context in (b"mallku-command-v1", b"mallku-reply-v1", b""):
        with pytest.raises(DocumentError, match="does not hold"):
            _open(_sealed(_fields(), context=context))


@pytest.mark.parametrize(
    "fields",
    [
        _fields(v=2),
        _fields(version=0),
        _fields(version=2**53),
        _fields(version=True),
        _fields(version="3"),
        _fields(iat=-1),
        _fields(kid=None),
        _fields(more=1),
        _fields(kind="flags"),
    ],
)
def test_a_signed_header_that_says_something_odd_is_refused(fields: dict[str, object]) -> None:
    """Exactly these fields, each of its type and in its range, though an administrator signed."""
    with pytest.raises(DocumentError):
        _open(_sealed(fields))


def test_nothing_may_stand_in_the_tokens_place() -> None:
    """Bytes that no signature covers have no place in a document."""
    envelope = Envelope.split(_sign().data)
    with pytest.raises(DocumentError, match="token"):
        _open(Envelope(envelope.protected, envelope.body, envelope.signature, b"x").join())


def test_what_nobody_could_take_is_not_signed() -> None:
    """Too long, or with a version that cannot be."""
    with pytest.raises(DocumentError, match="longer"):
        sign_document(Kind.POLICY, 1, bytes(MAX_DOCUMENT_BYTES + 1), KEY, issued_at=0)
    for version in (0, -1, 2**53):
        with pytest.raises(DocumentError, match="version"):
            _sign(version)
    longest = sign_document(Kind.POLICY, 1, bytes(MAX_DOCUMENT_BYTES), KEY, issued_at=0)
    assert _open(longest.data) == longest


def test_a_policy_says_the_version_that_was_signed() -> None:
    """The number in the text and the signed one cannot differ."""
    assert read_policy_document(_sign()) == read_policy(TEXT)
    with pytest.raises(DocumentError, match="text says version 3"):
        read_policy_document(_sign(version=4))


def test_a_body_that_cannot_be_read_is_refused() -> None:
    """A signature does not make a policy valid; the place of the fault is named."""
    with pytest.raises(DocumentError, match=r"policy 3:4:1"):
        read_policy_document(_sign(text=TEXT + "nonsense: 1\n"))
    broken = sign_document(Kind.POLICY, 3, b"\xff", KEY, issued_at=0)
    with pytest.raises(DocumentError, match="UTF-8"):
        read_policy_document(broken)
    with pytest.raises(DocumentError, match="JSON"):
        read_revocations(_sign(kind=Kind.KEYS, text="revoked:"))
    entries = RevocationList().with_names(["mallory"], "gone", 5)
    assert read_revocations(_sign(kind=Kind.KEYS, text=entries.to_text())) == entries


def test_records_about_documents_have_subjects_of_their_own() -> None:
    """The version is a token, so that the highest is found by subjects alone."""
    done = audit_subject(adopted(Kind.POLICY, 7), "done")
    assert done == "mallku.v1.audit._gateway.mallku_policy.7.adopt.done"
    denied = audit_subject(refused(Kind.KEYS), "denied")
    assert denied == "mallku.v1.audit._gateway.mallku_keys.@.adopt.denied"
