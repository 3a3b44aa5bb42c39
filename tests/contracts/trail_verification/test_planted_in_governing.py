"""Lies about what governs the gateway, and about where its trail goes on, are found."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.governed import Document, sign_document
from mallku_contracts.governed import Kind as Governed
from mallku_contracts.revocation import RevocationList
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.verification import REVOKED_WITHIN_MS, Report
from tests.contracts.trail_verification.judging import kinds
from tests.support.made_trail import MadeTrail, feed, key_of

ADMINISTRATORS = {key_of("administrator").kid: key_of("administrator").public}


def _document(trail: MadeTrail, *, by: str = "administrator", revoked: str = "") -> Document:
    listed = RevocationList()
    if revoked:
        listed = listed.with_names([revoked], "stolen", trail.now_ms)
    body = listed.to_text().encode()
    return sign_document(Governed.KEYS, 1, body, key_of(by), issued_at=trail.now_ms)


def _verify(trail: MadeTrail, **known: Any) -> Report:
    trail.checkpoint("w1")
    trail.checkpoint("w2")
    return trail.verify(verifier=trail.verifier(**known))


def test_a_document_that_an_administrator_signed(trail: MadeTrail) -> None:
    """It is held against the trust file, and holds."""
    trail.adopt(_document(trail))
    assert _verify(trail, administrators=ADMINISTRATORS).clean


def test_a_document_that_somebody_else_signed(trail: MadeTrail) -> None:
    """Whoever put it in force was deceived, or lies; without their keys nobody can tell."""
    trail.adopt(_document(trail, by="mallory"))
    assert kinds(_verify(trail, administrators=ADMINISTRATORS)) == {Kind.UNGOVERNED}
    assert trail.verify().clean


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_document_that_was_altered(trail: MadeTrail, part: int) -> None:
    """Its signature holds for the bytes that were signed alone; that needs no trust file."""
    document = _document(trail)
    parts = list(document.parts)
    parts[part] = parts[part][:-1] + bytes([parts[part][-1] ^ 1])
    trail.adopt(document, command=tuple(parts))
    assert Kind.UNGOVERNED in kinds(_verify(trail))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_worker_that_writes_with_a_revoked_key(trail: MadeTrail, resumed: bool) -> None:
    """Once it must have heard of it; also where an earlier verification read of the revocation."""
    trail.adopt(_document(trail, revoked=key_of("w2").kid), "w1")
    trail.command("w2")
    verifier = trail.verifier(administrators=ADMINISTRATORS)
    trail.checkpoint("w2")
    assert trail.verify(verifier=verifier).clean
    read, seen = len(trail.records), len(trail.checkpoints)
    trail.now_ms += REVOKED_WITHIN_MS + 1_000
    trail.command("w2")
    trail.checkpoint("w2")
    trail.checkpoint("w1")
    if not resumed:
        assert kinds(trail.verify()) == {Kind.REVOKED_KEY}
        return
    second = trail.verifier(resume=verifier.resume())
    feed(second, trail.records[read:], trail.checkpoints[seen:])
    assert kinds(second.finish(trail.now_ms)) == {Kind.REVOKED_KEY}


def test_a_list_that_nobody_signed_revokes_nothing(trail: MadeTrail) -> None:
    """It is found as what it is, and accuses no worker."""
    trail.adopt(_document(trail, by="mallory", revoked=key_of("w2").kid))
    trail.now_ms += REVOKED_WITHIN_MS + 1_000
    trail.command("w2")
    assert kinds(_verify(trail, administrators=ADMINISTRATORS)) == {Kind.UNGOVERNED}


@pytest.mark.parametrize("known", [{}, {"seams": {}}])
def test_where_the_trail_goes_on_a_record_says_so(trail: MadeTrail, known: dict[str, Any]) -> None:
    """In order: by what records say alone, and by what the server says of its streams."""
    sequence = len(trail.records) + 1
    trail.rotate()
    trail.command("w2")
    seams = {"seams": {sequence: 2}} if known else {}
    assert _verify(trail, **seams).clean


@pytest.mark.parametrize("lie", [{"last": 3}, {"hash": "00" * 32}])
def test_a_stream_that_begins_behind_another_record(trail: MadeTrail, lie: dict[str, Any]) -> None:
    """The former stream was cut, or exchanged: its last record is not the one that was."""
    trail.rotate(**lie)
    assert kinds(_verify(trail)) == {Kind.SEAM}


def test_a_stream_that_begins_without_a_word(trail: MadeTrail) -> None:
    """The server has a second stream, which begins like any record."""
    sequence = len(trail.records) + 1
    trail.command("w2")
    assert kinds(_verify(trail, seams={sequence: 2})) == {Kind.SEAM}


@pytest.mark.parametrize("place", [{}, {3: 2}])
def test_a_record_of_a_stream_that_does_not_begin_there(
    trail: MadeTrail, place: dict[int, int]
) -> None:
    """It says that the trail goes on in another stream, and the server has none there."""
    trail.rotate()
    report = _verify(trail, seams=place)
    assert kinds(report) == {Kind.SEAM}
    assert report.findings.counts[Kind.SEAM] == 1 + len(place)
