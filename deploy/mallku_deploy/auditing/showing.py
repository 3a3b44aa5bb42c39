"""What a verification and a receipt say, for people and for machines."""

from __future__ import annotations

from typing import Any, Final

from rich.markup import escape

from mallku_contracts.trail.findings import Finding
from mallku_contracts.trail.proof import Proven
from mallku_contracts.trail.resume import WorkerPoint
from mallku_contracts.trail.verification import Report
from mallku_deploy.decoding.readable import clock
from mallku_deploy.terminal import out, show_json

SHOWN: Final = 50
"""Findings, and remarks, that people are shown; machines get those that were kept."""

_HEADER: Final = ("worker", "number", "time", "kid")
_RECORD: Final = ("kind", "principal", "subject", "id", "time", "policy", "rule")


def show_report(report: Report, *, seconds: float, compact: bool) -> None:
    """The report as one line of JSON, or in words."""
    if compact:
        show_json(_plain(report, seconds), compact=True)
        return
    findings = report.findings
    if report.clean:
        out.print(f"[bold green]✓[/] the trail verifies: {_read(report, seconds)}")
    else:
        out.print(f"[bold red]✗[/] {findings.accused} findings: {_read(report, seconds)}")
    for line in _summary(report):
        out.print(f"  {line}", soft_wrap=True)
    _show_list(findings.remarks, "[yellow]·[/]")
    _show_list(findings.accusations, "[bold red]✗[/]")


def _read(report: Report, seconds: float) -> str:
    rate = f", {report.records / seconds:,.0f} records/s" if seconds and report.records else ""
    return f"{report.records:,} records, sequences {report.first}-{report.last}{rate}"


def _summary(report: Report) -> list[str]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.kinds.items()))
    lines = [kinds] if kinds else []
    lines.append(
        f"{report.covered:,} are under {report.checkpoints:,} checkpoints of"
        f" {len(report.workers)} workers"
    )
    if report.signatures:
        lines.append(f"{report.signatures:,} callers' signatures were checked")
    if report.hidden:
        lines.append(f"{report.hidden:,} intents hold hashes alone, and no signature")
    for principal, keys in sorted(report.keys.items()):
        lines.append(f"[dim]{escape(principal)} signed with {escape(', '.join(sorted(keys)))}[/]")
    return lines


def _show_list(found: list[Finding], mark: str) -> None:
    for each in found[:SHOWN]:
        where = "" if each.sequence is None else f" [dim](sequence {each.sequence})[/]"
        out.print(f"  {mark} {each.kind.value}: {escape(each.text)}{where}", soft_wrap=True)
    if len(found) > SHOWN:
        out.print(f"  {mark} and {len(found) - SHOWN:,} more; --json shows them", soft_wrap=True)


def _plain(report: Report, seconds: float) -> dict[str, Any]:
    findings = report.findings
    return {
        "clean": report.clean,
        "first": report.first,
        "last": report.last,
        "records": report.records,
        "kinds": dict(report.kinds),
        "signatures": report.signatures,
        "hidden": report.hidden,
        "checkpoints": report.checkpoints,
        "covered": report.covered,
        "workers": {worker: _worker(point) for worker, point in report.workers.items()},
        "keys": {principal: sorted(keys) for principal, keys in report.keys.items()},
        "counts": {kind.value: count for kind, count in findings.counts.items()},
        "findings": [each.plain() for each in findings.accusations],
        "remarks": [each.plain() for each in findings.remarks],
        "seconds": round(seconds, 3),
    }


def _worker(point: WorkerPoint) -> dict[str, Any]:
    return {
        "kid": point.kid,
        "checkpoints": point.checkpoint,
        "covered": point.covered,
        "uncovered": len(point.leaves),
        "vouched": point.vouched,
        "ended": point.final,
    }


def show_proven(proven: Proven, *, compact: bool) -> None:
    """What a receipt proves, and what not."""
    if compact:
        show_json(_proven(proven), compact=True)
        return
    receipt = proven.receipt
    out.print("[bold green]✓[/] the receipt holds")
    for line in (
        f"who     worker {receipt.worker}, as {receipt.principal}, key {receipt.kid}",
        f"        whose token {receipt.issuer} signed",
        f"when    {clock(receipt.time)}, by the worker's clock",
        f"what    command {receipt.command}",
        f"        its outcome is record {receipt.sequence} of {receipt.stream}",
        f"record  SHA-256 {receipt.hash.hex()}",
        *_record_lines(proven),
        *_inclusion_lines(proven),
    ):
        out.print(f"  {escape(line)}", soft_wrap=True)
    out.print("[dim]It does not prove:[/]")
    for line in not_proven(proven):
        out.print(f"  [dim]· {escape(line)}[/]", soft_wrap=True)


def _record_lines(proven: Proven) -> list[str]:
    record = proven.record
    if record is None:
        return []
    return [f"        {record.principal} asked {record.subject}: {record.kind} ({record.id})"]


def _inclusion_lines(proven: Proven) -> list[str]:
    checkpoint = proven.checkpoint
    if checkpoint is None:
        return []
    header = checkpoint.header
    how = "vouched for by" if proven.vouched else "under"
    return [
        f"proof   number {proven.number}, {how} checkpoint {header.number} of {header.worker}",
        f"        signed {clock(header.time)} with key {header.kid}",
    ]


def not_proven(proven: Proven) -> list[str]:
    """What somebody might think that a bundle proves, and it does not."""
    lines: list[str] = []
    if proven.checkpoint is None:
        lines.append("that the record stands in the trail: `audit prove` adds that")
    else:
        lines.append("that the record still stands there today: `audit verify --against` does that")
    if proven.record is None:
        lines.append("who asked, and for what: the record says it (`audit prove --with-record`)")
    lines.append("what else happened, before or after")
    return lines


def _proven(proven: Proven) -> dict[str, Any]:
    receipt, checkpoint, record = proven.receipt, proven.checkpoint, proven.record
    shown: dict[str, Any] = {
        "verified": True,
        "receipt": {name: getattr(receipt, name) for name in receipt.__slots__},
        "number": proven.number,
        "vouched": proven.vouched,
        "checkpoint": None,
        "record": None,
        "not_proven": not_proven(proven),
    }
    if checkpoint is not None:
        header = checkpoint.header
        shown["checkpoint"] = {name: getattr(header, name) for name in _HEADER}
    if record is not None:
        shown["record"] = {name: getattr(record, name) for name in _RECORD}
    return shown
