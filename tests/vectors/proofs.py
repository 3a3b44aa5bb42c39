"""Receipt bundles that prove themselves, and bundles that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, Final

from mallku_contracts.envelope import ReplyHeader, seal_reply
from mallku_contracts.trail.proof import ReceiptBundle, check_bundle, include
from mallku_contracts.trail.resume import Leaf
from tests.vectors.checkpoints import FINAL, FIRST, HASHES, SEQUENCES, STREAM
from tests.vectors.records import DONE
from tests.vectors.replies import META, reply_header
from tests.vectors.world import KEYS, TRUST, WORKER_TOKEN, packed, shown

LEAVES: Final = [(number, Leaf(SEQUENCES[number], HASHES[number])) for number in sorted(HASHES)]


def _reply(**changes: Any) -> bytes:
    """The reply to `insert` whose outcome is the record `done` of `records.json`."""
    receipt = {"stream": STREAM, "sequence": SEQUENCES[DONE.number], "hash": HASHES[DONE.number]}
    header: ReplyHeader = reply_header("insert")
    body = packed({"result": META, "receipt": receipt | changes})
    return seal_reply(header, body, KEYS["worker"], WORKER_TOKEN)


BARE: Final = ReceiptBundle(_reply())
PROVEN: Final = replace(BARE, inclusion=include(FIRST, LEAVES, "w-1", DONE.number))
SHOWN: Final = replace(PROVEN, data=DONE.pack())


def _bent(**changes: Any) -> ReceiptBundle:
    assert PROVEN.inclusion is not None
    return replace(PROVEN, inclusion=replace(PROVEN.inclusion, **changes))


def _refused() -> Iterator[tuple[str, str, ReceiptBundle]]:
    assert PROVEN.inclusion is not None
    yield "an altered reply", "reply", replace(PROVEN, reply=_reply()[:-9] + b"\0" + _reply()[-8:])
    yield "another record's bytes", "data", replace(SHOWN, data=DONE.pack() + b"\0")
    yield "another sequence", "record", _bent(sequence=41)
    yield "another worker", "record", _bent(worker="w-2")
    yield "a number that is void", "checkpoint", _bent(number=5)
    yield "a checkpoint that covers others", "checkpoint", _bent(checkpoint=FINAL.data)
    yield "no checkpoint", "checkpoint", _bent(checkpoint=b"\xc1")
    yield "another number", "path", _bent(number=1)
    yield "another leaf's place", "path", _bent(index=0)
    yield "a path that is too short", "path", _bent(path=PROVEN.inclusion.path[:-1])
    yield "a receipt of another hash", "path", replace(PROVEN, reply=_reply(hash=bytes(32)))


def _case(name: str, bundle: ReceiptBundle) -> dict[str, Any]:
    proven = check_bundle(bundle, TRUST)
    return {
        "name": name,
        "bundle": json.loads(bundle.to_json()),
        "receipt": shown(asdict(proven.receipt)),
        "number": proven.number,
        "vouched": proven.vouched,
    }


def vectors() -> dict[str, Any]:
    """Bundles with what they prove, and others with the part that does not hold."""
    return {
        "about": "Receipt bundles, to be checked with the trust document of tokens.json alone.",
        "cases": [
            _case("a receipt, nothing fetched yet", BARE),
            _case("with the proof that its record stands in the trail", PROVEN),
            _case("with the record itself", SHOWN),
        ],
        "about_refused": "`part` is what does not hold.",
        "refused": [
            {"name": name, "part": part, "bundle": json.loads(bundle.to_json())}
            for name, part, bundle in _refused()
        ],
    }
