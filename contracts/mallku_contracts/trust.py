"""Whose tokens are believed: issuers and their public keys, kept as one JSON document.

::

    {"issuers": {"https://mallku.example/issuer": {"keys": [{"kty": "OKP", "crv": "Ed25519", …}]}}}

Each issuer's value is a JWK set (RFC 7517, section 5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.limits import MAX_TRUST_CHARS


class TrustError(ValueError):
    """The trust document cannot be used; the message says what is wrong in it."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The public keys of every trusted issuer, by issuer and key id."""

    issuers: Mapping[str, Mapping[str, PublicKey]]

    def key(self, issuer: str, kid: str) -> PublicKey | None:
        """The issuer's key with this id, or None when it is not trusted."""
        return self.issuers.get(issuer, {}).get(kid)

    def any_key(self, kid: str) -> PublicKey | None:
        """The key with this id, whichever trusted issuers it belongs to: a key id is a hash."""
        return next((keys[kid] for keys in self.issuers.values() if kid in keys), None)

    @classmethod
    def of(cls, issuer: str, *keys: PublicKey) -> Trust:
        """Trust in one issuer."""
        return cls({issuer: {key.kid: key for key in keys}})

    def to_json(self) -> str:
        """The document as indented JSON, ready for a trust file."""
        issuers = {
            issuer: {"keys": [key.jwk() for key in keys.values()]}
            for issuer, keys in self.issuers.items()
        }
        return json.dumps({"issuers": issuers}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Trust:
        """Read the document; `TrustError` says which part of it is wrong."""
        document = _read_json(text)
        issuers = document.get("issuers") if isinstance(document, dict) else None
        if not isinstance(issuers, dict) or not issuers or len(document) > 1:
            raise TrustError('expected {"issuers": {NAME: {"keys": [JWK, …]}, …}} and nothing else')
        return cls({issuer: _read_keys(issuer, value) for issuer, value in issuers.items()})


def _read_json(text: str) -> Any:
    if len(text) > MAX_TRUST_CHARS:
        raise TrustError(f"longer than {MAX_TRUST_CHARS} characters")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except TrustError:
        raise
    except (ValueError, RecursionError) as error:
        raise TrustError(f"not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise TrustError("a name stands twice in the same object")
    return value


def _read_keys(issuer: str, value: Any) -> dict[str, PublicKey]:
    jwks = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(jwks, list) or not jwks:
        raise TrustError(f"issuer {issuer!r}: expected a JWK set with at least one key")
    try:
        keys = [PublicKey.from_jwk(jwk) for jwk in jwks]
    except KeyFormatError as error:
        raise TrustError(f"issuer {issuer!r}: {error}") from None
    return {key.kid: key for key in keys}
