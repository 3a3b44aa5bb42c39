"""Messages to a worker: mutated as they are, and signed again behind the mutation.

`message` takes whole messages: nothing may be accepted but a seed, byte for byte. The others stand
for a caller with a key and a token of their own who signs whatever they like: `body` and
`protected` sign a mutated part, `token` brings a mutated token. What is accepted of theirs has to
be a command that holds.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from random import Random
from typing import Any, Final

import jwt
import msgpack
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from mallku_contracts import arguments as a
from mallku_contracts import codec
from mallku_contracts.arguments import read_arguments
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    command_signing_input,
    token_hash,
)
from mallku_contracts.limits import MAX_COMMAND_BYTES, MAX_PROTECTED_BYTES, MAX_TOKEN_BYTES
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.tokens import COMMAND_AUDIENCE
from tests.fuzz.gateway import (
    CALLERS,
    NOW_MS,
    SUBJECT_END,
    Gateway,
    Handled,
    message_bytes,
    seal,
)
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import BODIES
from tests.fuzz.structures import bent, inflated, pack
from tests.fuzz.targets import Target
from tests.support.simulated_caller import ISSUER_KEY, Sent

INFLATED: Final = 0.001
"""How many of all bodies are made as large as a message can be."""

_NAMES: Final = tuple(OPERATIONS)
_SKEW_MS: Final = 30_000
_DAY_S: Final = 24 * 3_600
ODD_SUBJECTS: Final = (
    "",
    ".",
    "mallku.v1.cmd",
    "mallku.v1.cmd.mallku.mallku.@.insert",
    "mallku.v1.cmd.mallku.mallku.memory_anchors.next",
    "mallku.v1.cur.mallku.mallku.w1.next",
    "mallku.v1.cur.mallku.mallku.w2.next",
    "mallku.v1.job.mallku.mallku.memory_anchors.insert",
    "mallku.v1.cmd.ruled.mallku.memory_anchors.insert",
    "mallku.v1.cmd.*.mallku.memory_anchors.insert",
    "mallku.v1.cmd.mallku.mallku.mallku_ledger.insert",
    "mallku.v1.cmd.mallku.mallku._system.insert",
    "mallku.v1.audit.mallku.mallku.memory_anchors.insert.done",
    "mallku.v1.cmd.mallku.mallku.memory_anchors.insert.more",
    "mallku.v2.cmd.mallku.mallku.memory_anchors.insert",
    "mallku.v1.cmd.mallku.mallku.memory_anchors." + "x" * 65,
)
ODD_REPLIES: Final = (
    "",
    "_INBOX.x.y",
    "_INBOX_mallku.ruled.box.1",
    "_INBOX_mallku.mallku",
    "_INBOX_mallku.mallku.",
    "_INBOX_mallku.mallku.>",
    "_INBOX_mallku.mallku.*",
    "_INBOX_mallku.mallku.a.b.c.d.e",
    "_INBOX_mallku.mallku.a b",
    "_INBOX_mallku.mallku.a\r\nPUB x 0\r\n",
    "_INBOX_mallku.mallkuu.a",
    "$JS.API.STREAM.DELETE.MALLKU_AUDIT",
    "mallku.v1.audit.mallku.mallku.memory_anchors.insert.done",
    "$KV.mallku_policy.current",
    "$SYS.REQ.SERVER.PING",
)


@cache
def _gateway() -> Gateway:
    return Gateway()


def _text(data: bytes) -> str:
    """As the connection hands over what stands in a protocol line."""
    return data.decode("utf-8", "replace")


@cache
def _good() -> dict[tuple[str, bytes], Sent]:
    """Every seed that may be accepted, by its subject and its bytes."""
    sent = [
        seal(caller, name, body)
        for caller in CALLERS
        for name, bodies in BODIES.items()
        for body in bodies
    ]
    return {(str(one.subject), one.data): one for one in sent}


# Whole messages


def message_target() -> Target:
    """Messages from somebody without a key."""
    seeds = [message_bytes(str(one.subject), one.reply, one.data) for one in _good().values()]
    return Target("message", run_message, make_message, tuple(seeds), weight=5.0, envelope=True)


def run_message(data: bytes) -> None:
    """Nothing is accepted but what was signed, on the subject it was signed for."""
    subject, _, rest = data.partition(SUBJECT_END)
    reply, _, body = rest.partition(SUBJECT_END)
    handled = _gateway().take(_text(subject), _text(reply), body)
    if handled.accepted:
        assert (_text(subject), body) in _good(), "a command was accepted that nobody signed"


def make_message(rng: Random) -> bytes:
    """One of the seeds with its data, a part of its data, its subject or its reply changed."""
    sent, other = rng.choices(list(_good().values()), k=2)
    subject, reply, data = str(sent.subject).encode(), sent.reply.encode(), sent.data
    kind = rng.random()
    if kind < 0.45:
        data = mutated(rng, data, other.data)
    elif kind < 0.75:
        data = _mutated_part(rng, sent.envelope, other.envelope)
    elif kind < 0.85:
        subject = _odd(rng, subject, ODD_SUBJECTS, str(other.subject))
    elif kind < 0.95:
        reply = _odd(rng, reply, ODD_REPLIES, other.reply)
    else:
        subject, reply = mutated(rng, subject), mutated(rng, reply)
        data = mutated(rng, data, other.data)
    return SUBJECT_END.join((subject, reply, data))


def _odd(rng: Random, value: bytes, odd: tuple[str, ...], other: str) -> bytes:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(odd).encode()
    return other.encode() if kind < 0.5 else mutated(rng, value, other.encode())


def _mutated_part(rng: Random, envelope: Envelope, other: Envelope) -> bytes:
    """One of the four parts changed, or taken from another message, with lengths that fit."""
    parts = [envelope.protected, envelope.body, envelope.signature, envelope.token]
    others = [other.protected, other.body, other.signature, other.token]
    which = rng.randrange(4)
    parts[which] = others[which] if rng.random() < 0.2 else mutated(rng, parts[which])
    packed: bytes = msgpack.packb(parts, use_bin_type=True)
    return packed


# Signed again: the body


def body_target() -> Target:
    """Bodies that a caller signed."""
    seeds = [
        bytes([which, place]) + codec.pack(body)
        for which in range(len(CALLERS))
        for place, name in enumerate(_NAMES)
        for body in BODIES[name]
    ]
    return Target("body", run_body, make_body, tuple(seeds), weight=3.0, envelope=True)


def run_body(data: bytes) -> None:
    """Two bytes choose caller and operation, the rest is the body that they sign."""
    caller = CALLERS[data[0] % len(CALLERS)] if data else CALLERS[0]
    name = _NAMES[data[1] % len(_NAMES)] if len(data) > 1 else "insert"
    body = data[2:]
    if len(body) > MAX_COMMAND_BYTES - 4_096:
        return
    sent = seal(caller, name, body)
    handled = _gateway().take(str(sent.subject), sent.reply, sent.data)
    if handled.accepted:
        _check_accepted(handled, name, body)


def _check_accepted(handled: Handled, name: str, body: bytes) -> None:
    """What was accepted is a map of arguments that hold, and it is what the store was asked."""
    values = codec.unpack(body)
    assert isinstance(values, dict), "accepted, and no map"
    arguments = read_arguments(OPERATIONS[name].arguments, values)
    for work in handled.works:
        assert work.operation.name == name, "the store was asked for something else"
        narrowed = isinstance(arguments, a.Find)
        assert narrowed or work.arguments == arguments, "the store was given other arguments"


def make_body(rng: Random) -> bytes:
    """A body of one operation, bent before or behind its packing."""
    place = rng.randrange(len(_NAMES))
    body = rng.choice(BODIES[_NAMES[place]])
    kind = rng.random()
    if kind < INFLATED:
        packed = _packed(rng, inflated(rng, bent(rng, body)))[: MAX_COMMAND_BYTES - 8_192]
    elif kind < 0.65:
        packed = _packed(rng, bent(rng, body))
    elif kind < 0.95:
        packed = mutated(rng, codec.pack(body))
    else:
        packed = mutated(rng, codec.pack(rng.choice(BODIES[rng.choice(_NAMES)])))
    return bytes([rng.randrange(len(CALLERS)), place]) + packed


def _packed(rng: Random, value: Any) -> bytes:
    try:
        return pack(rng, value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return b"\xc1"


# Signed again: the protected part


def protected_target() -> Target:
    """Protected parts that a caller signed."""
    seeds = [
        SUBJECT_END.join((subject.encode(), sent.envelope.protected))
        for (subject, _), sent in _good().items()
    ]
    return Target(
        "protected", run_protected, make_protected, tuple(seeds), weight=1.0, envelope=True
    )


def run_protected(data: bytes) -> None:
    """The first line is the subject, the rest the protected part; both are signed."""
    line, _, protected = data.partition(SUBJECT_END)
    subject, caller = _text(line), CALLERS[0]
    operation = subject.rpartition(".")[2]
    body = codec.pack(BODIES[operation][0]) if operation in BODIES else b"\x80"
    signature = caller.key.sign(command_signing_input(subject, protected, body))
    message = Envelope(protected, body, signature, caller.token).join()
    reply = f"_INBOX_mallku.{caller.principal}.a"
    if _gateway().take(subject, reply, message).accepted:
        _check_header(subject, protected)


def _check_header(subject: str, protected: bytes) -> None:
    """By the words of `docs/wire.md`, not by our own reader."""
    assert len(protected) <= MAX_PROTECTED_BYTES
    pairs = msgpack.unpackb(protected, object_pairs_hook=list)
    fields, caller = dict(pairs), CALLERS[0]
    assert len(pairs) == len(fields) == 13, "a field twice, missing or unknown"
    _, _, channel, principal, database, place, operation = subject.split(".")
    assert (fields["op"], fields["db"]) == (operation, database)
    assert fields["col"] == ("@" if channel == "cur" else place)
    assert principal == caller.principal
    assert fields["reply"] == f"_INBOX_mallku.{principal}"
    assert fields["kid"] == caller.key.kid
    assert fields["ath"] == token_hash(caller.token)
    assert fields["v"] == 1
    assert 0 < fields["exp"] - fields["iat"] <= 60_000, "a life out of range"
    assert fields["iat"] - _SKEW_MS <= NOW_MS <= fields["exp"] + _SKEW_MS, "out of its time"
    assert 1 <= fields["attempt"] <= 1_000
    assert 1 <= fields["budget"] <= 60_000
    assert 1 <= len(fields["idem"]) <= 128


def make_protected(rng: Random) -> bytes:
    """A header bent in its fields, or in its bytes, now and then on another subject."""
    (subject, _), sent = rng.choice(list(_good().items()))
    line = subject.encode()
    if rng.random() < 0.1:
        line = _odd(rng, line, ODD_SUBJECTS, rng.choice(ODD_SUBJECTS))
    if rng.random() < 0.5:
        fields = {name: getattr(sent.header, name) for name in CommandHeader.__slots__}
        protected = _packed(rng, _bent_header(rng, fields))
    else:
        protected = mutated(rng, sent.envelope.protected)
    return SUBJECT_END.join((line, protected))


def _bent_header(rng: Random, fields: dict[str, Any]) -> Any:
    name = rng.choice(("iat", "exp", "budget", "attempt", "v"))
    if rng.random() < 0.5:
        edges = (-1, 1, 1_000, 30_000, 60_000, 90_000, -30_001, -60_000, 2**48, -(2**63))
        fields[name] += rng.choice(edges)
        return fields
    return bent(rng, fields)


# Another token


def token_target() -> Target:
    """Tokens that a caller brings."""
    return Target(
        "token", run_token, make_token, tuple(one.token for one in CALLERS), weight=1.0,
        envelope=True,
    )  # fmt: skip


def run_token(data: bytes) -> None:
    """The bytes are the token of a message that the caller signs."""
    caller = CALLERS[0]
    token = data[: MAX_TOKEN_BYTES + 1] or b"."
    sent = seal(caller, "insert", BODIES["insert"][0], token=token)
    handled = _gateway().take(str(sent.subject), sent.reply, sent.data)
    if handled.accepted and token != caller.token:
        _check_token(token)


def _check_token(token: bytes) -> None:
    """Another token than the caller's was believed: the issuer signed it, and its claims hold."""
    signed, _, signature = token.rpartition(b".")
    try:
        VerifyKey(ISSUER_KEY.public.raw).verify(signed, urlsafe_b64decode(signature + b"=="))
    except BadSignatureError:
        raise AssertionError("a token was believed that the issuer did not sign") from None
    header, claims = (json.loads(urlsafe_b64decode(part + b"==")) for part in signed.split(b"."))
    caller, now_s = CALLERS[0], NOW_MS // 1_000
    assert (header["alg"], header["kid"]) == ("EdDSA", ISSUER_KEY.kid)
    assert (claims["sub"], claims["aud"]) == (caller.principal, COMMAND_AUDIENCE)
    assert claims["cnf"]["jwk"]["x"] == caller.key.public.jwk()["x"], "another key was believed"
    assert claims["iat"] - 30 <= now_s < claims["exp"] + 30, "a token out of its time"
    assert 0 < claims["exp"] - claims["iat"] <= _DAY_S


def make_token(rng: Random) -> bytes:
    """The caller's token with other bytes, or other claims under some signature."""
    token = rng.choice(CALLERS).token
    if rng.random() < 0.4:
        return mutated(rng, token)
    text = token.decode()
    header = jwt.get_unverified_header(text)
    claims = jwt.decode(text, options={"verify_signature": False})
    if rng.random() < 0.4:
        header = bent(rng, header | {"alg": rng.choice(("EdDSA", "none", "HS256", "None", 1))})
    if rng.random() < 0.7:
        claims = bent(rng, claims)
    signed = b".".join(_json_part(part) for part in (header, claims))
    return signed + b"." + _signature(rng, signed, token)


def _json_part(value: Any) -> bytes:
    try:
        text = json.dumps(value, default=repr)
    except (TypeError, RecursionError):
        text = "{}"
    return urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=")


def _signature(rng: Random, signed: bytes, token: bytes) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return token.rpartition(b".")[2]
    if kind == 1:
        return b""
    key = ISSUER_KEY if kind == 2 else CALLERS[0].key
    return urlsafe_b64encode(key.sign(signed)).rstrip(b"=")
