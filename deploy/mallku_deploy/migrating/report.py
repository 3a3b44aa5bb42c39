"""What a check came to, for people, for machines and for a code host's annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from mallku_deploy.migrating.files import Checked
from mallku_deploy.migrating.rules import RULES, Finding


def line(found: Finding) -> str:
    """One finding as compilers write theirs, `path:line:column: code what`, with colours."""
    colour = "red" if found.rule.breaks else "yellow"
    place = f"{escape(found.path)}:{found.line}:{found.column}:"
    return f"[dim]{place}[/] [{colour}]{found.code}[/] {found.rule.what}: {escape(found.seen)}"


def instead(checked: Checked) -> Table:
    """What to write instead, said once for each rule that was met."""
    counts = Counter(found.code for found in checked.findings)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("rule", no_wrap=True)
    table.add_column("met", justify="right")
    table.add_column("write instead", overflow="fold")
    for code in sorted(counts):
        table.add_row(code, str(counts[code]), escape(RULES[code].instead))
    return table


def summary(checked: Checked) -> str:
    """The last line."""
    if not checked.findings:
        return f"[green]✓[/] {checked.files} files, nothing goes past the gateway"
    advice = len(checked.findings) - checked.breaking
    return (
        f"{checked.files} files: [red]{checked.breaking}[/] that will not work behind the gateway,"
        f" [yellow]{advice}[/] that work and should change"
    )


def annotate(checked: Checked) -> Iterator[str]:
    """Workflow commands that a code host shows beside the lines.

    Source: GitHub Actions, "Workflow commands", `::error file=…,line=…,col=…::message`.
    """
    for found in checked.findings:
        kind = "error" if found.rule.breaks else "warning"
        place = f"file={_property(found.path)},line={found.line},col={found.column}"
        message = f"{found.rule.what}: {found.seen}; instead: {found.rule.instead}"
        yield f"::{kind} {place},title={found.code}::{_data(message)}"


def as_json(checked: Checked) -> dict[str, object]:
    """The whole as one value: `files`, `breaking`, `findings`."""
    return {
        "files": checked.files,
        "breaking": checked.breaking,
        "findings": [
            {
                "path": found.path,
                "line": found.line,
                "column": found.column,
                "code": found.code,
                "name": found.rule.name,
                "breaks": found.rule.breaks,
                "what": found.rule.what,
                "seen": found.seen,
                "instead": found.rule.instead,
            }
            for found in checked.findings
        ],
    }


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
