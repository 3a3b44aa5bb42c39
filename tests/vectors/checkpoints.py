"""Checkpoints as they lie in the stream, the tree under one, and checkpoints that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, Final

from mallku_contracts.audit import record_hash
from mallku_contracts.envelope import (
    Envelope,
    token_hash,
)
from mallku_contracts.protected import VERSION
from mallku_contracts.trail.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointHeader,
    Head,
    Statement,
    Vouch,
    checkpoint_signing_input,
    record_leaf,
    seal_checkpoint,
)
from mallku_contracts.trail.merkle import EMPTY_ROOT, inclusion_path, leaf_hash, root_of
from tests.vectors.records import DENIED, DONE, FAILED, INTENT
from tests.vectors.world import (
    CALLER_TOKEN,
    KEYS,
    NOW_MS,
    NOW_S,
    WORKER_TOKEN,
    packed,
    shown,
    token,
)

STREAM: Final = "MALLKU_AUDIT"
HASHES: Final = {
    record.number: record_hash(record.pack()) for record in (INTENT, DONE, FAILED, DENIED)
}
SEQUENCES: Final = {1: 41, 2: 44, 3: 42, 4: 47}
"""Where the records of `records.json` stand: acknowledged in another order than numbered."""

LEAVES: Final = [record_leaf(number, SEQUENCES[number], HASHES[number]) for number in HASHES]
MADE_UP: Final = bytes(range(32))
ENTRIES: Final = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")
"""The first entries of Certificate Transparency's own test tree, hexadecimal."""


def _header(number: int, previous: bytes) -> CheckpointHeader:
    return CheckpointHeader(
        v=VERSION,
        kid=KEYS["worker"].kid,
        worker="w-1",
        number=number,
        time=NOW_MS + number * 1_000,
        previous=previous,
        ath=token_hash(WORKER_TOKEN),
    )


def _sealed(number: int, previous: bytes, statement: Statement) -> Checkpoint:
    return seal_checkpoint(_header(number, previous), statement, KEYS["worker"], WORKER_TOKEN)


FIRST: Final = _sealed(
    1, NO_CHECKPOINT, Statement(STREAM, 1, 6, 4, root_of(LEAVES), (5, 6), max(SEQUENCES.values()))
)
VOUCHING: Final = _sealed(
    2,
    FIRST.hash,
    Statement(
        STREAM,
        7,
        7,
        1,
        root_of([record_leaf(7, 60, MADE_UP)]),
        sequence=60,
        heads={"w-2": Head(9, MADE_UP)},
        vouches=(Vouch("w-3", 11, 13, 2, root_of(LEAVES[:2]), 44),),
    ),
)
FINAL: Final = _sealed(3, VOUCHING.hash, Statement(STREAM, 8, 7, 0, EMPTY_ROOT, final=True))


def _forged(
    protected: bytes, body: bytes, *, key: str = "worker", bearer: bytes = WORKER_TOKEN
) -> bytes:
    """A message whose signature holds, whatever stands in its parts."""
    signature = KEYS[key].sign(checkpoint_signing_input(protected, body))
    return Envelope(protected, body, signature, bearer).join()


def _malformed() -> Iterator[tuple[str, bytes]]:
    body, parts = FIRST.statement.pack(), Envelope.split(FIRST.data)
    yield "not an envelope", packed([parts.protected, parts.body, parts.signature])
    for name, changes in (
        ("version 2", {"v": 2}),
        ("number 0", {"number": 0}),
        ("a worker's name with a dot", {"worker": "w.1"}),
        ("a first one that follows another", {"previous": MADE_UP}),
        ("a second one that follows none", {"number": 2}),
    ):
        yield name, _forged(replace(FIRST.header, **changes).pack(), body)


def _contradicting() -> Iterator[tuple[str, bytes]]:
    good, protected = FIRST.statement, FIRST.header.pack()
    for name, statement in (
        ("backwards", replace(good, first=9, last=7)),
        ("void that it does not cover", replace(good, void=(5, 7))),
        ("void in descending order", replace(good, void=(6, 5))),
        ("a size that is not that of its numbers", replace(good, size=5)),
        ("leaves without a sequence", replace(good, sequence=0)),
        ("a root over no leaf", replace(FINAL.statement, root=MADE_UP)),
        ("a vouch with more leaves than numbers", _vouching(size=4)),
    ):
        yield name, _forged(protected, statement.pack())
    fields = {**asdict(good), "void": [5, 6], "vouches": []}
    yield "a field too many", _forged(protected, packed({**fields, "more": 1}))
    yield "a body of junk", _forged(protected, b"\xc1")


def _vouching(**changes: Any) -> Statement:
    good = VOUCHING.statement
    return replace(good, vouches=(replace(good.vouches[0], **changes),))


def _untrusted() -> Iterator[tuple[str, bytes]]:
    body, stranger, worker = FIRST.statement.pack(), KEYS["stranger"], KEYS["worker"].public
    own = token("stranger", audience="mallku-reply", principal="worker", key=stranger.public)
    over = token(
        audience="mallku-reply", key=worker, issued_at=NOW_S - 3_600, expires_at=NOW_S - 60
    )
    for name, key, bearer in (
        ("signed by a stranger", "stranger", own),
        ("signed by a caller", "caller", CALLER_TOKEN),
        ("signed when its token was over", "worker", over),
    ):
        header = replace(FIRST.header, kid=KEYS[key].kid, ath=token_hash(bearer))
        yield name, _forged(header.pack(), body, key=key, bearer=bearer)


def _not_signed_so() -> Iterator[tuple[str, bytes]]:
    protected, body = FIRST.header.pack(), FIRST.statement.pack()
    parts, worker = Envelope.split(FIRST.data), KEYS["worker"].public
    renewed = token(audience="mallku-reply", principal="worker", key=worker)
    borrowed = replace(FIRST.header, kid=KEYS["stranger"].kid).pack()
    altered = replace(FIRST.statement, root=MADE_UP).pack()
    moved = replace(FIRST.header, worker="w-2").pack()
    yield "signed by another key than its token names", _forged(protected, body, key="stranger")
    yield "naming another key than its token", _forged(borrowed, body, key="stranger")
    yield "with another token of the same worker", replace(parts, token=renewed).join()
    yield "its root altered", replace(parts, body=altered).join()
    yield "moved to another worker", replace(parts, protected=moved).join()
    yield "not signed", replace(parts, signature=b"").join()
    reply = KEYS["worker"].sign(b"mallku-reply-v1" + checkpoint_signing_input(protected, body)[20:])
    yield "signed as a reply", replace(parts, signature=reply).join()


CHECKS: Final = {
    "shape": (_malformed, _contradicting),
    "token": (_untrusted,),
    "signature": (_not_signed_so,),
}


def vectors() -> dict[str, Any]:
    """A chain of checkpoints, the tree under its first, and those that nobody may believe."""
    return {
        "about": "A worker's three checkpoints, believed with `trust` of tokens.json.",
        "cases": [
            _case("the first, over the records of records.json, two numbers void", FIRST),
            _case("the second, with another worker's head and a vouch for a third", VOUCHING),
            _case("the last, which covers nothing", FINAL),
        ],
        "about_leaves": "What is under the root of the first, in the order of the numbers.",
        "leaves": [_leaf(index, number) for index, number in enumerate(HASHES)],
        "about_trees": "RFC 6962: over the first `size` of `entries` there is `root`.",
        "entries": list(ENTRIES),
        "trees": [_tree(size) for size in range(len(ENTRIES) + 1)],
        "about_refused": "Each is refused, by `check`.",
        "refused": [
            {"name": name, "check": check, "message": message.hex()}
            for check, groups in CHECKS.items()
            for group in groups
            for name, message in group()
        ],
    }


def _case(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    envelope, said = Envelope.split(checkpoint.data), checkpoint.statement
    heads = {worker: [head.number, head.hash] for worker, head in said.heads.items()}
    return {
        "name": name,
        "subject": checkpoint.subject,
        "message_id": checkpoint.message_id,
        "header": shown(asdict(checkpoint.header)),
        "statement": shown({**asdict(said), "heads": heads}),
        "protected": envelope.protected.hex(),
        "body": envelope.body.hex(),
        "signing_input": checkpoint_signing_input(envelope.protected, envelope.body).hex(),
        "signature": envelope.signature.hex(),
        "message": checkpoint.data.hex(),
        "hash": checkpoint.hash.hex(),
    }


def _leaf(index: int, number: int) -> dict[str, Any]:
    return {
        "number": number,
        "sequence": SEQUENCES[number],
        "record_hash": HASHES[number].hex(),
        "leaf": LEAVES[index].hex(),
        "index": index,
        "path": [step.hex() for step in inclusion_path(LEAVES, index)],
    }


def _tree(size: int) -> dict[str, Any]:
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES[:size]]
    paths = [[step.hex() for step in inclusion_path(leaves, index)] for index in range(size)]
    return {"size": size, "root": root_of(leaves).hex(), "paths": paths}
