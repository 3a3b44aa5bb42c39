"""What a verifier's report says, in the words of the tests of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mallku_contracts.audit import Record
from mallku_contracts.trail.findings import REMARKS, Finding, Kind
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trail.tails import MAX_TAIL_AGE_MS
from mallku_contracts.trail.verification import Report

OLD_MS = 10 * MAX_TAIL_AGE_MS


def kinds(report: Report) -> set[Kind]:
    """What was found that accuses somebody."""
    return set(report.findings.counts) - REMARKS


def remarks(report: Report) -> set[Kind]:
    """What was found that accuses nobody."""
    return set(report.findings.counts) & REMARKS


def the(report: Report, kind: Kind) -> Finding:
    """The one finding of this kind."""
    findings = [*report.findings.accusations, *report.findings.remarks]
    (found,) = [finding for finding in findings if finding.kind == kind]
    return found


def altered(stored: TrailEntry, **changes: Any) -> TrailEntry:
    """The same message with other fields in its record."""
    return stored._replace(data=replace(Record.read(stored.data), **changes).pack())
