"""What a token says, and whether a trust document makes it believable."""

from __future__ import annotations

from typing import Any

from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, Identity, verify_token
from mallku_contracts.trust import Trust
from mallku_contracts.unverified import read_unverified
from mallku_deploy.decoding.readable import clock


def read_claims(token: str, now_s: float) -> dict[str, Any]:
    """Header and claims as they stand there, unproven, with readable times.

    Raises:
        InvalidToken: it is not a JWT.
    """
    header, claims = read_unverified(token)
    times: dict[str, Any] = {
        name: clock(claims[name] * 1000)
        for name in ("iat", "nbf", "exp")
        if type(claims.get(name)) is int
    }
    if "exp" in times:
        times["left_s"] = round(claims["exp"] - now_s)
    return {"header": header, "claims": claims, "times": times}


def believe(token: str, trust: Trust, now_s: float) -> Identity:
    """The identity in a token that is trusted for either use, now and by this machine's clock.

    Raises:
        InvalidToken, TokenExpired: naming the header or claim; a client does not send such a token.
    """
    _, claims = read_unverified(token)
    audience = REPLY_AUDIENCE if claims.get("aud") == REPLY_AUDIENCE else COMMAND_AUDIENCE
    return verify_token(token, trust, audience=audience, now_s=now_s, leeway_s=0)
