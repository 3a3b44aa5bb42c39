"""What `store plan` and `store apply` show."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from mallku_deploy.terminal import err, out, show_json
from mallku_workers.stores.provisioning import Action, Plan, Step

_MARKS: Final = {
    Action.CREATE: "[green]+ create[/]",
    Action.CHANGE: "[yellow]~ change[/]",
    Action.DROP: "[red]- drop[/]",
}


def show_plan(plan: Plan, *, compact: bool) -> None:
    """The steps, what has to be named first, and what is left alone."""
    if compact:
        show_json(_for_machines(plan), compact=True)
        return
    if plan.steps or plan.blocked or plan.left:
        out.print(_table(plan))
    for name in plan.absent:
        out.print(f"[dim]named to be dropped, and not there: {escape(name)}[/]", soft_wrap=True)
    if not plan.pending:
        out.print("[green]✓[/] nothing to do: the store is as declared")
    else:
        out.print(_counts(plan))


def show_step(step: Step) -> None:
    """One step that was done."""
    out.print(f"[green]✓[/] {step.action} {escape(step.name)}", soft_wrap=True)


def show_summary(done: int, steps: int, *, failed: Step | None) -> None:
    """How far it came."""
    if failed is not None:
        err.print(
            f"[bold red]stopped[/] at {failed.action} {escape(failed.name)}: {done} of {steps}"
            " steps are done; run it again when the cause is gone",
            soft_wrap=True,
        )
    elif steps:
        err.print(f"[green]✓[/] {done} of {steps} steps are done")


def show_left_to_name(plan: Plan) -> None:
    """What was not done, and how it will be."""
    for one in plan.blocked:
        err.print(
            f"[yellow]![/] not done: {escape(one.name)}; to drop it and make it anew, give"
            f" --drop {escape(one.name)} or name it under drop",
            soft_wrap=True,
        )


def _table(plan: Plan) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("detail", overflow="fold", style="dim")
    for step in plan.steps:
        table.add_row(_MARKS[step.action], escape(step.name), escape(step.detail))
    for one in plan.blocked:
        table.add_row("[yellow]! differs[/]", escape(one.name), escape(one.detail))
    for one in plan.left:
        table.add_row("[dim]  left alone[/]", escape(one.name), escape(one.detail))
    return table


def _counts(plan: Plan) -> str:
    numbers = {
        action: sum(step.action is action for step in plan.steps)
        for action in (Action.CREATE, Action.CHANGE, Action.DROP)
    }
    said = [f"{number} to {action}" for action, number in numbers.items() if number]
    if plan.blocked:
        said.append(f"{len(plan.blocked)} to be named under drop before they are made anew")
    return ", ".join(said)


def _for_machines(plan: Plan) -> dict[str, object]:
    return {
        "steps": [
            {"action": step.action, "name": step.name, "detail": step.detail} for step in plan.steps
        ],
        "blocked": [{"name": one.name, "detail": one.detail} for one in plan.blocked],
        "left": [{"name": one.name, "detail": one.detail} for one in plan.left],
        "absent": list(plan.absent),
        "pending": plan.pending,
    }
