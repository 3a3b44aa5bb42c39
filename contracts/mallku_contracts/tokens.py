"""Tokens: who somebody is, for how long, and which key they must sign with (RFC 7519, RFC 7800).

One algorithm, EdDSA, per key id, and key objects only: a token that names another algorithm or
brings its own key is refused before anything of it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mallku_contracts.errors import InvalidToken, TokenExpired
from mallku_contracts.keys import KeyFormatError, PublicKey, SigningKey
from mallku_contracts.limits import MAX_ROLES, MAX_TOKEN_BYTES, MAX_TOKEN_LIFE_S
from mallku_contracts.trust import Trust

COMMAND_AUDIENCE: Final = "mallku-command"
"""The `aud` of a caller's token."""

REPLY_AUDIENCE: Final = "mallku-reply"
"""The `aud` of a worker's token."""

_ALGORITHM: Final = "EdDSA"
_CLAIMS: Final = ("iss", "aud", "sub", "roles", "iat", "exp", "jti", "cnf")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says: a principal, its roles, and the key it must sign with.

    `issued_at` and `expires_at` are Unix seconds.
    """

    issuer: str
    audience: str
    principal: str
    roles: frozenset[str]
    issued_at: int
    expires_at: int
    token_id: str
    key: PublicKey


def issue_token(identity: Identity, issuer_key: SigningKey) -> str:
    """Sign a token for `identity` with the issuer's key."""
    claims: dict[str, Any] = {
        "iss": identity.issuer,
        "aud": identity.audience,
        "sub": identity.principal,
        "roles": sorted(identity.roles),
        "iat": identity.issued_at,
        "exp": identity.expires_at,
        "jti": identity.token_id,
        "cnf": {"jwk": identity.key.jwk()},
    }
    private = Ed25519PrivateKey.from_private_bytes(issuer_key.seed)
    return jwt.encode(claims, private, algorithm=_ALGORITHM, headers={"kid": issuer_key.kid})


def verify_token(
    token: str | bytes, trust: Trust, *, audience: str, now_s: float, leeway_s: float
) -> Identity:
    """Believe a token, or raise.

    The order is: size, header, a trusted key for (issuer, key id), signature, claims, times.

    Args:
        now_s: Unix time to judge `iat` and `exp` at, seconds.
        leeway_s: Allowed clock skew, seconds.

    Raises:
        InvalidToken: naming the header or claim that is wrong.
        TokenExpired: when its time is over, or has not begun.
    """
    text = _as_text(token)
    key = _trusted_key(text, trust)
    claims = _verified_claims(text, key, audience)
    identity = _read_identity(claims)
    _check_times(identity, now_s, leeway_s)
    return identity


def _as_text(token: str | bytes) -> str:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if isinstance(token, str):
        return token
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidToken("the token is not ASCII") from None


def _trusted_key(token: str, trust: Trust) -> PublicKey:
    try:
        header = jwt.get_unverified_header(token)
        unverified = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise InvalidToken("the token is not a JWT") from None
    if header.get("alg") != _ALGORITHM:
        raise InvalidToken(f"the token's alg must be {_ALGORITHM}")
    issuer, kid = unverified.get("iss"), header.get("kid")
    if not isinstance(issuer, str) or not isinstance(kid, str):
        raise InvalidToken("the token names no iss or no kid")
    key = trust.key(issuer, kid)
    if key is None:
        raise InvalidToken("the token's iss and kid name no trusted key")
    return key


def _verified_claims(token: str, key: PublicKey, audience: str) -> dict[str, Any]:
    checks: Any = {
        "require": list(_CLAIMS),
        "verify_exp": False,  # judged by _check_times, at the time the caller says
        "verify_iat": False,
        "verify_nbf": False,
        "strict_aud": True,
    }
    public = Ed25519PublicKey.from_public_bytes(key.raw)
    try:
        return jwt.decode(token, public, algorithms=[_ALGORITHM], audience=audience, options=checks)
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"the token lacks the claim {error.claim}") from None
    except jwt.InvalidAudienceError:
        raise InvalidToken(f"the token's aud is not {audience}") from None
    except jwt.InvalidSignatureError:
        raise InvalidToken("the token's signature does not hold") from None
    except jwt.PyJWTError:
        raise InvalidToken("the token's claims do not hold") from None


def _read_identity(claims: dict[str, Any]) -> Identity:
    roles, confirmation = claims["roles"], claims["cnf"]
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise InvalidToken("the claim roles is not a list of strings")
    if len(roles) > MAX_ROLES:
        raise InvalidToken(f"the claim roles names more than {MAX_ROLES} roles")
    for claim in ("iat", "exp"):
        if type(claims[claim]) is not int:
            raise InvalidToken(f"the claim {claim} is not a whole number of seconds")
    for claim in ("sub", "jti"):
        if not isinstance(claims[claim], str):
            raise InvalidToken(f"the claim {claim} is not a string")
    try:
        key = PublicKey.from_jwk(confirmation["jwk"] if isinstance(confirmation, dict) else None)
    except (KeyError, KeyFormatError):
        raise InvalidToken("the claim cnf holds no Ed25519 key") from None
    return Identity(
        issuer=claims["iss"],
        audience=claims["aud"],
        principal=claims["sub"],
        roles=frozenset(roles),
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        token_id=claims["jti"],
        key=key,
    )


def _check_times(identity: Identity, now_s: float, leeway_s: float) -> None:
    if identity.expires_at - identity.issued_at > MAX_TOKEN_LIFE_S:
        raise InvalidToken(f"the token is valid for longer than {MAX_TOKEN_LIFE_S} s")
    if now_s >= identity.expires_at + leeway_s:
        raise TokenExpired("the token's exp has passed")
    if now_s < identity.issued_at - leeway_s:
        raise TokenExpired("the token's iat lies in the future")
