"""Tokens: who somebody is, for how long, and which key they must sign with (RFC 7519, RFC 7800).

One algorithm, EdDSA, and key objects only (RFC 8725): a token that names another algorithm, brings
its own key, or asks for anything else in its header is refused before any of it is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mallku_contracts.errors import InvalidToken, TokenExpired
from mallku_contracts.keys import KeyFormatError, PublicKey, SigningKey
from mallku_contracts.limits import (
    MAX_ROLES,
    MAX_TIME_MS,
    MAX_TOKEN_BYTES,
    MAX_TOKEN_ID_CHARS,
    MAX_TOKEN_LIFE_S,
)
from mallku_contracts.subjects import is_name
from mallku_contracts.trust import Trust

COMMAND_AUDIENCE: Final = "mallku-command"
"""The `aud` of a caller's token."""

REPLY_AUDIENCE: Final = "mallku-reply"
"""The `aud` of a worker's token."""

_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "JWT"
_HEADER: Final = frozenset({"alg", "kid", "typ"})
# 86 characters spell 64 bytes and 4 bits that must be zero: one signature, one spelling.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
_MAX_TIME_S: Final = MAX_TIME_MS // 1_000
_CLAIMS: Final = ("iss", "aud", "sub", "roles", "iat", "exp", "jti", "cnf")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says: a principal, its roles, and the key it must sign with.

    `issued_at`, `expires_at` and `not_before` (0 when the token does not say) are Unix seconds.
    """

    issuer: str
    audience: str
    principal: str
    roles: frozenset[str]
    issued_at: int
    expires_at: int
    token_id: str
    key: PublicKey
    not_before: int = 0

    def check_times(self, now_s: float, leeway_s: float) -> None:
        """Raise `TokenExpired` when its time is over or has not begun, `leeway_s` granted."""
        if now_s >= self.expires_at + leeway_s:
            raise TokenExpired("the token's exp has passed")
        if now_s < max(self.issued_at, self.not_before) - leeway_s:
            raise TokenExpired("the token's iat or nbf lies in the future")


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
    if identity.not_before:
        claims["nbf"] = identity.not_before
    private = Ed25519PrivateKey.from_private_bytes(issuer_key.seed)
    return jwt.encode(claims, private, algorithm=_ALGORITHM, headers={"kid": issuer_key.kid})


def is_compact(text: str) -> bool:
    """Whether this is a JWT with an Ed25519 signature, in the one spelling that it has."""
    return _COMPACT.fullmatch(text) is not None


def verify_token(
    token: str | bytes, trust: Trust, *, audience: str, now_s: float, leeway_s: float
) -> Identity:
    """Believe a token, or raise.

    The order is: size and spelling, header, a trusted key with that key id, signature, claims, that
    the key belongs to the claimed issuer, times.

    Args:
        now_s: Unix time to judge `iat`, `nbf` and `exp` at, seconds.
        leeway_s: Allowed clock skew, seconds.

    Raises:
        InvalidToken: naming the header or claim that is wrong.
        TokenExpired: when its time is over, or has not begun.
    """
    text = _as_text(token)
    key = _named_key(text, trust)
    claims = _verified_claims(text, key, audience)
    issuer = claims["iss"]
    if not isinstance(issuer, str) or trust.key(issuer, key.kid) != key:
        raise InvalidToken("the token's iss and kid name no trusted key")
    identity = _read_identity(claims)
    identity.check_times(now_s, leeway_s)
    return identity


def _as_text(token: str | bytes) -> str:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    text = token if isinstance(token, str) else token.decode("ascii", "replace")
    if not is_compact(text):
        raise InvalidToken("the token is not a JWT in its compact form")
    return text


def _named_key(token: str, trust: Trust) -> PublicKey:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError):
        raise InvalidToken("the token is not a JWT") from None
    if header.get("alg") != _ALGORITHM:
        raise InvalidToken(f"the token's alg must be {_ALGORITHM}")
    if header.get("typ", _TYPE) != _TYPE or not header.keys() <= _HEADER:
        raise InvalidToken("the token's header may hold alg, kid and typ (JWT), nothing else")
    kid = header.get("kid")
    key = trust.any_key(kid) if isinstance(kid, str) else None
    if key is None:
        raise InvalidToken("the token's kid names no trusted key")
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
    except (jwt.PyJWTError, RecursionError):
        raise InvalidToken("the token's claims do not hold") from None


def _read_identity(claims: dict[str, Any]) -> Identity:
    _check_claims(claims)
    confirmation = claims["cnf"]
    try:
        key = PublicKey.from_jwk(confirmation["jwk"] if isinstance(confirmation, dict) else None)
    except (KeyError, KeyFormatError) as error:
        raise InvalidToken(f"the claim cnf holds no Ed25519 key: {error}") from None
    return Identity(
        issuer=claims["iss"],
        audience=claims["aud"],
        principal=claims["sub"],
        roles=frozenset(claims["roles"]),
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        token_id=claims["jti"],
        key=key,
        not_before=claims.get("nbf", 0),
    )


def _check_claims(claims: dict[str, Any]) -> None:
    roles, token_id = claims["roles"], claims["jti"]
    if not isinstance(roles, list) or not all(map(is_name, roles)):
        raise InvalidToken("the claim roles is not a list of names")
    if len(roles) > MAX_ROLES:
        raise InvalidToken(f"the claim roles names more than {MAX_ROLES} roles")
    for claim in ("iat", "exp", "nbf"):
        time = claims.get(claim, 0)
        if type(time) is not int or not 0 <= time <= _MAX_TIME_S:
            raise InvalidToken(f"the claim {claim} is not a whole number of seconds")
    if not is_name(claims["sub"]):
        raise InvalidToken("the claim sub is not a name")
    if not isinstance(token_id, str) or not 0 < len(token_id) <= MAX_TOKEN_ID_CHARS:
        raise InvalidToken(f"the claim jti is not a string of 1 to {MAX_TOKEN_ID_CHARS} characters")
    if not 0 < claims["exp"] - claims["iat"] <= MAX_TOKEN_LIFE_S:
        raise InvalidToken(f"the token is not valid for 1 to {MAX_TOKEN_LIFE_S} s")
