"""`audit replay`: a part of the trail again, as lines of JSON or as a table, at a chosen speed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mallku_client.settings import ClientSettings
from mallku_client.trail import TrailEntry
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.subjects import OUTCOMES
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.choosing import Chosen, now, with_intents
from mallku_deploy.auditing.described import describe_entry
from mallku_deploy.auditing.governing import find_hiding
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Lines
from mallku_deploy.auditing.pacing import Pace
from mallku_deploy.auditing.table import Table
from mallku_deploy.terminal import err, out, say_aside


class Stage(Protocol):
    """Where messages are shown; each is told in the order of the stream."""

    def show(self, entry: TrailEntry) -> None:
        """Show one message, if it is to be shown."""
        ...

    def flush(self) -> None:
        """What was shown has left this process when this returns."""
        ...

    def end(self) -> None:
        """Nothing follows; say what has to be said then."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How a replay is shown.

    Attributes:
        policy: Whose hidden fields are not shown; None takes the one that governs.
    """

    pace: Pace
    as_json: bool
    policy: Path | None = None


async def replay(settings: ClientSettings, chosen: Chosen, manner: Manner) -> int:
    """Show what was chosen, oldest first; the exit code."""
    selection = chosen.selection(now())
    async with await open_trail(settings) as reader:
        hiding = await find_hiding(reader, manner.policy)
        if manner.as_json:
            stage: Stage = JsonLines(hiding)
        else:
            stage = PrintedTable(hiding, selection.outcomes)
            selection = with_intents(selection)
        await _play(reader.batches(selection, follow=chosen.follow), stage, manner.pace)
    return 0


async def _play(batches: AsyncGenerator[list[TrailEntry]], stage: Stage, pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    async with aclosing(batches):
        async for batch in batches:
            for entry in batch:
                wait_s = pace.wait_s(entry.time, loop.time())
                if wait_s:
                    stage.flush()
                    await asyncio.sleep(wait_s)
                stage.show(entry)
            stage.flush()
    stage.end()


class JsonLines:
    """One message, one line of JSON."""

    def __init__(self, hiding: Hiding) -> None:
        self._hiding = hiding

    def show(self, entry: TrailEntry) -> None:
        """Write the line."""
        line = json.dumps(describe_entry(entry, self._hiding), ensure_ascii=False)
        sys.stdout.write(line + "\n")

    def flush(self) -> None:
        """Hand it over."""
        sys.stdout.flush()

    def end(self) -> None:
        """Nothing follows."""


class PrintedTable:
    """One command, one line; intents are shown where they were asked for by name alone.

    Args:
        outcomes: What was asked for; everything but intents when empty.
    """

    def __init__(self, hiding: Hiding, outcomes: Sequence[str]) -> None:
        self._lines, self._table = Lines(hiding), Table(out.width)
        self._wanted = frozenset(outcomes or OUTCOMES[1:])
        self._tell_open = not outcomes
        self._shown = 0

    def show(self, entry: TrailEntry) -> None:
        """Print the line of what was asked for."""
        try:
            line = self._lines.add(entry, Record.read(entry.data))
        except RecordError as error:
            say_aside(f"sequence {entry.sequence} is no record: {error}")
            return
        if line.kind not in self._wanted:
            return
        if not self._shown:
            out.print(self._table.header())
        self._shown += 1
        for text in self._table.format(line):
            out.print(text, soft_wrap=True)

    def flush(self) -> None:
        """Hand it over."""
        sys.stdout.flush()

    def end(self) -> None:
        """Say what is not in the table."""
        if not self._shown:
            err.print("[dim]nothing of what was asked for is on the trail[/]")
        if self._tell_open and self._lines.open_commands:
            say_aside(
                f"{self._lines.open_commands:,} intents have no outcome up to here;"
                " --outcome intent shows them"
            )
