"""Who calls: a bearer token, verified on each request with a key that is read once."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

AUDIENCE: Final = "documents"
MAX_REMEMBERED_TOKENS: Final = 10_000

_REQUIRED: Final = ("iss", "aud", "sub", "roles", "iat", "exp")


class Unauthenticated(Exception):
    """The request brings no token that is believed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a verified token says."""

    name: str
    roles: frozenset[str]
    issuer: str
    expires_at: int


class Tokens:
    """Verifies EdDSA tokens; `remember` keeps verified ones by hash until they expire."""

    def __init__(self, key: bytes, *, remember: bool) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(key)
        self._remember = remember
        self._known: dict[bytes, Caller] = {}

    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header, or `Unauthenticated`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("a bearer token is needed")
        return self._recalled(token) if self._remember else self._verified(token)

    def _recalled(self, token: str) -> Caller:
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._known.get(digest)
        if caller is None or caller.expires_at <= time.time():
            caller = self._verified(token)
            if len(self._known) >= MAX_REMEMBERED_TOKENS:
                self._known.clear()
            self._known[digest] = caller
        return caller

    def _verified(self, token: str) -> Caller:
        options: Any = {"require": list(_REQUIRED)}
        try:
            claims = jwt.decode(
                token, self._key, algorithms=["EdDSA"], audience=AUDIENCE, options=options
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(str(error)) from None
        return Caller(claims["sub"], frozenset(claims["roles"]), claims["iss"], claims["exp"])
