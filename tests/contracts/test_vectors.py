"""The stored vectors are what the generator writes, and this side agrees with every one."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from mallku_contracts.audit import Record, record_hash
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    Reply,
    command_hash,
    command_signing_input,
    fingerprint,
    reply_signing_input,
)
from mallku_contracts.errors import MallkuError, from_wire
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import issue_token
from mallku_contracts.trail.checkpoint import (
    CheckpointError,
    ForgedCheckpoint,
    MalformedCheckpoint,
    UntrustedCheckpoint,
    checkpoint_signing_input,
    open_checkpoint,
    record_leaf,
    seal_checkpoint,
)
from mallku_contracts.trail.merkle import proves
from mallku_contracts.trail.proof import ProofError, ReceiptBundle, check_bundle
from mallku_contracts.trust import Trust
from tests.contracts.opening import Opening, believe, open_reply
from tests.vectors import generate, refusals
from tests.vectors.world import ISSUER, KEYS, TRUST, WORKER_TOKEN, shown


def load(name: str) -> dict[str, Any]:
    """A stored file."""
    value: dict[str, Any] = json.loads((generate.FOLDER / name).read_text("utf-8"))
    return value


def cases(name: str, part: str = "cases") -> list[Any]:
    """The cases of a stored file, each under its name."""
    return [pytest.param(case, id=case["name"]) for case in load(name)[part]]


def _checkpoints() -> dict[str, Any]:
    return load("checkpoints.json")


@pytest.mark.parametrize("name", generate.FILES)
def test_stored_vectors_are_what_is_generated(name: str) -> None:
    """A change on the wire shows as a change in the vectors, never silently."""
    assert (generate.FOLDER / name).read_text("utf-8") == generate.text(name)


def test_no_file_is_left_over() -> None:
    """Every JSON file beside the generator is one of its own."""
    assert {path.name for path in generate.FOLDER.glob("*.json")} == set(generate.FILES)


@pytest.mark.parametrize("case", cases("keys.json"))
def test_key(case: dict[str, Any]) -> None:
    """From the seed, the PEM and the JWK comes one and the same key."""
    key = SigningKey(bytes.fromhex(case["seed"]))
    assert SigningKey.from_pem(case["pem"]) == key
    assert PublicKey.from_jwk(case["jwk"]) == key.public
    assert (key.public.raw.hex(), key.kid) == (case["public"], case["kid"])


@pytest.mark.parametrize("case", cases("tokens.json"))
def test_token(case: dict[str, Any]) -> None:
    """A token says what the vector says, and signing that again gives the same bytes."""
    identity = believe(case["jwt"].encode(), case["audience"])
    claims = case["claims"]
    assert identity.principal == claims["sub"]
    assert identity.roles == set(claims["roles"])
    assert identity.key.jwk() == claims["cnf"]["jwk"]
    assert (identity.issued_at, identity.expires_at) == (claims["iat"], claims["exp"])
    assert issue_token(identity, KEYS["issuer"]) == case["jwt"]


def test_trust_document() -> None:
    """The stored trust document names the issuer's key and nothing else."""
    document = json.dumps(load("tokens.json")["trust"])
    assert Trust.from_json(document) == TRUST == Trust.of(ISSUER, KEYS["issuer"].public)


@pytest.mark.parametrize("case", cases("commands.json"))
def test_command(case: dict[str, Any]) -> None:
    """A command opens to its arguments, and each part is where the vector says."""
    message = bytes.fromhex(case["message"])
    assert Opening(case["subject"], message).open() == case["arguments"]
    envelope, subject = Envelope.split(message), CommandSubject.parse(case["subject"])
    signed = command_signing_input(case["subject"], envelope.protected, envelope.body)
    assert envelope.join() == message
    assert CommandHeader.read(envelope.protected).id == case["header"]["id"]
    assert signed.hex() == case["signing_input"]
    assert KEYS["caller"].sign(signed).hex() == case["signature"] == envelope.signature.hex()
    digest = command_hash(case["subject"], envelope.protected, envelope.body)
    assert digest.hex() == case["hash"]
    assert fingerprint(subject, envelope.body).hex() == case["fingerprint"]


def test_a_retry_is_another_message_with_the_same_fingerprint() -> None:
    """A retry has its own id, hash and signature; the ledger knows it by its fingerprint."""
    first, again = load("commands.json")["cases"][:2]
    assert first["fingerprint"] == again["fingerprint"]
    assert first["header"]["idem"] == again["header"]["idem"]
    assert first["header"]["id"] != again["header"]["id"]
    assert first["hash"] != again["hash"]


@pytest.mark.parametrize("case", cases("replies.json"))
def test_reply(case: dict[str, Any]) -> None:
    """A reply belongs to its command, and a signed one verifies."""
    message, answered = bytes.fromhex(case["message"]), case["header"]["cmd"]["hex"]
    reply = Reply.open(message, expected_command=bytes.fromhex(answered))
    assert reply.signed == case["signed"]
    assert reply.envelope.body.hex() == case["body"]
    if case["command"]:
        named = [c for c in load("commands.json")["cases"] if c["name"] == case["command"]]
        assert answered == named[0]["hash"]
    if case["signed"]:
        signed = reply_signing_input(reply.envelope.protected, reply.envelope.body)
        assert signed.hex() == case["signing_input"]
        open_reply(message, bytes.fromhex(answered))


@pytest.mark.parametrize(
    "case", [c for c in load("replies.json")["cases"] if "error" in c["reply"]]
)
def test_error_reply(case: dict[str, Any]) -> None:
    """An error in a reply is rebuilt as the same error."""
    error = from_wire(case["reply"]["error"])
    assert error.to_wire() == case["reply"]["error"]


@pytest.mark.parametrize("case", cases("replies.json", "refused"))
def test_refused_reply(case: dict[str, Any]) -> None:
    """A reply that was moved, altered, or signed by anybody else is no answer."""
    asked = next(c for c in load("commands.json")["cases"] if c["name"] == case["command"])
    with pytest.raises(MallkuError) as refused:
        open_reply(bytes.fromhex(case["message"]), bytes.fromhex(asked["hash"]))
    assert refused.value.code in {"unverified_reply", "invalid_token", "token_expired"}


@pytest.mark.parametrize("case", cases("records.json"))
def test_record(case: dict[str, Any]) -> None:
    """A record reads back to the same bytes; its hash is what a receipt carries."""
    data = bytes.fromhex(case["message"])
    record = Record.read(data)
    assert record.pack() == data
    assert record_hash(data).hex() == case["hash"]
    assert case["subject"].endswith(f".{record.kind}")
    assert record.kind == case["record"]["kind"]


def test_recorded_intent_proves_who_asked() -> None:
    """The signature in an intent holds against the key in it, without the token."""
    intent = Record.read(bytes.fromhex(load("records.json")["cases"][0]["message"]))
    assert intent.command is not None
    protected, body, signature, raw = intent.command
    key = PublicKey(raw)
    assert key.kid == intent.kid
    assert key.verify(command_signing_input(intent.subject, protected, body), signature)


@pytest.mark.parametrize("case", cases("checkpoints.json"))
def test_checkpoint(case: dict[str, Any]) -> None:
    """A checkpoint opens to what it says, and sealing that again gives the same bytes."""
    message = bytes.fromhex(case["message"])
    checkpoint = open_checkpoint(message, TRUST)
    envelope = Envelope.split(message)
    assert (checkpoint.subject, checkpoint.message_id) == (case["subject"], case["message_id"])
    assert checkpoint.hash.hex() == case["hash"]
    assert checkpoint.statement.last == case["statement"]["last"]
    signed = checkpoint_signing_input(envelope.protected, envelope.body)
    assert signed.hex() == case["signing_input"]
    assert KEYS["worker"].sign(signed).hex() == case["signature"] == envelope.signature.hex()
    again = seal_checkpoint(checkpoint.header, checkpoint.statement, KEYS["worker"], WORKER_TOKEN)
    assert again == checkpoint


def test_checkpoints_are_a_chain() -> None:
    """Each holds the hash of the one before, and begins behind its last number."""
    chain = [open_checkpoint(bytes.fromhex(c["message"]), TRUST) for c in _checkpoints()["cases"]]
    for former, follows in pairwise(chain):
        assert follows.header.previous == former.hash
        assert follows.statement.first == former.statement.last + 1


def test_leaves_lead_to_the_root() -> None:
    """Every leaf is made of its record, and its path leads to the root of the first."""
    root = bytes.fromhex(_checkpoints()["cases"][0]["statement"]["root"]["hex"])
    leaves = _checkpoints()["leaves"]
    hashes = [case["hash"] for case in load("records.json")["cases"]]
    assert [leaf["record_hash"] for leaf in leaves] == hashes
    for leaf in leaves:
        digest = bytes.fromhex(leaf["record_hash"])
        made = record_leaf(leaf["number"], leaf["sequence"], digest)
        path = [bytes.fromhex(step) for step in leaf["path"]]
        assert made.hex() == leaf["leaf"]
        assert proves(made, leaf["index"], len(leaves), path, root)


@pytest.mark.parametrize("case", _checkpoints()["refused"], ids=lambda case: str(case["name"]))
def test_refused_checkpoint(case: dict[str, Any]) -> None:
    """What is bent, borrowed or contradicts itself is refused by the check that is named."""
    kinds = {
        "shape": MalformedCheckpoint,
        "token": UntrustedCheckpoint,
        "signature": ForgedCheckpoint,
    }
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(bytes.fromhex(case["message"]), TRUST)
    assert type(refused.value) is kinds[case["check"]]


@pytest.mark.parametrize("case", cases("refusals.json"))
def test_refusal(case: dict[str, Any]) -> None:
    """A bad message is refused at the step and with the code that the vector names."""
    opening = Opening(case["subject"], bytes.fromhex(case["message"]))
    error = opening.refusal()
    assert error is not None
    assert (opening.step, error.code, error.number) == (case["step"], case["code"], case["number"])


def test_every_step_refuses_something() -> None:
    """The refusals cover each step of the way, and their names are unique."""
    stored = load("refusals.json")
    assert {case["step"] for case in stored["cases"]} == set(refusals.STEPS)
    assert stored["steps"] == list(refusals.STEPS)
    names = [case["name"] for case in stored["cases"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", cases("proofs.json"))
def test_proof(case: dict[str, Any]) -> None:
    """A bundle proves what the vector says, and writing it again gives the same text."""
    bundle = ReceiptBundle.from_json(json.dumps(case["bundle"]))
    proven = check_bundle(bundle, TRUST)
    assert shown(asdict(proven.receipt)) == case["receipt"]
    assert (proven.number, proven.vouched) == (case["number"], case["vouched"])
    assert json.loads(bundle.to_json()) == case["bundle"]


@pytest.mark.parametrize("case", cases("proofs.json", "refused"))
def test_refused_proof(case: dict[str, Any]) -> None:
    """What was bent is named."""
    bundle = ReceiptBundle.from_json(json.dumps(case["bundle"]))
    with pytest.raises(ProofError, match=f"^{case['part']}: "):
        check_bundle(bundle, TRUST)
