"""What is said of a rebuild: to people, and to machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.markup import escape

from mallku_deploy.terminal import err, out, show_json
from mallku_workers.rebuilding import Rebuilt
from mallku_workers.stores.copying import Compared, Verified

SHOWN: Final = 10
"""Lines of one kind that people are shown; machines get all that were kept."""


def show_report(rebuilt: Rebuilt, compared: Compared | None, *, compact: bool) -> None:
    """Say what came of a rebuild and of its comparison."""
    if compact:
        show_json(plain(rebuilt, compared), compact=True)
        return
    mark = "[green]✓[/]" if rebuilt.whole else "[bold red]✗[/]"
    out.print(f"{mark} {rebuilt.steps:,} commits were put into the target")
    _show("[bold red]missing[/]", rebuilt.missing)
    _show("[bold red]last version not on the trail[/]", rebuilt.lost)
    _show("[yellow]changed past the gateway, or before the trail[/]", rebuilt.gaps)
    _show("[yellow]made past the gateway[/]", rebuilt.implied)
    _show("[yellow]without outcome (audit reconcile)[/]", rebuilt.unresolved)
    if compared is not None:
        _show_compared(compared)


def _show_compared(compared: Compared) -> None:
    for one in compared.collections:
        mark = "[green]✓[/]" if one.same else "[bold red]✗[/]"
        out.print(f"{mark} {escape(one.collection)}: {one.documents:,} documents compared")
        _show("[bold red]not the same[/]", differences(one))
    _show("[bold red]not the same[/]", compared.catalog)
    if compared.same:
        out.print("[bold green]the same documents under the same keys, field by field[/]")


def differences(found: Verified) -> list[str]:
    """The documents of a collection that are not the same, in words."""
    lines = [f"{found.collection}/{key}: {what}" for key, what in found.differences]
    if found.different > len(lines):
        lines.append(f"{found.collection}: and {found.different - len(lines):,} more")
    if not found.same and not lines:
        lines.append(f"{found.collection}: changed while it was compared")
    return lines


def _show(what: str, lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        err.print(f"{what}  {escape(line)}", soft_wrap=True)
    if len(lines) > SHOWN:
        err.print(f"{what}  [dim]and {len(lines) - SHOWN:,} more (--json names them)[/]")


def plain(rebuilt: Rebuilt, compared: Compared | None) -> dict[str, Any]:
    """The report as a map for machines."""
    found: dict[str, Any] = {
        "whole": rebuilt.whole,
        "commits": rebuilt.steps,
        "missing": rebuilt.missing,
        "lost": rebuilt.lost,
        "gaps": rebuilt.gaps,
        "implied": rebuilt.implied,
        "unresolved": rebuilt.unresolved,
    }
    if compared is not None:
        found["same"] = compared.same
        found["differences"] = [
            *compared.catalog,
            *(line for one in compared.collections for line in differences(one)),
        ]
        found["documents"] = {one.collection: one.documents for one in compared.collections}
    return found
