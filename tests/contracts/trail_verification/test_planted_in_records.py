"""The verifier names each record that is not what was signed, or not where it belongs."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.audit import Record, record_hash
from mallku_contracts.trail.digests import MARK
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.stored import TrailEntry
from tests.contracts.trail_verification.judging import altered, kinds, the
from tests.support.made_trail import START_MS, MadeTrail


def test_a_message_that_is_no_record(trail: MadeTrail) -> None:
    """Junk in the stream is named with its place."""
    trail.records.append(TrailEntry(len(trail.records) + 1, "mallku.v1.audit.x", START_MS, b"?"))
    found = the(trail.verify(), Kind.MALFORMED)
    assert found.sequence == len(trail.records)


def test_a_record_under_a_subject_that_does_not_fit(trail: MadeTrail) -> None:
    """Moved to another collection's subject, it would hide from filters."""
    stored = trail.records[3]
    moved = stored.subject.replace("memory_anchors", "elsewhere")
    trail.records[3] = stored._replace(subject=moved)
    report = trail.verify()
    assert kinds(report) == {Kind.MISPLACED}
    assert the(report, Kind.MISPLACED).sequence == 4


def test_a_record_of_another_principal_about_the_gateway(trail: MadeTrail) -> None:
    """What is said in the gateway's name stands under the gateway's subjects."""
    start = trail.records[0]
    trail.records[0] = start._replace(subject=start.subject.replace("_gateway", "mallku"))
    assert kinds(trail.verify()) == {Kind.MISPLACED}


def test_an_altered_signature_of_a_caller(trail: MadeTrail) -> None:
    """One bit of a signature; the root says so too, and both name the record."""
    intent = Record.read(trail.records[2].data)
    assert intent.command is not None
    protected, body, signature, key = intent.command
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    trail.records[2] = altered(trail.records[2], command=(protected, body, flipped, key))
    report = trail.verify()
    assert kinds(report) == {Kind.SIGNATURE, Kind.EDITED}
    assert the(report, Kind.SIGNATURE).number == the(report, Kind.EDITED).number == intent.number
    assert Kind.SIGNATURE not in kinds(trail.verify(signatures=False))


def test_an_intent_without_a_signed_command(trail: MadeTrail) -> None:
    """Nobody asked for it, as far as anybody can see."""
    trail.records[2] = altered(trail.records[2], command=None)
    assert Kind.SIGNATURE in kinds(trail.verify())


def test_an_intent_that_must_not_be_copied(trail: MadeTrail) -> None:
    """Without body and signature nothing can be checked of them; that is counted, and no more."""
    intent = trail.intend("w1", bound={**MARK, "body": "hmac:0", "mutates": True})
    stored = trail.records.pop()
    assert intent.command is not None
    protected, _, _, key = intent.command
    hidden = altered(stored, command=(protected, b"", b"", key))
    trail.records.append(hidden)
    place = (hidden.sequence, record_hash(hidden.data))
    trail.author("w1").leaves[intent.number] = place
    trail.end(intent)
    trail.checkpoint("w1")
    report = trail.verify()
    assert report.clean
    assert (report.hidden, report.signatures) == (1, 5)


def test_a_signature_that_was_left_out_without_reason(trail: MadeTrail) -> None:
    """Only where the record says that its collection must not be copied."""
    intent = Record.read(trail.records[2].data)
    assert intent.command is not None
    protected, _, _, key = intent.command
    trail.records[2] = altered(trail.records[2], command=(protected, b"", b"", key))
    assert Kind.SIGNATURE in kinds(trail.verify())


@pytest.mark.parametrize(
    "lie",
    [
        {"principal": "mallory"},
        {"id": "01999999-0000-7000-8000-000000000000"},
        {"attempt": 2},
        {"kid": "another"},
        {"subject": "mallku.v1.cmd.mallku.mallku.secrets.insert"},
        {"subject": "mallku.v1.cmd.mallku.mallku.memory_anchors.delete"},
    ],
)
def test_a_record_that_says_something_else_than_was_signed(
    trail: MadeTrail, lie: dict[str, Any]
) -> None:
    """Principal, id, attempt, key and subject are those of the signed bytes."""
    trail.records[2] = altered(trail.records[2], **lie)
    assert kinds(trail.verify()) & {Kind.MISMATCH, Kind.MISPLACED}
    assert Kind.EDITED in kinds(trail.verify())
