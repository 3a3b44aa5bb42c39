"""The stored vectors of doors hold for whoever reads nothing but them and the documents."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from mallku_contracts.dpop import Asked, Evidence, Proof
from mallku_contracts.envelope import CommandHeader, Envelope, command_signing_input, token_hash
from mallku_contracts.keys import PublicKey, SigningKey
from tests.vectors import generate

STORED: dict[str, Any] = json.loads((generate.FOLDER / "doors.json").read_text("utf-8"))


def _uuid7(time_ms: int, drawn: bytes) -> str:
    bits = int.from_bytes(drawn) >> (8 * len(drawn) - 74)
    digits = f"{time_ms:012x}7{bits >> 62:03x}{0x8000 | (bits >> 48) & 0x3FFF:04x}"
    digits += f"{bits & (2**48 - 1):012x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda case: case["name"])
def test_vector_follows_from_what_the_wire_says(case: dict[str, Any]) -> None:
    """Hash, proof, id, token part and signature are worked out again from their parts."""
    if case["cmd"] is not None:
        digest = hashlib.sha256(case["asked"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == case["cmd"]
    signed = case["proof"].rpartition(".")[0].encode()
    named = hashlib.sha256(b"mallku-proof-v1" + len(signed).to_bytes(4) + signed).digest()
    assert named.hex() == case["proof_digest"]
    drawn = hashlib.sha256(named + case["attempt"].to_bytes(4)).digest()
    assert _uuid7(STORED["now_ms"], drawn) == case["id"]
    envelope = Envelope.split(bytes.fromhex(case["message"]))
    header = CommandHeader.read(envelope.protected)
    assert (header.id, header.attempt) == (case["id"], case["attempt"])
    assert header.ath == token_hash(case["token"].encode()) == token_hash(envelope.token)
    door = SigningKey(bytes.fromhex(STORED["door"]["seed"])).public
    signed = command_signing_input(case["subject"], envelope.protected, envelope.body)
    assert door.verify(signed, envelope.signature)


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda case: case["name"])
def test_vector_is_believed_here(case: dict[str, Any]) -> None:
    """This side reads the proof and finds that it covers the command."""
    evidence = Evidence.split(case["token"].encode())
    assert evidence is not None
    claims = evidence.caller.split(b".")[1]
    jwk = json.loads(base64.urlsafe_b64decode(claims + b"=="))["cnf"]["jwk"]
    proof = Proof.verify(evidence.proof, token=evidence.caller, key=PublicKey.from_jwk(jwk))
    said = json.loads(case["asked"])
    proof.check_covers(Asked(**said))
    assert proof.origin == STORED["origin"]
