"""Keys and trust: one spelling for each key, and no key under another's name."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.keys import KeyFormatError, PublicKey, SigningKey, base64url
from mallku_contracts.trust import Trust, TrustError

KEY = SigningKey(bytes(range(32)))
JWK = KEY.public.jwk()
PEM = KEY.to_pem()


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_a_key_signs_its_public_half_verifies(seed: bytes, message: bytes) -> None:
    """A signature holds for these bytes and this key, and for nothing else."""
    key = SigningKey(seed)
    signature = key.sign(message)
    assert key.public.verify(message, signature)
    assert not key.public.verify(message + b"\x00", signature)
    assert not SigningKey(bytes(31) + b"\x07").public.verify(message, signature)
    assert PublicKey.from_jwk(key.public.jwk()) == key.public
    assert SigningKey.from_pem(key.to_pem()) == key


def test_each_bit_of_a_signature_counts() -> None:
    """A signature with any bit flipped, or of another length, does not hold."""
    signature = KEY.sign(b"m")
    for bit in range(512):
        other = bytearray(signature)
        other[bit // 8] ^= 1 << bit % 8
        assert not KEY.public.verify(b"m", bytes(other))
    for wrong in (b"", signature[:-1], signature + b"\x00"):
        assert not KEY.public.verify(b"m", wrong)


def test_a_signature_has_one_form() -> None:
    """Adding the group's order to the second half, which older verifiers took, is refused."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign(b"m")
    raised = int.from_bytes(signature[32:], "little") + order
    assert not KEY.public.verify(b"m", signature[:32] + raised.to_bytes(32, "little"))


@pytest.mark.parametrize("raw", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_a_weak_public_key_verifies_nothing(raw: bytes) -> None:
    """For keys of small order a signature over anything could be made up; none holds here."""
    assert not PublicKey(raw).verify(b"m", b"\x01" + bytes(63))
    assert not PublicKey(raw).verify(b"m", bytes(64))


def test_the_key_id_is_the_thumbprint_of_rfc_8037() -> None:
    """The example of RFC 8037, appendix A.3, gives the thumbprint printed there."""
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert PublicKey(raw).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_other_programs_read_the_pem() -> None:
    """The PEM is PKCS#8 as OpenSSL knows it."""
    other = load_pem_private_key(PEM.encode(), None)
    assert other.private_bytes_raw() == KEY.seed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "pem",
    [
        "", "x", PEM.replace("PRIVATE", "PUBLIC"), PEM.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        PEM + PEM, PEM.replace("MC4", "MC5"), PEM.replace("MC4CAQ", ""), PEM.replace("M", "é"),
        PEM.replace("M", "*"), "-----BEGIN PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_what_is_no_pem_of_ours_is_refused_without_being_shown(pem: str) -> None:
    """A file that is not one Ed25519 key is refused, and the error holds nothing of it."""
    with pytest.raises(KeyFormatError) as refused:
        SigningKey.from_pem(pem)
    assert PEM.split("\n")[1][20:40] not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_signing_key_is_never_shown() -> None:
    """Neither `repr` nor `str` holds the seed."""
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert KEY.seed.hex() not in text
        assert repr(KEY.seed) not in text


@pytest.mark.parametrize(
    "jwk",
    [
        None, [], "x", {}, {**JWK, "kty": "RSA"}, {**JWK, "crv": "X25519"}, {**JWK, "crv": "P-256"},
        {**JWK, "x": None}, {**JWK, "x": JWK["x"] + "="}, {**JWK, "x": JWK["x"][:-1] + "9"},
        {**JWK, "x": JWK["x"][:-1]}, {**JWK, "x": JWK["x"] + "AA"}, {**JWK, "x": "é" * 43},
        {**JWK, "x": JWK["x"][:20] + "\n" + JWK["x"][20:]}, {**JWK, "x": ""},
        {**JWK, "kid": "mine"}, {**JWK, "kid": None}, {**JWK, "kid": [1]}, {**JWK, "d": "secret"},
    ],
)  # fmt: skip
def test_what_is_no_public_jwk_of_ours_is_refused(jwk: object) -> None:
    """Another type, another spelling, another key id or a private part is refused."""
    with pytest.raises(KeyFormatError):
        PublicKey.from_jwk(jwk)


def test_standard_base64_is_not_base64url() -> None:
    """A key spelled with `+` and `/` is refused, so that a key has one spelling."""
    raw = b"\xfb\xff" * 16
    with pytest.raises(KeyFormatError):
        PublicKey.from_jwk({**JWK, "x": base64url(raw).replace("-", "+").replace("_", "/")})


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_have_their_length(size: int) -> None:
    """Neither half of a key is made of another number of bytes."""
    for kind in (PublicKey, SigningKey):
        with pytest.raises(KeyFormatError):
            kind(bytes(size))


def test_trust_reads_back() -> None:
    """A trust document holds issuers and their keys, and reads back the same."""
    other = SigningKey(bytes(32)).public
    trust = Trust({"a": {KEY.kid: KEY.public, other.kid: other}, "b": {other.kid: other}})
    assert Trust.from_json(trust.to_json()) == trust
    assert trust.key("a", KEY.kid) == trust.any_key(KEY.kid) == KEY.public
    assert trust.key("b", KEY.kid) is None
    assert trust.any_key("unknown") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"issuers": {}}', '{"issuers": []}', '{"issuers": {"a": {}}}',
        '{"issuers": {"a": {"keys": []}}}', '{"issuers": {"a": {"keys": [1]}}}',
        '{"issuers": {"a": []}}', "[" * 100_000, '{"issuers": ' + "9" * 5_000 + "}",
        " " * 2_000_000,
        '{"issuers": {"a": {"keys": [%s]}, "a": {"keys": [%s]}}}' % ((json.dumps(JWK),) * 2),
        json.dumps({"issuers": {"a": {"keys": [JWK]}}, "isuers": {}}),
        json.dumps({"issuers": {"a": {"keys": [{**JWK, "kid": "x"}]}}}),
    ],
)  # fmt: skip
def test_what_is_no_trust_document_is_refused(text: str) -> None:
    """Nobody is trusted by accident: what is not exactly the document is refused."""
    with pytest.raises(TrustError):
        Trust.from_json(text)
