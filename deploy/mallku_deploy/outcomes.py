"""What administrators see: adoptions, differences and locks, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from mallku_broker.accounts import (
    accounts_text,
)
from mallku_broker.nsc import nsc_commands
from mallku_contracts.governed import Kind
from mallku_deploy.differences import Change
from mallku_deploy.governing import Compared, Locks
from mallku_deploy.locks import Lock, shortened
from mallku_deploy.pushing import ADOPT_WITHIN_S, Outcome
from mallku_deploy.terminal import REFUSED, err, out, show_json

_WHAT: Final = {Kind.POLICY: "policy", Kind.KEYS: "revocation list", Kind.FLAGS: "flags"}
_TITLES: Final = {
    "allowed": "newly allowed",
    "refused": "newly refused",
    "restricted": "allowed as before, by other document rules",
}


def show_outcome(outcome: Outcome, *, compact: bool) -> int:
    """Who runs by the pushed document; the exit code is 1 when a worker said nothing in time."""
    document = outcome.document
    if compact:
        workers = {each.worker: each.after_ms for each in outcome.adoptions}
        names = {"kind": document.kind.value, "version": document.version, "kid": document.key.kid}
        show_json(names | {"workers": workers, "missing": outcome.missing}, compact=True)
    else:
        _show_adoptions(outcome)
    if outcome.missing:
        err.print(
            f"[bold red]not yet[/]  {len(outcome.missing)} workers said nothing within"
            f" {ADOPT_WITHIN_S:g} s: {', '.join(outcome.missing)}",
            soft_wrap=True,
        )
    return REFUSED if outcome.missing else 0


def _show_adoptions(outcome: Outcome) -> None:
    document = outcome.document
    what = f"{_WHAT[document.kind]} version {document.version}"
    if not outcome.adoptions:
        out.print(f"[green]✓[/] {what} is signed and stored; no worker runs now")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("worker")
    table.add_column("version", justify="right")
    table.add_column("in force after", justify="right")
    for each in outcome.adoptions:
        table.add_row(each.worker, str(document.version), f"{each.after_ms} ms")
    mark = "[yellow]![/]" if outcome.missing else "[green]✓[/]"
    out.print(f"{mark} {what} is in force on {len(outcome.adoptions)} workers")
    out.print(table)


def show_comparison(found: Compared, *, compact: bool) -> None:
    """Which commands would be decided otherwise, most frequent first."""
    comparison = found.comparison
    if compact:
        changes = [
            each._asdict() | {"commands": number}
            for each, number in comparison.changes.most_common()
        ]
        counts = {"decided": comparison.decided, "undecided": comparison.undecided}
        counts |= {
            "partly": comparison.partly,
            "others": comparison.others,
            "now": found.now,
            "then": found.then,
        }
        show_json(counts | {"changes": changes}, compact=True)
        return
    mark = "[yellow]≠[/]" if comparison else "[green]✓[/]"
    out.print(
        f"{mark} {comparison.decided} commands decided under version {found.now}, in force,"
        f" and under version {found.then}"
    )
    if not comparison.changes:
        out.print("  every one the same")
    for direction, title in _TITLES.items():
        group = [
            (each, number)
            for each, number in comparison.changes.most_common()
            if each.direction == direction
        ]
        if group:
            out.print(_changes(title, group))
    if comparison.others:
        out.print(f"  and {comparison.others} commands in still other ways")
    if comparison.partly:
        out.print(
            f"[dim]{comparison.partly} of them by who asks for which operation alone: their records"
            " hold no arguments[/]"
        )
    if comparison.undecided:
        out.print(f"[dim]{comparison.undecided} records do not say enough to decide again[/]")


def _changes(title: str, group: list[tuple[Change, int]]) -> Table:
    total = sum(number for _, number in group)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=f"{title}: {total}", title_justify="left")
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("who asks what", overflow="fold")
    table.add_column("now → then", overflow="fold")
    for each, number in group:
        asks = f"{each.principal}: {each.operation} {each.target}"
        table.add_row(str(number), escape(asks), escape(f"{each.now} → {each.then}"))
    return table


def show_locks(found: Locks, form: str, *, compact: bool) -> None:
    """Lists for each principal, or the text that a server or nsc takes."""
    if form == "conf":
        out.out(accounts_text(found.users), end="", highlight=False)
    elif form == "nsc":
        out.out(nsc_commands(found.users), end="", highlight=False)
    elif compact:
        show_json(
            {"version": found.version, "locks": [_plain(each) for each in found.locks]},
            compact=True,
        )
    else:
        for lock in found.locks:
            _show_lock(lock)


def _plain(lock: Lock) -> dict[str, Any]:
    wider = [{"subject": each.subject, "reason": each.reason} for each in lock.widenings]
    return {
        "name": lock.name,
        "kind": lock.kind,
        "permissions": asdict(lock.permissions),
        "wider": wider,
    }


def _show_lock(lock: Lock) -> None:
    out.print(f"[bold]{escape(lock.name)}[/]  [dim]{lock.kind}[/]")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    permissions = lock.permissions
    rows = [
        *(("publish", each) for each in shortened(permissions.publish)),
        *(("subscribe", each) for each in shortened(permissions.subscribe)),
        *(("not subscribe", each) for each in permissions.deny_subscribe),
    ]
    former = ""
    for name, subject in rows:
        table.add_row(f"  {name if name != former else ''}", escape(_breakable(subject)))
        former = name
    for each in lock.widenings:
        row = f"{_breakable(each.subject)}\n[dim]{escape(each.reason)}[/]"
        table.add_row(f"  [yellow]{'wider' if former != 'wider' else ''}[/]", row)
        former = "wider"
    out.print(table)
    out.print()


def _breakable(subject: str) -> str:
    """A line may end after a comma."""
    return subject.replace(",", ", ")
