"""Tokens: believed only when a trusted issuer said exactly this, for this use, at this time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import InvalidToken, MallkuError, TokenExpired
from mallku_contracts.keys import base64url
from mallku_contracts.limits import MAX_TOKEN_BYTES
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, issue_token, verify_token
from mallku_contracts.trust import Trust
from tests.contracts.opening import believe
from tests.vectors.world import CALLER_TOKEN, ISSUER, KEYS, NOW_MS, NOW_S, TRUST, identity

CLAIMS: dict[str, Any] = jwt.decode(CALLER_TOKEN, options={"verify_signature": False})


def made(headers: dict[str, Any] | None = None, **claims: Any) -> bytes:
    """A token of the issuer with other claims; None leaves a claim out."""
    values = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    key = Ed25519PrivateKey.from_private_bytes(KEYS["issuer"].seed)
    head = {"kid": KEYS["issuer"].kid, **(headers or {})}
    return jwt.encode(values, key, algorithm="EdDSA", headers=head).encode()


def test_an_issued_token_is_believed() -> None:
    """What was issued is what is read, as text and as bytes."""
    text = issue_token(identity(), KEYS["issuer"])
    for token in (text, text.encode()):
        read = verify_token(token, TRUST, audience=COMMAND_AUDIENCE, now_s=NOW_S, leeway_s=0.0)
        assert read == identity()


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    """A token with any character replaced by any other byte is not believed."""
    place = data.draw(st.integers(0, len(CALLER_TOKEN) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != CALLER_TOKEN[place]))
    with pytest.raises(InvalidToken):
        believe(CALLER_TOKEN[:place] + bytes([byte]) + CALLER_TOKEN[place + 1 :], COMMAND_AUDIENCE)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_code(token: bytes) -> None:
    """Whatever comes in the place of a token is refused, never a crash."""
    with pytest.raises(InvalidToken):
        believe(token, COMMAND_AUDIENCE)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "roles", "iat", "exp", "jti", "cnf"])
def test_each_claim_is_required_by_name(claim: str) -> None:
    """A token without one of the claims is refused, and the refusal names it."""
    with pytest.raises(InvalidToken, match=claim):
        believe(made(**{claim: None}), COMMAND_AUDIENCE)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"iss": "other"}, "iss"),
        ({"aud": REPLY_AUDIENCE}, "aud"),
        ({"aud": [COMMAND_AUDIENCE]}, "aud"),
        ({"sub": ""}, "sub"),
        ({"sub": "a.b"}, "sub"),
        ({"sub": "a" * 65}, "sub"),
        ({"roles": "writer"}, "roles"),
        ({"roles": ["writer", 5]}, "roles"),
        ({"roles": ["a b"]}, "roles"),
        ({"roles": [f"r{number}" for number in range(33)]}, "roles"),
        ({"iat": float(NOW_S)}, "iat"),
        ({"iat": True}, "iat"),
        ({"iat": -1}, "iat"),
        ({"exp": str(NOW_S)}, "exp"),
        ({"exp": 10**400, "iat": 10**400 - 5}, "iat"),
        ({"nbf": "soon"}, "nbf"),
        ({"jti": ""}, "jti"),
        ({"jti": "j" * 129}, "jti"),
        ({"cnf": "key"}, "cnf"),
        ({"cnf": {}}, "cnf"),
        ({"cnf": {"jwk": None}}, "cnf"),
        ({"cnf": {"jwk": {**KEYS["caller"].public.jwk(), "d": "x"}}}, "cnf"),
        ({"exp": NOW_S - 61}, "valid"),
        ({"exp": NOW_S + 86_400}, "valid"),
    ],
)
def test_a_wrong_claim_is_named(claims: dict[str, Any], named: str) -> None:
    """A signed token whose claim has another type, form or range is refused by that claim."""
    with pytest.raises(InvalidToken, match=named):
        believe(made(**claims), COMMAND_AUDIENCE)


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "unknown"},
        {"kid": ""},
        {"x5u": "https://elsewhere.example/chain.pem"},
        {"x5t": "AAAA"},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"kid": KEYS["caller"].kid},
        {"jwk": KEYS["issuer"].public.jwk()},
        {"jku": "https://elsewhere.example"},
        {"x5c": []},
        {"crit": ["exp"]},
        {"typ": "at+jwt"},
        {"cty": "JWT"},
    ],
)
def test_a_header_says_alg_and_kid_and_nothing_else(headers: dict[str, Any]) -> None:
    """Whatever else a header asks for is refused, the signature notwithstanding."""
    with pytest.raises(InvalidToken):
        believe(made(headers), COMMAND_AUDIENCE)


def test_symmetric_and_missing_signatures_are_refused() -> None:
    """The issuer's public key is no HMAC secret, and `none` is no algorithm."""
    head = {"kid": KEYS["issuer"].kid}
    secret = KEYS["issuer"].public.raw * 2
    for token in (
        jwt.encode(CLAIMS, secret, algorithm="HS512", headers=head),
        jwt.encode(CLAIMS, secret, algorithm="HS256", headers=head),
        jwt.encode(CLAIMS, "", algorithm="none", headers=head),
    ):
        with pytest.raises(InvalidToken):
            believe(token.encode(), COMMAND_AUDIENCE)


@pytest.mark.parametrize("alg", ["HS256", "ES256", "RS256", "PS256", "EdDsa", "Ed448", "", "none"])
def test_the_header_cannot_choose_the_algorithm(alg: str) -> None:
    """Whatever a header calls its algorithm, only EdDSA is looked at, before any signature."""
    head = base64url(json.dumps({"alg": alg, "kid": KEYS["issuer"].kid, "typ": "JWT"}).encode())
    claims = CALLER_TOKEN.decode().split(".")[1]
    signature = base64url(KEYS["issuer"].sign(f"{head}.{claims}".encode()))
    with pytest.raises(InvalidToken, match="EdDSA"):
        believe(f"{head}.{claims}.{signature}".encode(), COMMAND_AUDIENCE)


@pytest.mark.parametrize(
    "spelling",
    [
        "{0}=.{1}.{2}", "{0}.{1}==.{2}", "{0}.{1}.{2}==", " {0}.{1}.{2}", "{0}.{1}.{2}\n",
        "{0}.{1}\n.{2}", "{0}.{1}.{2}.", "{0}.{1}.", "{0}..{2}", ".{1}.{2}", "{0}.{1}",
        "{0}.{1}.{2}A", "{0}.{1}.{3}", "{0}.{1}.{3}B",
    ],
)  # fmt: skip
def test_a_token_has_one_spelling(spelling: str) -> None:
    """Padding, white space, stray bits, missing and further parts are refused."""
    parts = CALLER_TOKEN.decode().split(".")
    with pytest.raises(InvalidToken):
        believe(spelling.format(*parts, parts[2][:-1]).encode(), COMMAND_AUDIENCE)


def test_a_huge_token_is_refused_by_its_size() -> None:
    """A token past the limit is not looked into, however well it is signed."""
    token = made(jti="j" * MAX_TOKEN_BYTES)
    assert len(token) > MAX_TOKEN_BYTES
    with pytest.raises(InvalidToken, match="longer than"):
        believe(token, COMMAND_AUDIENCE)


def test_a_token_may_begin_later() -> None:
    """What was issued with a beginning is read with it."""
    later = replace(identity(), not_before=NOW_S + 7)
    token = issue_token(later, KEYS["issuer"])
    assert believe(token.encode(), COMMAND_AUDIENCE, (NOW_S + 7) * 1_000) == later


def test_a_trusted_key_does_not_speak_for_another_issuer() -> None:
    """A key that is trusted for one issuer signs no tokens of another."""
    two = Trust(
        {
            ISSUER: {KEYS["issuer"].kid: KEYS["issuer"].public},
            "other": {KEYS["stranger"].kid: KEYS["stranger"].public},
        }
    )
    forged = issue_token(identity(), KEYS["stranger"])
    with pytest.raises(InvalidToken, match="iss"):
        verify_token(forged, two, audience=COMMAND_AUDIENCE, now_s=NOW_S, leeway_s=0.0)


@pytest.mark.parametrize(
    ("now_s", "claims", "good"),
    [
        (NOW_S - 60 - 30, {}, True),
        (NOW_S - 60 - 30.001, {}, False),
        (NOW_S + 3_540 + 29.999, {}, True),
        (NOW_S + 3_540 + 30, {}, False),
        (NOW_S - 30, {"nbf": NOW_S}, True),
        (NOW_S - 30.001, {"nbf": NOW_S}, False),
        (NOW_S - 91, {"nbf": 0}, False),
    ],
)
def test_a_token_holds_within_its_times(now_s: float, claims: dict[str, Any], good: bool) -> None:
    """From `iat` (or `nbf`) to `exp`, with the leeway on both sides and not a moment more."""
    token = made(**claims)
    if good:
        assert believe(token, COMMAND_AUDIENCE, int(now_s * 1_000)).principal == "mallku"
        return
    with pytest.raises(TokenExpired):
        verify_token(token, TRUST, audience=COMMAND_AUDIENCE, now_s=now_s, leeway_s=30.0)


@pytest.mark.parametrize("text", ["[" * 3_000 + "]" * 3_000, '{"a":' * 1_000, "9" * 4_400, "[1]"])
def test_hostile_json_is_refused_before_any_key_is_asked(text: str) -> None:
    """Deep nesting and endless numbers in header or claims are refused like any other junk."""
    part = base64url(text.encode())
    good = CALLER_TOKEN.decode().split(".")
    for token in (f"{part}.{good[1]}.{good[2]}", f"{good[0]}.{part}.{good[2]}"):
        with pytest.raises(MallkuError):
            believe(token.encode(), COMMAND_AUDIENCE)


def test_a_refusal_shows_nothing_of_the_token() -> None:
    """Neither message nor cause repeats what was refused."""
    with pytest.raises(TokenExpired) as refused:
        believe(CALLER_TOKEN, COMMAND_AUDIENCE, NOW_MS + 10_000_000)
    assert refused.value.__cause__ is None
    assert CALLER_TOKEN.decode()[-20:] not in repr(refused.value)
