"""Proofs of possession: what they say, what they cover, and how they can be wrong."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.canonical import canonical
from mallku_contracts.dpop import (
    MAX_PROOF_ATTEMPTS,
    Asked,
    Evidence,
    Proof,
    make_proof,
)
from mallku_contracts.envelope import CommandHeader, command_signing_input
from mallku_contracts.errors import InvalidProof
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_contracts.trail.entry import read_entry

KEY = SigningKey(b"c" * 32)
OTHER = SigningKey(b"o" * 32)
TOKEN = b"header.claims.signature"
NOW_S = 1_800_000_000
ASKED = Asked("insert", "mallku", "notes", {"document": {"n": 1.5, "ä": None}})


def proof(**changes: Any) -> bytes:
    """A proof that holds, but for the changes."""
    fields: dict[str, Any] = {
        "method": "POST",
        "url": "https://door.example/api/v1/collections/notes/documents",
        "now_s": NOW_S,
        "token_id": "one",
        "command": ASKED.digest(),
    }
    return make_proof(changes.pop("key", KEY), TOKEN, **(fields | changes))


def raw(headers: dict[str, Any], claims: dict[str, Any], key: SigningKey = KEY) -> bytes:
    """A proof with these headers and claims, signed."""
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    return jwt.encode(claims, private, algorithm="EdDSA", headers=headers).encode()


def parts(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Headers and claims of a proof."""
    return (
        jwt.get_unverified_header(text.decode()),
        jwt.decode(text.decode(), options={"verify_signature": False}),
    )


def _without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def verify(text: bytes) -> Proof:
    """As a worker does."""
    return Proof.verify(text, token=TOKEN, key=KEY.public)


def test_proof_says_what_it_was_made_of() -> None:
    """Method, origin, path, time and command come back; the digest names the proof."""
    held = verify(proof(url="https://Door.Example/api/v1/x?query=left"))
    assert (held.method, held.origin, held.path) == ("POST", "https://door.example", "/api/v1/x")
    assert (held.issued_s, held.command) == (NOW_S, ASKED.digest())
    held.check_covers(ASKED)
    assert verify(proof()).digest == verify(proof()).digest
    assert verify(proof()).digest != verify(proof(token_id="two")).digest


def test_everything_that_is_asked_is_covered() -> None:
    """One change in any part of a command leaves the proof without worth."""
    held = verify(proof())
    for other in (
        Asked("replace", "mallku", "notes", ASKED.arguments),
        Asked("insert", "other", "notes", ASKED.arguments),
        Asked("insert", "mallku", "other", ASKED.arguments),
        Asked("insert", "mallku", "notes", {"document": {"n": 1.5}}),
        Asked("insert", "mallku", "notes", ASKED.arguments, "key"),
        Asked("insert", "mallku", "notes", ASKED.arguments, job={"run_at": 0, "order": ""}),
        Asked("insert", "mallku", "notes", {"document": {"n": float("nan")}}),
    ):
        with pytest.raises(InvalidProof):
            held.check_covers(other)


def test_plain_proof_covers_what_method_and_path_say() -> None:
    """Each command that a path says has that path alone; none has two."""
    for asked, expected in (
        (("get", "c", {"document": "k y"}), ("GET", "/collections/c/documents/k%20y")),
        (("exists", "c", {"document": "k"}), ("HEAD", "/collections/c/documents/k")),
        (("delete", "c", {"document": "k"}), ("DELETE", "/collections/c/documents/k")),
        (("find", "c", {}), ("GET", "/collections/c/documents")),
        (("count", "c", {}), ("GET", "/collections/c/count")),
        (("list-collections", "@", {}), ("GET", "/collections")),
        (("outcome", "@", {"idempotency_key": "a/b"}), ("GET", "/jobs/a%2Fb")),
    ):
        operation, collection, arguments = asked
        command = Asked(operation, "d", collection, arguments)
        method, path = expected
        assert command.plain_request() == (method, f"/api/v1{path}")
        held = verify(proof(method=method, url=f"https://d/api/v1{path}", command=None))
        held.check_covers(command)


@pytest.mark.parametrize(
    "asked",
    [
        Asked("get", "d", "c", {"document": "c/k"}),
        Asked("get", "d", "c", {"document": {"_key": "k"}}),
        Asked("get", "d", "c", {"document": "k", "rev": "1"}),
        Asked("get", "d", "c", {"document": "k"}, "named"),
        Asked("delete", "d", "c", {"document": "k"}, job={"run_at": 0, "order": ""}),
        Asked("insert", "d", "c", {"document": {}}),
        Asked("truncate", "d", "c", {}),
        Asked("drop-collection", "d", "c", {}),
        Asked("find", "d", "c", {"limit": 1}),
        Asked("aql", "d", "@", {"query": "RETURN 1"}),
    ],
)
def test_no_path_says_all_of_it(asked: Asked) -> None:
    """What has content, a condition, a selection or great effect needs the claim."""
    assert asked.plain_request() is None


def test_proof_that_is_not_one_is_refused() -> None:
    """Another key, another token, altered bytes, and every header and claim that is wrong."""
    headers, claims = parts(proof())
    wrong = [
        proof(key=OTHER),
        raw(headers, claims, OTHER),
        raw(headers | {"jwk": OTHER.public.jwk()}, claims, OTHER),
        raw(headers | {"typ": "JWT"}, claims),
        raw(headers | {"kid": "x"}, claims),
        raw(headers | {"jwk": {**headers["jwk"], "d": "x"}}, claims),
        raw({"typ": "dpop+jwt"}, claims),
        raw(headers, claims | {"ath": "x"}),
        raw(headers, claims | {"jti": ""}),
        raw(headers, claims | {"jti": "x" * 200}),
        raw(headers, claims | {"iat": "1"}),
        raw(headers, claims | {"iat": -1}),
        raw(headers, claims | {"iat": 10**18}),
        raw(headers, claims | {"htu": "ftp://x/"}),
        raw(headers, claims | {"htu": "/api"}),
        raw(headers, claims | {"htu": "http://[x"}),
        raw(headers, claims | {"cmd": 3}),
        *(raw(headers, _without(claims, name)) for name in claims if name != "cmd"),
        b"",
        b"a.b.c",
        proof() + b"A",
        proof()[:-1],
        b"x" * 100_000,
    ]
    for text in wrong:
        with pytest.raises(InvalidProof):
            verify(text)
    with pytest.raises(InvalidProof, match="ath"):
        Proof.verify(proof(), token=b"another", key=KEY.public)


def test_none_and_symmetric_algorithms_prove_nothing() -> None:
    """A proof without a signature, or signed with the public key as a secret, is refused."""
    headers, claims = parts(proof())
    jwk = {"typ": "dpop+jwt", "jwk": headers["jwk"]}
    unsigned = jwt.encode(claims, "", algorithm="none", headers=jwk)
    shared = jwt.encode(claims, KEY.public.raw, algorithm="HS256", headers=jwk)
    for text in (unsigned, shared):
        with pytest.raises(InvalidProof):
            verify(text.encode())


def test_signature_has_one_spelling() -> None:
    """The unused bits at its end cannot make a second proof of one."""
    text = proof()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in alphabet:
        other = text[:-1] + bytes([letter])
        if other != text:
            with pytest.raises(InvalidProof):
                verify(other)


def test_proof_lives_a_minute() -> None:
    """From its `iat`, the clocks' difference granted on both sides."""
    held = verify(proof())
    for now_s in (NOW_S - 30, NOW_S, NOW_S + 89):
        held.check_times(now_s, 30)
    for now_s in (NOW_S - 31, NOW_S + 90):
        with pytest.raises(InvalidProof):
            held.check_times(now_s, 30)


def test_ids_are_the_proofs_own() -> None:
    """Each attempt has one id, a UUIDv7 of the proof's time; no two proofs share any."""
    one, two = verify(proof()), verify(proof(token_id="two"))
    ids = [held.command_id(n) for held in (one, two) for n in range(1, MAX_PROOF_ATTEMPTS + 1)]
    assert len(set(ids)) == 2 * MAX_PROOF_ATTEMPTS
    assert all(map(is_uuid7, ids))
    assert {uuid7_ms(each) for each in ids} == {NOW_S * 1_000}
    assert one.command_id(1) == verify(proof()).command_id(1)
    assert one.named_key(one.command_id(1)) == ""
    assert one.named_key("named") == "named"
    assert one.named_key(two.command_id(1)) != ""


def test_token_part_has_one_text_or_three() -> None:
    """Who speaks for themselves brings one token; a door brings its own, theirs and a proof."""
    evidence = Evidence(b"a.b.c", b"d.e.f", b"g.h.i")
    assert Evidence.split(evidence.join()) == evidence
    assert Evidence.split(b"a.b.c") is None
    for text in (b"a~b", b"a~b~c~d", b"~"):
        with pytest.raises(InvalidProof):
            Evidence.split(text)
    assert "d.e.f" not in repr(evidence)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (1e-6, "0.000001"),
        (-1.5e-10, "-1.5e-10"),
        (1.2345678901234567e20, "123456789012345670000"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2**63, "9223372036854775808"),
        ('1.0e5 "\\\n\u20ac\u0007', '"1.0e5 \\"\\\\\\n€\\u0007"'),
        ({"b": [1.0, None, True], "a": {}}, '{"a":{},"b":[1,null,true]}'),
    ],
)
def test_canonical_json_is_what_ecmascript_writes(value: object, text: str) -> None:
    """Numbers, strings and order are RFC 8785's."""
    assert canonical(value).decode() == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(-1e15, 1e15)  # beyond it a whole float reads as an integer
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_canonical_json_means_its_value(value: object) -> None:
    """Read again it is the same value, and its spelling stays."""
    text = canonical(value)
    again = json.loads(text)
    assert canonical(again) == text
    assert again == value


def test_what_json_cannot_say_is_refused() -> None:
    """NaN, infinities, bytes and lone surrogates have no spelling."""
    for value in (float("nan"), float("inf"), b"x", "\ud800", {"x": [object()]}):
        with pytest.raises(ValueError):  # noqa: PT011 - the messages are the library's
            canonical(value)


def test_digest_is_the_one_in_the_documentation() -> None:
    """What `docs/http.md` gives as an example."""
    document = {"kind": "khipu", "weight": 3}
    asked = Asked("insert", "mallku", "memory_anchors", {"document": document})
    raw_hash = base64.urlsafe_b64decode(asked.digest() + "=")
    assert len(raw_hash) == 32
    assert asked.digest() == DIGEST


DIGEST = "JxMFzZqIAYfZDy0LWOvIfojJLvJ7kbY18280NGlnh78"


def carried(**changes: Any) -> Record:
    """The intent of a command that a door signed, under a proof of its caller's."""
    door, text = SigningKey(b"d" * 32), changes.pop("proof", proof())
    held = Proof.read(text)
    subject = CommandSubject("alice", "mallku", "notes", "insert")
    header = CommandHeader(
        v=1,
        kid=door.kid,
        id=held.command_id(1),
        iat=NOW_S * 1_000,
        exp=NOW_S * 1_000 + 5_000,
        budget=5_000,
        attempt=1,
        op="insert",
        db="mallku",
        col="notes",
        idem=held.command_id(1),
        reply=inbox_prefix("alice"),
        ath=bytes(32),
    )
    body = codec.pack(changes.pop("arguments", dict(ASKED.arguments)))
    signature = door.sign(command_signing_input(str(subject), header.pack(), body))
    fields: dict[str, Any] = {
        "kind": "intent",
        "worker": "w",
        "number": 1,
        "time": NOW_S * 1_000,
        "id": header.id,
        "principal": "alice",
        "subject": str(subject),
        "attempt": 1,
        "kid": door.kid,
        "command": (header.pack(), body, signature, door.public.raw),
        "via": {"door": "http", "kid": KEY.kid, "proof": text},
    }
    return Record(**(fields | changes))


def found(record: Record) -> list[str]:
    """What a verifier finds in this record alone."""
    entry = read_entry(1, "mallku.v1.audit.alice.mallku.notes.insert.intent", record.pack())
    return [problem.text for problem in entry.problems]


def test_auditor_checks_the_proof_against_the_recorded_command() -> None:
    """A door cannot have recorded what its caller did not ask for: everybody can see it."""
    assert found(carried()) == []
    for wrong in (
        carried(arguments={"document": {"n": 2}}),
        carried(via={"door": "http", "kid": OTHER.kid, "proof": proof()}),
        carried(via={"door": "http", "kid": KEY.kid, "proof": proof(token_id="two")}),
        carried(via={"door": "http", "kid": KEY.kid}),
        carried(via={"door": "http", "kid": KEY.kid, "proof": "text"}),
        carried(via={"door": "http", "kid": KEY.kid, "proof": b"junk"}),
    ):
        assert any("proof does not hold" in text for text in found(wrong))


def test_canonical_spelling_costs_little_whatever_is_in_a_text() -> None:
    """Escapes and numbers within texts cost no more than a few times what plain text does."""

    def cost_s(text: str) -> float:
        began = time.perf_counter()
        canonical({"text": text, "odd": 1.0})
        return time.perf_counter() - began

    cost_s("warm")
    plain_s = min(cost_s("1.0x" * 400_000) for _ in range(3))
    assert min(cost_s("\x01" * 270_000) for _ in range(3)) < 20 * plain_s + 0.05
    assert canonical({"a": ["1.0", '"', "\\", -0.0, 1.0]}) == b'{"a":["1.0","\\"","\\\\",0,1]}'
