"""Messages that a worker refuses, each at its step and with its code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from mallku_contracts import errors as e
from mallku_contracts.envelope import (
    Envelope,
    command_signing_input,
    token_hash,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import base64url
from mallku_contracts.limits import MAX_DEPTH
from mallku_contracts.subjects import CommandSubject
from tests.vectors.commands import (
    DOCUMENT,
    FIRST,
    GET,
    INSERT,
    JOB_IN_ORDER,
    JOB_LATER,
    JOB_NOW,
    LIST,
    sealed,
)
from tests.vectors.world import (
    CALLER_TOKEN,
    ISSUER,
    KEYS,
    NOW_MS,
    NOW_S,
    WORKER_TOKEN,
    header,
    packed,
    token,
)

STEPS: Final = (
    "split", "header", "times", "subject", "token", "principal", "key", "signature", "body"
)  # fmt: skip
"""In the order in which a worker checks them."""

Refusal = tuple[str, str, type[e.MallkuError], CommandSubject, bytes]

BODY: Final = packed(DOCUMENT)
GOOD: Final = Envelope.split(sealed(INSERT, FIRST, BODY))
PARTS: Final = (GOOD.protected, GOOD.body, GOOD.signature, GOOD.token)
FIELDS: Final[dict[str, Any]] = {
    name: value for name, value in asdict(FIRST).items() if value is not None
}
JOB: Final[dict[str, Any]] = {"run_at": 0, "order": ""}
WEEK_MS: Final = 7 * 86_400_000
STORED_IN_THE_OTHER: Final = CommandSubject.build("mallku", "main", "fire_circle", "insert")
OPERATOR: Final = CommandSubject.build("operator", "main", "memory_anchors", "insert")


def signed(
    protected: bytes,
    body: bytes = BODY,
    *,
    subject: CommandSubject = INSERT,
    key: str = "caller",
    bearer: bytes = CALLER_TOKEN,
) -> bytes:
    """A message whose signature holds, whatever stands in its parts."""
    signature = KEYS[key].sign(command_signing_input(str(subject), protected, body))
    return Envelope(protected, body, signature, bearer).join()


def with_header(subject: CommandSubject = INSERT, **changes: Any) -> bytes:
    """A message, signed, whose header has `changes`."""
    return signed(packed({**FIELDS, **changes}), subject=subject)


def with_token(bearer: bytes, **changes: Any) -> bytes:
    """A message, signed, that brings another token and names it."""
    return signed(packed({**FIELDS, "ath": token_hash(bearer), **changes}), bearer=bearer)


def _shapes() -> Iterator[Refusal]:
    shape = e.MalformedEnvelope
    for name, data in (
        ("nothing at all", b""),
        ("text", b"GET / HTTP/1.1\r\n\r\n"),
        ("cut off in the last byte", packed(PARTS)[:-1]),
        ("something follows", packed(PARTS) + b"\xc0"),
        ("three parts", packed(PARTS[:3])),
        ("five parts", packed([*PARTS, b""])),
        ("a map", packed({"protected": GOOD.protected})),
        ("a text in the place of bytes", packed([*PARTS[:3], GOOD.token.decode()])),
        ("null in the place of the body", packed([PARTS[0], None, *PARTS[2:]])),
        ("an extension type", b"\x94\xd4\x01\x00\xc0\xc0\xc0"),
        ("an array that announces 4 billion parts", b"\xdd\xff\xff\xff\xff\xc4\x00"),
        ("a thousand arrays inside each other", b"\x91" * 1_000 + b"\xc0"),
        ("a signature of 63 bytes", packed([*PARTS[:2], PARTS[2][:63], PARTS[3]])),
        ("a protected part of 2049 bytes", packed([bytes(2_049), *PARTS[1:]])),
        ("a token of 8193 bytes", packed([*PARTS[:3], b"a" * 8_193])),
    ):
        yield name, "split", shape, INSERT, data


def _headers() -> Iterator[Refusal]:
    shape, version = e.MalformedEnvelope, e.UnsupportedVersion
    without_exp = {name: value for name, value in FIELDS.items() if name != "exp"}
    twice = b"\x8e" + GOOD.protected[1:] + packed("op") + packed("get")
    for name, kind, data in (
        ("protected is not msgpack", shape, signed(b"\xc1")),
        ("protected is an array", shape, signed(packed([1]))),
        ("a field twice", shape, signed(twice)),
        ("a field missing", shape, signed(packed(without_exp))),
        ("a field too many", shape, with_header(admin=True)),
        ("a field inside a field", shape, with_header(kid={"kid": "x"})),
        ("version 2", version, with_header(v=2)),
        ("version true", version, with_header(v=True)),
        ("an id that is a UUIDv4", shape, with_header(id="1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b")),
        ("an id in capitals", shape, with_header(id=FIRST.id.upper())),
        ("a time that is a float", shape, with_header(iat=float(NOW_MS))),
        ("a time below zero", shape, with_header(iat=-1)),
        ("attempt 0", shape, with_header(attempt=0)),
        ("attempt true", shape, with_header(attempt=True)),
        ("a budget of nothing", shape, with_header(budget=0)),
        ("a budget above a minute", shape, with_header(budget=60_001)),
        ("an empty idempotency key", shape, with_header(idem="")),
        ("an idempotency key of 129 characters", shape, with_header(idem="k" * 129)),
        ("a token hash of 31 bytes", shape, with_header(ath=bytes(31))),
        ("one of a job's two fields", shape, with_header(JOB_NOW, run_at=0)),
        ("a job after its end", shape, with_header(JOB_LATER, **JOB | {"run_at": NOW_MS + 30_001})),
        (
            "an ordering key of 129 characters",
            shape,
            with_header(JOB_NOW, **JOB | {"order": 129 * "k"}),
        ),
        ("a time and an order", shape, with_header(JOB_LATER, run_at=NOW_MS + 1, order="k")),
    ):
        yield name, "header", kind, INSERT, data


def _times() -> Iterator[Refusal]:
    old, early = NOW_MS - 90_000, NOW_MS + 30_001
    cases: tuple[tuple[str, type[e.MallkuError], dict[str, Any]], ...] = (
        ("stale", e.StaleCommand, {"iat": old, "exp": NOW_MS - 30_001}),
        ("from the future", e.CommandFromFuture, {"iat": early, "exp": early + 1_000}),
        ("valid for longer than a minute", e.MalformedEnvelope, {"exp": NOW_MS + 60_001}),
        ("over before it began", e.MalformedEnvelope, {"exp": NOW_MS}),
        ("an id from the future", e.MalformedEnvelope, {"id": uuid7(NOW_MS + 30_001, 1)}),
        ("an id made too long ago", e.MalformedEnvelope, {"id": uuid7(NOW_MS - 90_001, 1)}),
        ("a job for longer than a week", e.MalformedEnvelope, {"exp": NOW_MS + WEEK_MS + 1, **JOB}),
    )
    for name, kind, changes in cases:
        yield name, "times", kind, INSERT, with_header(**changes)


def _subjects() -> Iterator[Refusal]:
    good = GOOD.join()
    kind = e.SubjectMismatch
    for name, subject, data in (
        ("aimed at another operation", GET, good),
        ("a command among the jobs", JOB_NOW, with_header(JOB_NOW)),
        ("a job among the commands", INSERT, with_header(**JOB)),
        ("a job in order, sent without", JOB_NOW, with_header(JOB_NOW, run_at=0, order="k")),
        ("a job under another key", JOB_IN_ORDER, with_header(JOB_IN_ORDER, run_at=0, order="k")),
        ("aimed at another collection", STORED_IN_THE_OTHER, good),
        ("aimed at no collection", LIST, good),
        (
            "aimed at another database",
            CommandSubject("mallku", "b", INSERT.collection, "get"),
            good,
        ),
        ("sent in another principal's name", OPERATOR, good),
        ("asking for the reply elsewhere", INSERT, with_header(reply="_INBOX_mallku.operator")),
        ("asking for the reply below a name", INSERT, with_header(reply="_INBOX_mallku.mallku.x")),
    ):
        yield name, "subject", kind, subject, data


def _raw_token(head: dict[str, Any], **changes: Any) -> bytes:
    claims = json.loads(base64.urlsafe_b64decode(CALLER_TOKEN.split(b".")[1] + b"=="))
    parts = (json.dumps(part, sort_keys=True).encode() for part in (head, {**claims, **changes}))
    text = ".".join(map(base64url, parts))
    return f"{text}.{base64url(KEYS['issuer'].sign(text.encode()))}".encode()


def _confused_token() -> bytes:
    """HS512 with the issuer's public key for a secret: the classic confusion."""
    text = _raw_token({"alg": "HS512", "kid": KEYS["issuer"].kid}).rpartition(b".")[0]
    tag = hmac.new(KEYS["issuer"].public.raw, text, hashlib.sha512).digest()
    return text + b"." + base64url(tag).encode()


def _tokens() -> Iterator[Refusal]:
    head = {"alg": "EdDSA", "kid": KEYS["issuer"].kid}
    own = {**head, "kid": KEYS["stranger"].kid, "jwk": KEYS["stranger"].public.jwk()}
    respelled = CALLER_TOKEN[:-1] + bytes([CALLER_TOKEN[-1] + 1])
    bad = e.InvalidToken
    for name, kind, bearer in (
        ("no token", bad, b""),
        ("not a JWT", bad, b"a.b.c"),
        ("alg none", bad, _raw_token({**head, "alg": "none"})),
        ("alg HS512 over the public key", bad, _confused_token()),
        ("a key of its own in the header", bad, _raw_token(own)),
        ("a critical extension", bad, _raw_token({**head, "crit": ["x"], "x": 1})),
        ("an unknown key id", bad, token("stranger")),
        ("another issuer's name", bad, token(issuer="https://elsewhere.example")),
        ("claims altered", bad, _altered_token()),
        ("its signature spelled otherwise", bad, respelled),
        ("padding behind it", bad, CALLER_TOKEN + b"=="),
        ("made for replies", bad, WORKER_TOKEN),
        ("several audiences", bad, _raw_token(head, aud=["mallku-command", "x"])),
        ("an issuer that is no text", bad, _raw_token(head, iss=[ISSUER])),
        ("a role that is no text", bad, _raw_token(head, roles=["writer", 1])),
        ("a time that is a text", bad, _raw_token(head, exp=str(NOW_S + 60))),
        ("a principal with a dot", bad, _raw_token(head, sub="mallku.root")),
        ("no key to sign with", bad, _raw_token(head, cnf={})),
        ("valid for more than a day", bad, token(expires_at=NOW_S + 100_000)),
        ("expired", e.TokenExpired, token(issued_at=NOW_S - 100, expires_at=NOW_S - 30)),
        ("not valid yet", e.TokenExpired, _raw_token(head, nbf=NOW_S + 31)),
    ):
        yield f"token: {name}", "token", kind, INSERT, with_token(bearer)
    yield "token: not the one that was signed", "token", bad, INSERT, with_header(ath=bytes(32))


def _altered_token() -> bytes:
    head, _, tag = CALLER_TOKEN.split(b".")
    claims = _raw_token({}, roles=["admin"]).split(b".")[1]
    return b".".join((head, claims, tag))


def _identities() -> Iterator[Refusal]:
    as_operator = header(OPERATOR).pack()
    borrowed = signed(as_operator, subject=OPERATOR)
    stolen = signed(packed({**FIELDS, "kid": KEYS["stranger"].kid}), key="stranger")
    forged = signed(GOOD.protected, key="stranger")
    altered = packed({"document": {**DOCUMENT["document"], "weight": 4}})
    aimed = with_header(GET, op="insert")
    yield "another principal's token", "principal", e.PrincipalMismatch, OPERATOR, borrowed
    yield "a stolen token, signed by the thief", "key", e.InvalidSignature, INSERT, stolen
    for name, data in (
        ("the thief names the owner's key", forged),
        ("not signed", Envelope(GOOD.protected, BODY, b"", CALLER_TOKEN).join()),
        ("the body altered", Envelope(GOOD.protected, altered, GOOD.signature, GOOD.token).join()),
        ("the header altered", _header_altered()),
        ("signed for another subject", aimed),
    ):
        yield name, "signature", e.InvalidSignature, INSERT, data


def _header_altered() -> bytes:
    other = packed({**FIELDS, "budget": 60_000})
    return Envelope(other, GOOD.body, GOOD.signature, GOOD.token).join()


def _bodies() -> Iterator[Refusal]:
    deep = b"\x81\xa1a" * (MAX_DEPTH + 1) + b"\xc0"
    for name, body in (
        ("empty", b""),
        ("a list", packed([1])),
        ("not msgpack", b"\xc1"),
        ("something follows", BODY + b"\xc0"),
        ("a key twice", b"\x82\xa1a\x01\xa1a\x02"),
        ("a key that is a number", packed({1: 2})),
        ("NaN", packed({"weight": float("nan")})),
        ("infinity", packed({"weight": float("inf")})),
        ("bytes", packed({"document": b"\x00"})),
        ("an extension type", b"\x81\xa1a\xd4\x01\x00"),
        ("a timestamp", b"\x81\xa1a\xd6\xff\x00\x00\x00\x00"),
        ("text that is not UTF-8", b"\x81\xa1a\xa1\xff"),
        ("65 levels", deep),
        ("lists that announce what does not follow", b"\xdd\x00\x01\x86\xa0" * 60),
    ):
        yield f"body: {name}", "body", e.MalformedBody, INSERT, signed(GOOD.protected, body)


def refusals() -> Iterator[Refusal]:
    """Name, step, error, subject and message of each."""
    for group in (_shapes, _headers, _times, _subjects, _tokens, _identities, _bodies):
        yield from group()


def vectors() -> dict[str, Any]:
    """Every refusal with the code that answers it."""
    return {
        "about": "Messages a worker refuses at `now_ms`, with the first of `steps` that does.",
        "now_ms": NOW_MS,
        "steps": STEPS,
        "cases": [
            {
                "name": name,
                "step": step,
                "code": kind.code,
                "number": kind.number,
                "subject": str(subject),
                "message": message.hex(),
            }
            for name, step, kind, subject, message in refusals()
        ],
    }
