"""Who appears in the vectors, and when: fixed keys, tokens and times."""

from __future__ import annotations

import json
from typing import Any, Final

import jwt
import msgpack

from mallku_contracts.envelope import (
    CommandHeader,
    token_hash,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.protected import VERSION
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, Identity, issue_token
from mallku_contracts.trust import Trust

NOW_S: Final = 1_760_000_000
NOW_MS: Final = NOW_S * 1_000
LEEWAY_S: Final = 30.0
ISSUER: Final = "https://mallku.example/issuer"

KEYS: Final = {
    name: SigningKey(bytes([number]) * 32)
    for number, name in enumerate(("issuer", "caller", "worker", "stranger"), 1)
}
TRUST: Final = Trust.of(ISSUER, KEYS["issuer"].public)


def identity(**changes: Any) -> Identity:
    """The caller `mallku` as its token describes it, with `changes`."""
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": COMMAND_AUDIENCE,
        "principal": "mallku",
        "roles": frozenset({"reader", "writer"}),
        "issued_at": NOW_S - 60,
        "expires_at": NOW_S + 3_540,
        "token_id": "token-1",
        "key": KEYS["caller"].public,
    }
    return Identity(**{**values, **changes})


def token(signer: str = "issuer", **changes: Any) -> bytes:
    """A token for `identity(**changes)`."""
    return issue_token(identity(**changes), KEYS[signer]).encode()


CALLER_TOKEN: Final = token()
WORKER_TOKEN: Final = token(
    audience=REPLY_AUDIENCE,
    principal="worker",
    roles=frozenset({"worker"}),
    token_id="token-2",
    key=KEYS["worker"].public,
)


def header(subject: CommandSubject, number: int = 1, **changes: Any) -> CommandHeader:
    """The header of the transmission `number` on `subject`, with `changes`."""
    transmission = uuid7(NOW_MS, number)
    values: dict[str, Any] = {
        "v": VERSION,
        "kid": KEYS["caller"].kid,
        "id": transmission,
        "iat": NOW_MS,
        "exp": NOW_MS + 30_000,
        "budget": 10_000,
        "attempt": 1,
        "op": subject.operation,
        "db": subject.database,
        "col": subject.collection,
        "idem": transmission,
        "reply": inbox_prefix(subject.principal),
        "ath": token_hash(CALLER_TOKEN),
    }
    return CommandHeader(**{**values, **changes})


def packed(value: object) -> bytes:
    """Any value as msgpack, checked by nobody."""
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


def shown(value: Any) -> Any:
    """A value as JSON can hold it: byte strings become `{"hex": …}`."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def key_vectors() -> dict[str, Any]:
    """From a seed to everything that is made of it."""
    cases = [
        {
            "name": name,
            "seed": key.seed.hex(),
            "public": key.public.raw.hex(),
            "kid": key.kid,
            "jwk": key.public.jwk(),
            "pem": key.to_pem(),
        }
        for name, key in KEYS.items()
    ]
    return {"about": "Ed25519 keys, their RFC 7638 key ids, JWK and PKCS#8 PEM.", "cases": cases}


def token_vectors() -> dict[str, Any]:
    """The two good tokens, and the trust document that believes their issuer."""
    cases = [
        _token_case("caller", CALLER_TOKEN, COMMAND_AUDIENCE),
        _token_case("worker", WORKER_TOKEN, REPLY_AUDIENCE),
    ]
    about = "Tokens signed by the key `issuer`; a JWT's spelling is its issuer's, its bytes count."
    return {
        "about": about,
        "now_s": NOW_S,
        "trust": json.loads(TRUST.to_json()),
        "cases": cases,
    }


def _token_case(name: str, data: bytes, audience: str) -> dict[str, Any]:
    text = data.decode()
    return {
        "name": name,
        "audience": audience,
        "header": jwt.get_unverified_header(text),
        "claims": jwt.decode(text, options={"verify_signature": False}),
        "jwt": text,
        "ath": token_hash(data).hex(),
    }
