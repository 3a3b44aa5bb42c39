"""Issuers with keys, as they publish them and as a trust file names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mallku_contracts.keys import PublicKey, SigningKey

ONE, TWO, THREE = (SigningKey(bytes([number]) * 32).public for number in (1, 2, 3))
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa"}
ISSUER, OTHER = "https://issuer.example", "https://other.example"


def jwk(key: PublicKey, kid: str | None = None) -> dict[str, Any]:
    """The key as an issuer would publish it, under a name of the issuer's own."""
    return {**key.jwk(), "kid": kid or key.kid, "use": "sig", "alg": "EdDSA"}


def published(*keys: dict[str, Any]) -> str:
    """A JWK set."""
    return json.dumps({"keys": keys})


def write_trust(folder: Path, **sources: Any) -> Path:
    """A trust file with these values for `ISSUER` (`first`) and `OTHER` (`second`)."""
    issuers = {
        issuer: sources[name]
        for name, issuer in (("first", ISSUER), ("second", OTHER))
        if name in sources
    }
    path = folder / "trust.json"
    path.write_text(json.dumps({"issuers": issuers}), "utf-8")
    return path
