"""Somebody shows a token that is not theirs, not meant for this, or not an issuer's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mallku_broker.files import load_signing_key, load_token
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_deploy.house import ISSUER
from tests.attacks.arena import Arena, Attacker
from tests.attacks.arena import refused_by_each_worker as refused
from tests.attacks.cast import SCRATCH, SECRET, VAULT, VICTIM
from tests.integration.world import exchange, until
from tests.support.simulated_caller import make_token

pytestmark = pytest.mark.asyncio(loop_scope="session")

Claims = dict[str, Any]
Sign = Callable[[bytes], bytes]


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(part: bytes) -> Claims:
    decoded: Claims = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    return decoded


def _token(header: Claims, claims: Claims, sign: Sign) -> bytes:
    signed = b".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
    return signed + b"." + _encode(sign(signed))


def _issuer(arena: Arena) -> SigningKey:
    """The issuer's own key, for tokens that are wrong in one thing alone."""
    return arena.world.furnished.issuer.key


async def _is_refused(
    arena: Arena, attacker: Attacker, token: bytes, code: str = "invalid_token"
) -> None:
    """A command with this token, well signed by the attacker: refused by both workers."""
    sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
    codes = await refused(attacker.connection, sent)
    assert set(codes) == {code}
    await arena.told(attacker.principal, codes)


async def test_a_token_of_this_make_is_believed(arena: Arena, attacker: Attacker) -> None:
    """What the attacks below make by hand is good when nothing is wrong with it."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    token = _token(header, claims, _issuer(arena).sign)
    sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
    assert isinstance((await exchange(attacker.connection, sent)).result, int)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES256", "EdDSA "])
async def test_a_token_names_another_algorithm(arena: Arena, attacker: Attacker, alg: str) -> None:
    """`none` above all: the only algorithm is EdDSA, whatever a header says."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    claims |= {"roles": ["everything"]}
    forged, signed = [
        _token(header | {"alg": alg}, claims, sign)
        for sign in (lambda _: bytes(64), _issuer(arena).sign)
    ]
    unsigned = forged.rpartition(b".")[0] + b"."
    for token in (forged, signed, unsigned):
        sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
        assert set(await refused(attacker.connection, sent)) == {"invalid_token"}


async def test_the_issuers_public_key_is_used_as_a_secret(arena: Arena, attacker: Attacker) -> None:
    """Key confusion: an HMAC with the public bytes, in raw or PEM form, is no signature."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    public = _issuer(arena).public
    for secret in (public.raw, public.to_pem().encode(), json.dumps(public.jwk()).encode()):
        for alg in ("HS256", "HS512", "EdDSA"):

            def sign(data: bytes, key: bytes = secret) -> bytes:
                return hmac.new(key, data, hashlib.sha512).digest()

            token = _token(header | {"alg": alg}, claims, sign)
            sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
            assert set(await refused(attacker.connection, sent)) == {"invalid_token"}


@pytest.mark.parametrize("extra", ["jwk", "jku", "x5u", "x5c", "crit", "kid of another"])
async def test_a_token_brings_its_own_key(arena: Arena, attacker: Attacker, extra: str) -> None:
    """A key in the header, or a place to get one from, is refused whoever signed it."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    own = attacker.caller.key
    values: dict[str, Claims] = {
        "jwk": {"jwk": own.public.jwk()},
        "jku": {"jku": "https://attacker.test/keys"},
        "x5u": {"x5u": "https://attacker.test/chain"},
        "x5c": {"x5c": ["MAo="]},
        "crit": {"crit": ["exp"]},
        "kid of another": {"kid": own.kid},
    }
    for sign in (own.sign, _issuer(arena).sign):
        token = _token(header | values[extra], claims, sign)
        sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
        assert set(await refused(attacker.connection, sent)) == {"invalid_token"}


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "roles", "iat", "exp", "jti", "cnf"])
async def test_a_token_lacks_a_claim(arena: Arena, attacker: Attacker, claim: str) -> None:
    """Even from the issuer: a token without an end, an audience or a key is not believed."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    del claims[claim]
    await _is_refused(arena, attacker, _token(header, claims, _issuer(arena).sign))


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": REPLY_AUDIENCE}, "invalid_token"),
        ({"aud": ["mallku-command", "other"]}, "invalid_token"),
        ({"aud": "https://other.test"}, "invalid_token"),
        ({"iss": "https://other.test"}, "invalid_token"),
        ({"sub": VICTIM}, "principal_mismatch"),
        ({"sub": "_gateway"}, "principal_mismatch"),
        ({"sub": "a.b"}, "invalid_token"),
        ({"roles": "everything"}, "invalid_token"),
        ({"cnf": {}}, "invalid_token"),
        ({"iat": -3_600, "exp": -60}, "token_expired"),
        ({"iat": 120, "exp": 3_600}, "token_expired"),
        ({"nbf": 120}, "token_expired"),
        ({"exp": 90_000}, "invalid_token"),
        ({"exp": 1e300}, "invalid_token"),
    ],
)
async def test_a_token_is_for_another_audience_principal_or_time(
    arena: Arena, attacker: Attacker, claims: Claims, code: str
) -> None:
    """Though the issuer signed it. Times are seconds from now."""
    header, own = map(_decode, attacker.caller.token.split(b".")[:2])
    now = int(time.time())
    times = {
        name: now + value if isinstance(value, int) else value
        for name, value in claims.items()
        if name in ("iat", "exp", "nbf")
    }
    own |= {"iat": now - 60, "exp": now + 3_600} | claims | times
    await _is_refused(arena, attacker, _token(header, own, _issuer(arena).sign), code)


async def test_an_expired_token_was_remembered(arena: Arena, attacker: Attacker) -> None:
    """A worker that verified a token once judges its times anew each time."""
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    end = int(time.time()) - 28
    claims |= {"iat": end - 60, "exp": end}
    token = _token(header, claims, _issuer(arena).sign)
    good = await exchange(
        attacker.connection, attacker.caller.seal("count", {}, SCRATCH, token=token)
    )
    assert isinstance(good.result, int)
    await until("its end", lambda: time.time() > end + 30)
    sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
    assert set(await refused(attacker.connection, sent)) == {"token_expired"}


async def test_a_token_of_an_issuer_that_nobody_trusts(arena: Arena, attacker: Attacker) -> None:
    """In its own name, and in the name of the trusted one with the trusted key's id."""
    stranger = SigningKey(b"s" * 32)
    roles = frozenset({"everything"})
    for issuer in ("https://stranger.test", ISSUER):
        token = make_token(
            attacker.caller.key,
            principal=attacker.principal,
            roles=roles,
            issuer=issuer,
            issuer_key=stranger,
        )
        sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
        assert set(await refused(attacker.connection, sent)) == {"invalid_token"}
    header, claims = map(_decode, attacker.caller.token.split(b".")[:2])
    token = _token(header, claims, stranger.sign)
    sent = attacker.caller.seal("count", {}, SCRATCH, token=token)
    assert set(await refused(attacker.connection, sent)) == {"invalid_token"}


async def test_a_stolen_token_is_used_with_another_key(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """Without the key that it names a token opens nothing, on whomever's subject."""
    stolen = victim.caller.token
    own = attacker.caller.seal("count", {}, SCRATCH, token=stolen)
    assert set(await refused(attacker.connection, own)) == {"principal_mismatch"}
    posing = victim.caller.seal("get", {"document": "v0"}, VAULT, key=attacker.caller.key)
    assert set(await refused(victim.connection, posing)) == {"invalid_signature"}


async def test_a_token_is_exchanged_for_another_good_one(arena: Arena, attacker: Attacker) -> None:
    """Of the same principal and key, with more roles: the signed header names the one it means."""
    caller, roles = attacker.caller, frozenset({"small", "everything"})
    another = make_token(
        caller.key,
        principal=attacker.principal,
        roles=roles,
        issuer=ISSUER,
        issuer_key=_issuer(arena),
    )
    good = caller.seal("count", {}, SCRATCH, token=another)
    assert isinstance((await exchange(attacker.connection, good)).result, int)
    sent = caller.seal("count", {}, SCRATCH)
    data = replace(sent.envelope, token=another).join()
    assert set(await refused(attacker.connection, sent, data=data)) == {"invalid_token"}


async def test_a_workers_token_is_used_to_send_commands(arena: Arena, attacker: Attacker) -> None:
    """Who has a worker's key and token has no caller's: its audience is another."""
    files = arena.world.furnished.workers[0]
    token = load_token(files.token).encode()
    sent = attacker.caller.seal("count", {}, SCRATCH, token=token, key=load_signing_key(files.key))
    assert set(await refused(attacker.connection, sent)) == {"invalid_token"}


async def test_a_token_claims_more_roles_than_the_policy_gives(
    arena: Arena, attacker: Attacker
) -> None:
    """An issuer cannot hand out what the policy does not: roles are those that both name."""
    token = make_token(
        attacker.caller.key,
        principal=attacker.principal,
        roles=frozenset({"small", "everything", "service"}),
        issuer=ISSUER,
        issuer_key=_issuer(arena),
    )
    sent = attacker.caller.seal("get", {"document": "v0"}, VAULT, token=token)
    codes = await refused(attacker.connection, sent)
    assert codes["permission_denied"] >= 1
    assert SECRET not in str(await arena.told(attacker.principal, codes))


async def test_roles_are_written_into_ones_own_token(arena: Arena, attacker: Attacker) -> None:
    """Claims that were changed are not what the issuer signed."""
    header, claims, signature = attacker.caller.token.split(b".")
    raised = _encode(json.dumps(_decode(claims) | {"roles": ["everything"]}).encode())
    await _is_refused(arena, attacker, b".".join((header, raised, signature)))
