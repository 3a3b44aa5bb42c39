"""A receipt bundle proves what it says, to whoever trusts the issuer, and nothing bent does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mallku_contracts import codec
from mallku_contracts.audit import Record, record_hash
from mallku_contracts.envelope import ReplyHeader, seal_reply, token_hash
from mallku_contracts.trail.checkpoint import Checkpoint
from mallku_contracts.trail.proof import (
    MAX_BUNDLE_CHARS,
    Inclusion,
    ProofError,
    ReceiptBundle,
    check_bundle,
    covering,
    include,
)
from mallku_contracts.trail.resume import Leaf
from mallku_contracts.trust import Trust
from tests.support.made_trail import (
    ISSUER,
    STREAM,
    TRUST,
    MadeTrail,
    key_of,
    worker_token,
)


def reply_to(trail: MadeTrail, outcome: Record, **changes: Any) -> bytes:
    """A worker's reply with the receipt of `outcome`; `changes` bend the receipt or the header."""
    author = trail.author(changes.pop("worker", outcome.worker))
    sequence, digest = author.leaves.get(outcome.number, (1, bytes(32)))
    receipt = {"stream": STREAM, "sequence": sequence, "hash": digest}
    receipt |= {
        name: changes.pop(name) for name in ("stream", "sequence", "hash") if name in changes
    }
    body = changes.pop("body", codec.pack_trusted({"result": {}, "receipt": receipt}))
    header = ReplyHeader(
        v=1,
        kid=author.key.kid,
        id=outcome.id,
        cmd=bytes(32),
        time=trail.now_ms,
        worker=author.name,
        ath=token_hash(author.token),
    )
    return seal_reply(replace(header, **changes), body, author.key, author.token)


def leaves_of(trail: MadeTrail, checkpoint: Checkpoint, worker: str) -> list[tuple[int, Leaf]]:
    """Every record under the checkpoint's root over this worker."""
    leaves = sorted(trail.author(worker).leaves.items())
    return [
        (number, Leaf(*leaf))
        for number, leaf in leaves
        if covering(checkpoint, worker, number) is not None
    ]


@pytest.fixture
def trail() -> MadeTrail:
    """A worker with some commands under a checkpoint, one number of them void."""
    made = MadeTrail()
    made.start("w1")
    for number in range(9):
        if number == 4:
            made.author("w1").void.add(made.intend("w1").number)
        made.command("w1")
    return made


@pytest.fixture
def outcome(trail: MadeTrail) -> Record:
    """The outcome that the bundle is about."""
    return Record.read(trail.records[-3].data)


@pytest.fixture
def bundle(trail: MadeTrail, outcome: Record) -> ReceiptBundle:
    """A bundle that proves everything."""
    checkpoint = trail.checkpoint("w1")
    proof = include(checkpoint, leaves_of(trail, checkpoint, "w1"), "w1", outcome.number)
    return ReceiptBundle(reply_to(trail, outcome), proof, trail.records[-3].data)


def _bent(bundle: ReceiptBundle, **changes: Any) -> ReceiptBundle:
    assert bundle.inclusion is not None
    return replace(bundle, inclusion=replace(bundle.inclusion, **changes))


def refused(bundle: ReceiptBundle, trust: Trust = TRUST) -> str:
    """Why the bundle proves nothing."""
    with pytest.raises(ProofError) as raised:
        check_bundle(bundle, trust)
    return str(raised.value)


def test_a_bundle_proves_who_when_and_which(
    bundle: ReceiptBundle, trail: MadeTrail, outcome: Record
) -> None:
    """The worker, its key, the time, the record, and the checkpoint that it is under."""
    proven = check_bundle(bundle, TRUST)
    receipt = proven.receipt
    assert (receipt.worker, receipt.kid) == ("w1", trail.author("w1").key.kid)
    assert (receipt.issuer, receipt.principal) == (ISSUER, "worker-1")
    assert receipt.hash == record_hash(outcome.pack())
    assert (proven.number, proven.vouched) == (outcome.number, False)
    assert proven.checkpoint is not None
    assert proven.record == outcome


def test_every_record_under_a_root_can_be_proven(trail: MadeTrail) -> None:
    """Whatever its place in the tree, void numbers before and behind it."""
    checkpoint = trail.checkpoint("w1")
    leaves = leaves_of(trail, checkpoint, "w1")
    for place, (number, leaf) in enumerate(leaves):
        proof = include(checkpoint, leaves, "w1", number)
        assert (proof.index, proof.sequence) == (place, leaf.sequence)
        record = Record.read(trail.records[leaf.sequence - 1].data)
        if record.id:  # nobody is answered with what a worker says of itself
            check_bundle(ReceiptBundle(reply_to(trail, record), proof), TRUST)


def test_a_bundle_survives_its_file(bundle: ReceiptBundle) -> None:
    """As JSON and back it is the same; also without proof and record."""
    assert ReceiptBundle.from_json(bundle.to_json()) == bundle
    bare = ReceiptBundle(bundle.reply)
    assert ReceiptBundle.from_json(bare.to_json()) == bare
    assert set(json.loads(bare.to_json())) == {"v", "kind", "reply"}


def test_a_receipt_alone_proves_that_it_was_given(bundle: ReceiptBundle) -> None:
    """Before anything was fetched: a worker signed it, and no more is said."""
    proven = check_bundle(ReceiptBundle(bundle.reply), TRUST)
    assert (proven.number, proven.checkpoint, proven.record) == (None, None, None)


def test_a_record_that_another_worker_vouches_for(trail: MadeTrail, outcome: Record) -> None:
    """The one that wrote it died; the proof says so."""
    checkpoint = trail.checkpoint("w2", vouches=(trail.vouch("w1"),))
    leaves = [(n, Leaf(*leaf)) for n, leaf in sorted(trail.author("w1").leaves.items())]
    proof = include(checkpoint, leaves, "w1", outcome.number)
    proven = check_bundle(ReceiptBundle(reply_to(trail, outcome), proof), TRUST)
    assert proven.vouched
    assert proven.checkpoint is not None
    assert proven.checkpoint.header.worker == "w2"


def test_whoever_is_not_trusted_proves_nothing(bundle: ReceiptBundle) -> None:
    """Another issuer's trust file believes neither reply nor checkpoint."""
    others = Trust.of(ISSUER, key_of("another").public)
    assert refused(bundle, others).startswith("reply:")


def test_a_reply_without_receipt(trail: MadeTrail, outcome: Record) -> None:
    """Reads have none, and neither do errors."""
    for body in (codec.pack({"result": {}}), codec.pack({"error": {}}), b"\xc1", codec.pack([])):
        assert refused(ReceiptBundle(reply_to(trail, outcome, body=body))).startswith("reply:")


@pytest.mark.parametrize(
    "receipt",
    [
        {"stream": STREAM, "sequence": 1},
        {"stream": STREAM, "sequence": True, "hash": bytes(32)},
        {"stream": STREAM, "sequence": 1, "hash": bytes(31)},
        {"stream": 1, "sequence": 1, "hash": bytes(32)},
        {"stream": STREAM, "sequence": 1, "hash": bytes(32), "more": 1},
        {"stream": STREAM, "sequence": 1, "hash": "0" * 32},
    ],
)
def test_a_receipt_of_another_shape(
    trail: MadeTrail, outcome: Record, receipt: dict[str, Any]
) -> None:
    """Signed, and still no receipt."""
    body = codec.pack_trusted({"result": {}, "receipt": receipt})
    assert "no receipt" in refused(ReceiptBundle(reply_to(trail, outcome, body=body)))


def test_an_altered_reply(bundle: ReceiptBundle) -> None:
    """One bit anywhere in it."""
    for place in range(0, len(bundle.reply), 97):
        data = bytearray(bundle.reply)
        data[place] ^= 1
        refused(replace(bundle, reply=bytes(data)))


def test_a_reply_of_a_worker_whose_token_was_over(trail: MadeTrail, outcome: Record) -> None:
    """The token is judged at the reply's own time."""
    author = trail.author("w1")
    author.token = worker_token(author.key, at_ms=trail.now_ms - 10 * 3_600_000)
    assert refused(ReceiptBundle(reply_to(trail, outcome))).startswith("reply:")


def test_another_record_in_the_bundle(bundle: ReceiptBundle, trail: MadeTrail) -> None:
    """What is shown is what was receipted."""
    other = replace(bundle, data=trail.records[0].data)
    assert refused(other).startswith("data:")


@pytest.mark.parametrize(
    "lie",
    [
        {"number": 3},
        {"number": 10_000},
        {"sequence": 1},
        {"worker": "w2"},
        {"index": 0},
        {"index": 10_000},
        {"path": ()},
        {"path": (bytes(32),) * 5},
    ],
)
def test_a_place_that_is_another(bundle: ReceiptBundle, lie: dict[str, Any]) -> None:
    """Number, sequence, worker, index and path lead to the root together, or not at all."""
    refused(_bent(bundle, **lie))


def test_a_void_number_proves_nothing(bundle: ReceiptBundle, trail: MadeTrail) -> None:
    """It is covered, and under no root."""
    (void,) = trail.author("w1").void
    assert refused(_bent(bundle, number=void)).startswith("checkpoint:")


def test_another_checkpoint(bundle: ReceiptBundle, trail: MadeTrail) -> None:
    """Of the same worker over other records, of another stream, or none at all."""
    trail.command("w1")
    later = trail.checkpoint("w1")
    assert refused(_bent(bundle, checkpoint=later.data)).startswith("checkpoint:")
    assert refused(_bent(bundle, checkpoint=b"?")).startswith("checkpoint:")


def test_a_checkpoint_of_another_stream(trail: MadeTrail, outcome: Record) -> None:
    """The record of one trail is not proven by another."""
    checkpoint = trail.checkpoint("w1", stream="OTHER")
    proof = include(checkpoint, leaves_of(trail, checkpoint, "w1"), "w1", outcome.number)
    assert refused(ReceiptBundle(reply_to(trail, outcome), proof)).startswith("checkpoint:")


def test_a_checkpoint_that_was_forged(trail: MadeTrail, outcome: Record) -> None:
    """Its root is right, and nobody trusted signed it."""
    key = key_of("mallory")
    token = worker_token(key, issuer=key)
    checkpoint = trail.checkpoint("w1", key=key, kid=key.kid, token=token)
    proof = include(checkpoint, leaves_of(trail, checkpoint, "w1"), "w1", outcome.number)
    assert refused(ReceiptBundle(reply_to(trail, outcome), proof)).startswith("checkpoint:")


def test_a_checkpoint_in_the_name_of_the_worker_by_another(
    trail: MadeTrail, outcome: Record
) -> None:
    """A trusted worker's key says nothing about the records of another one."""
    other = trail.author("w2")
    checkpoint = trail.checkpoint("w1", key=other.key, token=other.token)
    proof = include(checkpoint, leaves_of(trail, checkpoint, "w1"), "w1", outcome.number)
    assert "another key" in refused(ReceiptBundle(reply_to(trail, outcome), proof))


def test_a_proof_from_altered_records_is_not_made(trail: MadeTrail, outcome: Record) -> None:
    """Whoever fetches it sees that the trail is not in order."""
    checkpoint = trail.checkpoint("w1")
    leaves = leaves_of(trail, checkpoint, "w1")
    leaves[0] = (leaves[0][0], Leaf(leaves[0][1].sequence, bytes(32)))
    with pytest.raises(ProofError, match="do not give its root"):
        include(checkpoint, leaves, "w1", outcome.number)
    with pytest.raises(ProofError, match="not under this checkpoint"):
        include(checkpoint, leaves, "w1", 10_000)


def _document(bundle: ReceiptBundle, **changes: Any) -> str:
    document = json.loads(bundle.to_json()) | changes
    return json.dumps({name: value for name, value in document.items() if value is not ...})


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"kind": "receipt"},
        {"more": 1},
        {"reply": 1},
        {"reply": "?"},
        {"reply": ...},
        {"data": []},
        {"path": ...},
        {"path": "00"},
        {"path": ["00"]},
        {"path": ["zz" * 32]},
        {"path": [1]},
        {"path": ["00" * 32] * 65},
        {"index": -1},
        {"index": "1"},
        {"index": True},
        {"record": {}},
        {"record": {"worker": "w1", "number": 1, "sequence": 2**63}},
        {"record": {"worker": 1, "number": 1, "sequence": 1}},
        {"record": {"worker": "w1", "number": -1, "sequence": 1}},
        {"checkpoint": None},
    ],
)
def test_a_file_of_another_shape(bundle: ReceiptBundle, changes: dict[str, Any]) -> None:
    """Whatever is not a bundle is refused when it is read, with the part that is wrong."""
    with pytest.raises(ProofError):
        ReceiptBundle.from_json(_document(bundle, **changes))


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, " " * (MAX_BUNDLE_CHARS + 1)])
def test_a_file_of_something_else(text: str) -> None:
    """Nor does anything else crash the reader."""
    with pytest.raises(ProofError):
        ReceiptBundle.from_json(text)


def test_an_inclusion_shows_no_checkpoint(bundle: ReceiptBundle) -> None:
    """What is printed by accident is short."""
    assert isinstance(bundle.inclusion, Inclusion)
    assert "checkpoint=" not in repr(bundle)
    assert "reply=" not in repr(bundle)
