"""Ed25519 keys: to sign with, to verify with, as PEM (PKCS#8, RFC 8410) and as JWK (RFC 8037).

A key id is the RFC 7638 thumbprint of the public key, so it cannot be claimed for another key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

PUBLIC_KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_PKCS8_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")
_SPKI_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
_PRIVATE, _PUBLIC = "PRIVATE KEY", "PUBLIC KEY"


class KeyFormatError(ValueError):
    """The text or bytes are not an Ed25519 key; the message never holds any of them."""


@dataclass(frozen=True)
class PublicKey:
    """The half of a key that verifies; `raw` is its 32 bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_BYTES:
            raise KeyFormatError(f"a public key has {PUBLIC_KEY_BYTES} bytes")

    @cached_property
    def kid(self) -> str:
        """The RFC 7638 thumbprint: SHA-256 over the canonical JWK, base64url without padding."""
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url(self.raw)}"}}'
        return base64url(hashlib.sha256(canonical.encode()).digest())

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) was made over exactly `message` with this key."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            crypto_sign_open(signature + message, self.raw)
        except CryptoError:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """The key as a JWK with its `kid`."""
        return {"crv": "Ed25519", "kid": self.kid, "kty": "OKP", "x": base64url(self.raw)}

    def to_pem(self) -> str:
        """The key as SPKI PEM (RFC 8410), which `openssl pkey -pubin` reads."""
        return _pem(_PUBLIC, _SPKI_ED25519 + self.raw)

    @classmethod
    def from_pem(cls, pem: str) -> PublicKey:
        """Read SPKI PEM; `KeyFormatError` when it holds anything but one public Ed25519 key."""
        return cls(_unpem(pem, _PUBLIC, _SPKI_ED25519, PUBLIC_KEY_BYTES))

    @classmethod
    def from_jwk(cls, jwk: object) -> PublicKey:
        """Read a public JWK; a `kid` in it must be the key's thumbprint."""
        if not isinstance(jwk, Mapping):
            raise KeyFormatError("a JWK is a JSON object")
        if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
            raise KeyFormatError("only OKP keys on the curve Ed25519 are used here")
        if "d" in jwk:
            raise KeyFormatError("the JWK holds a private key, where a public one belongs")
        key = cls(_unbase64url(jwk.get("x")))
        if jwk.get("kid", key.kid) != key.kid:
            raise KeyFormatError("the JWK's kid is not the RFC 7638 thumbprint of its key")
        return key


@dataclass(frozen=True)
class SigningKey:
    """The half of a key that signs. Never shows its seed: not in `repr`, not in an error."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise KeyFormatError(f"a signing key is made from {SEED_BYTES} bytes")

    @cached_property
    def _secret(self) -> bytes:
        return crypto_sign_seed_keypair(self.seed)[1]

    @cached_property
    def public(self) -> PublicKey:
        """The half that others verify with."""
        return PublicKey(self._secret[SEED_BYTES:])

    @property
    def kid(self) -> str:
        """The key id of the public half."""
        return self.public.kid

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature over `message` (RFC 8032)."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def to_pem(self) -> str:
        """The key as PKCS#8 PEM, which `openssl pkey` reads."""
        return _pem(_PRIVATE, _PKCS8_ED25519 + self.seed)

    @classmethod
    def from_pem(cls, pem: str) -> SigningKey:
        """Read PKCS#8 PEM; `KeyFormatError` when it holds anything but one Ed25519 key."""
        return cls(_unpem(pem, _PRIVATE, _PKCS8_ED25519, SEED_BYTES))


def base64url(data: bytes) -> str:
    """base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text: object) -> bytes:
    """Read the one spelling that `base64url` writes: no padding, no stray bits, no `+` or `/`."""
    if not isinstance(text, str):
        raise KeyFormatError("the JWK has no x")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if base64url(data) != text:
        raise KeyFormatError("the JWK's x is not base64url without padding")
    return data


def _pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def _unpem(pem: str, label: str, prefix: bytes, size: int) -> bytes:
    """The `size` bytes behind `prefix` in the one PEM block that `pem` is."""
    text, begin, end = pem.strip(), f"-----BEGIN {label}-----", f"-----END {label}-----"
    if not (text.startswith(begin) and text.endswith(end)):
        raise KeyFormatError(f"expected one PEM block of type {label}")
    try:
        der = base64.b64decode("".join(text[len(begin) : -len(end)].split()), validate=True)
    except ValueError:
        raise KeyFormatError("the PEM block is not base64") from None
    if not der.startswith(prefix) or len(der) != len(prefix) + size:
        raise KeyFormatError("the PEM block does not hold an Ed25519 key")
    return der[len(prefix) :]
