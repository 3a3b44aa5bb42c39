"""`store copy`: the order, how it is watched, and what is said in the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mallku_broker.files import make_private_folder
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.extras import require_workers
from mallku_deploy.house import default_house
from mallku_deploy.interruption import interruptible
from mallku_deploy.terminal import REFUSED, err, out, show_json
from mallku_workers.stores.copying import (
    Credentials,
    StateFile,
    Verified,
    copy,
    open_source,
    open_target,
    read_spec,
    state_name,
)

SHOWN_DIGITS: Final = 16
"""Hexadecimal digits of a digest that the table shows; `--json` gives all."""

_BAR: Final = 12
_DIGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be copied where; credentials are a user's name and password file, or None."""

    source: str
    target: str
    source_credentials: tuple[str | None, Path | None]
    target_credentials: tuple[str | None, Path | None]
    into_existing: bool
    state: Path | None


async def run(order: Order, *, compact: bool) -> int:
    """Copy and compare; the exit code.

    Raises:
        MallkuError: nothing was lost, and the same order goes on where this one stopped.
    """
    require_workers()
    return await interruptible(_run(order, compact=compact))


async def _run(order: Order, *, compact: bool) -> int:
    source, target = read_spec(order.source), read_spec(order.target)
    if source == target:
        raise ConfigurationError("--from and --to are the same database")
    path = order.state or _state_path(str(source), str(target))
    async with AsyncExitStack() as stack:
        state = stack.enter_context(StateFile(path, str(source), str(target)))
        _say_first(state)
        reading = Credentials(*order.source_credentials)
        writing = Credentials(*order.target_credentials)
        from_side = await stack.enter_async_context(open_source(source, reading))
        to_side = await stack.enter_async_context(open_target(target, writing))
        watch = stack.enter_context(Bars())
        found = await copy(from_side, to_side, state, watch, into_existing=order.into_existing)
    return _say_last(found, path, compact=compact)


def _state_path(source: str, target: str) -> Path:
    root = default_house().root
    make_private_folder(root)
    return root / "copies" / state_name(source, target)


def _say_first(state: StateFile) -> None:
    err.print(
        "[yellow]![/] workers of both sides should be stopped: what changes now is copied or not",
        soft_wrap=True,
    )
    if state.resumed:
        err.print(f"going on with an earlier copy ({escape(str(state.path))})", soft_wrap=True)


def _say_last(found: Sequence[Verified], path: Path, *, compact: bool) -> int:
    wrong = [one for one in found if not one.same]
    if compact:
        show_json([_for_machines(one) for one in found], compact=True)
    else:
        out.print(_table(found))
    for one in wrong:
        err.print(
            f"[bold red]not the same[/]  {one.collection}/{escape(one.key or '?')}:"
            f" {one.difference or 'changed while it was compared'};"
            f" {one.documents:,} in the source, {one.found:,} in the target",
            soft_wrap=True,
        )
    if wrong:
        err.print(f"[dim]given again, the command copies them again ({escape(str(path))})[/]")
    return REFUSED if wrong else 0


def _table(found: Sequence[Verified]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("collection", overflow="fold")
    table.add_column("source", justify="right")
    table.add_column("target", justify="right")
    table.add_column("digest", no_wrap=True, style="dim")
    for one in found:
        mark = "[green]✓[/]" if one.same else "[bold red]✗[/]"
        shown = f"{one.source_digest:0{_DIGEST}x}"[:SHOWN_DIGITS]
        table.add_row(mark, one.collection, f"{one.documents:,}", f"{one.found:,}", shown)
    return table


def _for_machines(one: Verified) -> dict[str, object]:
    return {
        "collection": one.collection,
        "same": one.same,
        "source": one.documents,
        "target": one.found,
        "source_digest": f"{one.source_digest:0{_DIGEST}x}",
        "target_digest": f"{one.target_digest:0{_DIGEST}x}",
        "key": one.key,
        "difference": one.difference,
    }


class _Speed(ProgressColumn):
    """Documents in a second, as they went lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", justify="right")


class Bars:
    """One bar for each collection that is copied, and one for each that is compared."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(_BAR),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=err,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, phase: str, collection: str, total: int) -> None:
        """Another bar."""
        self._task = self._progress.add_task(f"{phase} {escape(collection)}", total=total)

    def advance(self, documents: int) -> None:
        """The bar grows."""
        if self._task is not None:
            self._progress.advance(self._task, documents)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.print(f"[yellow]![/] {escape(text)}", soft_wrap=True)
