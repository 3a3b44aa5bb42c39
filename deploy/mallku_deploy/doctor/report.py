"""What was found, put together: for people, for machines, and as an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from mallku_broker.permissions import Widening
from mallku_deploy.doctor.attempts import Finding, Verdict
from mallku_deploy.terminal import REFUSED, out, show_json

UNTRIED: Final = 2
"""Exit code when something could not be tried, and there is no hole."""

_STYLES: Final = {
    Verdict.PROVEN: "green",
    Verdict.WIDER: "yellow",
    Verdict.HOLE: "bold red",
    Verdict.UNTRIED: "bold yellow",
}
_MADE_UP: Final = "?"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was tried at one gateway.

    Attributes:
        mark: The name that was made up for the tries.
        widenings: Where the broker's lock is known to be wider than the worker's.
    """

    url: str
    version: int
    mark: str
    findings: tuple[Finding, ...]
    widenings: tuple[Widening, ...]

    @property
    def counts(self) -> Counter[Verdict]:
        """How often each verdict was found."""
        return Counter(finding.verdict for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1: there is a hole; 2: there is none, but not everything could be tried; else 0."""
        if self.counts[Verdict.HOLE]:
            return REFUSED
        return UNTRIED if self.counts[Verdict.UNTRIED] else 0


def show_report(
    report: Report, *, subjects: bool = False, verbose: bool = False, compact: bool = False
) -> None:
    """Print a line for each role, whatever is not as it should be, and the sum.

    With `verbose` a table for each role and all that is wider; `subjects` adds what was tried.
    `compact` is one line of JSON with everything.
    """
    if compact:
        show_json(_plain(report), compact=True)
    elif verbose or subjects:
        _show_everything(report, subjects=subjects)
    else:
        _show_summary(report)


def _show_summary(report: Report) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("role", overflow="fold")
    table.add_column("kind")
    table.add_column("tries", justify="right")
    table.add_column("")
    roles = groupby(report.findings, key=lambda each: (each.kind, each.name))
    for (kind, name), found in roles:
        findings = list(found)
        counts = Counter(finding.verdict for finding in findings)
        tries = sum(len(finding.tried) for finding in findings)
        table.add_row(escape(name), "" if kind == name else kind, str(tries), _counted(counts))
    out.print(table)
    out.print()
    odd = [each for each in report.findings if each.verdict is not Verdict.PROVEN]
    for name, group in groupby(odd, key=lambda each: each.name):
        for line in _notes(group, report.mark, subjects=False):
            out.print(Padding(f"{escape(name)}  {line}", (0, 0, 0, 1)))
    if odd:
        out.print()
    if report.widenings:
        out.print(
            f"The broker's lock is wider than the worker's in {len(report.widenings)} places,"
            " which NATS cannot say more narrowly: [bold]--verbose[/] lists them, and every row."
        )
    _show_sum(report)


def _show_everything(report: Report, *, subjects: bool) -> None:
    for (kind, name), found in groupby(report.findings, key=lambda each: (each.kind, each.name)):
        findings = list(found)
        out.print(f"[bold]{escape(name)}[/]" + ("" if kind == name else f"  [dim]{kind}[/]"))
        out.print(_table(findings))
        for line in _notes(findings, report.mark, subjects=subjects):
            out.print(Padding(line, (0, 0, 0, 1)))
        out.print()
    _show_widenings(report.widenings)
    _show_sum(report)


def _plain(report: Report) -> dict[str, Any]:
    counts = {verdict.value: report.counts[verdict] for verdict in Verdict}
    return {
        "url": report.url,
        "policy": report.version,
        "counts": counts,
        "findings": [asdict(finding) for finding in report.findings],
        "wider": [widening._asdict() for widening in report.widenings],
    }


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False)
    table.add_column(" probe", ratio=1)
    table.add_column("tried", justify="right", width=5)
    table.add_column("expected", width=8)
    table.add_column("seen", width=14)
    table.add_column("", width=9)
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(
            f" {escape(finding.title)}",
            str(len(finding.tried) or ""),
            finding.expected,
            finding.seen,
            f"[{style}]{finding.verdict.value}[/]",
        )
    return table


def _notes(findings: Iterable[Finding], mark: str, *, subjects: bool) -> Iterator[str]:
    """What a row had no room for; a name that was made up is `?`."""
    for finding in findings:
        if finding.why:
            style, why = _STYLES[finding.verdict], finding.why.replace(mark, _MADE_UP)
            yield f"[{style}]{finding.verdict.value}[/]  {finding.title}: [dim]{escape(why)}[/]"
        if subjects and finding.tried:
            tried = "\n  ".join(each.replace(mark, _MADE_UP) for each in finding.tried)
            yield f"{finding.title}\n  [dim]{escape(tried)}[/]"


def _show_widenings(widenings: Iterable[Widening]) -> None:
    out.print("[bold]Where the broker's lock is wider than the worker's, and why[/]")
    for name, group in groupby(widenings, key=lambda each: each.principal):
        out.print(f" {escape(name)}")
        for each in group:
            out.print(Padding(escape(each.subject), (0, 0, 0, 3)))
            out.print(Padding(f"[dim]{escape(each.reason)}[/]", (0, 0, 0, 5)))
    out.print()


def _show_sum(report: Report) -> None:
    counts = report.counts
    tries = sum(len(finding.tried) for finding in report.findings)
    out.print(
        f"{report.url}, policy version {report.version}: {tries} tries in"
        f" {len(report.findings)} rows: {_counted(counts)}",
        soft_wrap=True,
    )


def _counted(counts: Counter[Verdict]) -> str:
    return ", ".join(
        f"[{_STYLES[verdict]}]{counts[verdict]} {verdict.value}[/]"
        for verdict in Verdict
        if counts[verdict]
    )
