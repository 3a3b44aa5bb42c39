"""Proofs of possession: what they say, what they cover, and how they can be wrong."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.dpop import (
    MAX_PROOF_ATTEMPTS,
    Asked,
    Evidence,
    Proof,
    make_proof,
    unpack_proven,
)
from mallku_contracts.envelope import CommandHeader, command_signing_input
from mallku_contracts.errors import InvalidProof, MessageTooLarge
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import (
    ITEMS_FOR_EACH,
    MAX_PROVEN_BYTES,
    MAX_PROVEN_CONTAINERS,
    MAX_PROVEN_FLOATS,
)
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


def _packed(arguments: Any) -> bytes:
    return codec.pack_trusted(arguments)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_packed({"a": "x" * MAX_PROVEN_BYTES}), f"{MAX_PROVEN_BYTES} bytes"),
        (_packed({"a": [{}] * MAX_PROVEN_CONTAINERS}), "arrays and maps"),
        (_packed({"a": [1] * (MAX_PROVEN_CONTAINERS * ITEMS_FOR_EACH)}), "items altogether"),
        (_packed({"a": [0.5] * (MAX_PROVEN_FLOATS + 1)}), "numbers with a fraction"),
        (_packed([{"a": [0.5] * 5}] * (MAX_PROVEN_FLOATS // 5 + 1)), "numbers with a fraction"),
    ],
)
def test_more_than_is_quickly_spelled_out_is_refused(body: bytes, said: str) -> None:
    """What would keep a worker busy to hash is refused by its size, before it is hashed."""
    with pytest.raises(MessageTooLarge, match=f"a door carries at most .*{said}"):
        unpack_proven(body)


def test_what_is_just_small_enough_is_unpacked() -> None:
    """Each bound is the last value that is taken; what is no msgpack stays what it was."""
    values: tuple[Any, ...] = (
        "x" * (MAX_PROVEN_BYTES - 8),
        [{}] * (MAX_PROVEN_CONTAINERS - 2),
        [0.5] * MAX_PROVEN_FLOATS,
    )
    for arguments in ({"a": value} for value in values):
        assert unpack_proven(_packed(arguments)) == arguments
    with pytest.raises(codec.CodecError):
        unpack_proven(b"\xc1")
