"""`tail`: the trail live, one line for each command, refusal and word about the gateway."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.text import Text

from mallku_client.settings import ClientSettings
from mallku_client.trail import AuditReader, Selection, TrailEntry
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.subjects import OUTCOMES
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.choosing import Chosen, now, with_intents
from mallku_deploy.auditing.governing import find_hiding
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Line, Lines
from mallku_deploy.auditing.sampling import Sampler
from mallku_deploy.auditing.table import Table
from mallku_deploy.terminal import err, out, say_aside

TICK_S: Final = 1.0
"""Between two summaries of what was not shown, seconds."""

CONTEXT: Final = 500
"""Records before the first that is shown, in which the intents of what is shown are looked for."""

BEHIND_S: Final = 2.0
"""What is shown is late from here on, and that is said; seconds."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How the trail is followed.

    Attributes:
        last: So many records from before come first.
        everything: Show every line, however fast they come.
        policy: Whose hidden fields are not shown; None takes the one that governs.
    """

    last: int
    everything: bool
    policy: Path | None = None


async def tail(settings: ClientSettings, chosen: Chosen, manner: Manner) -> int:
    """Follow until interrupted."""
    selection = chosen.selection(now())
    async with await open_trail(settings) as reader:
        hiding = await find_hiding(reader, manner.policy)
        begin = 1
        if selection.since_ms is None:
            begin = max(1, (await reader.stream_info()).last + 1 - manner.last)
            selection = replace(selection, first=max(1, begin - CONTEXT))
        screen = Screen(hiding, selection, begin=begin, everything=manner.everything)
        screen.begin(str(settings.principal))
        summing_up = asyncio.create_task(_keep_summing_up(screen))
        try:
            await _follow(reader, with_intents(selection), screen)
        finally:
            summing_up.cancel()
            screen.end()
    return 0


async def _follow(reader: AuditReader, selection: Selection, screen: Screen) -> None:
    async with aclosing(reader.batches(selection, follow=True)) as batches:
        async for batch in batches:
            for entry in batch:
                screen.show(entry)


async def _keep_summing_up(screen: Screen) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        screen.sum_up()


class Screen:
    """Prints what came, or how much of it there was; nothing below the sequence `begin`."""

    def __init__(
        self, hiding: Hiding, selection: Selection, *, begin: int, everything: bool
    ) -> None:
        self._lines, self._table = Lines(hiding), Table(out.width)
        self._sampler = Sampler(everything=everything)
        self._wanted = frozenset(selection.outcomes or OUTCOMES[1:])
        self._begin, self._everything = begin, everything
        self._began_ms, self._behind_s = 0, 0.0

    def begin(self, principal: str) -> None:
        """Say what is followed."""
        self._began_ms = time.time_ns() // 1_000_000
        say_aside(f"following the trail as {principal}; Ctrl-C ends it")
        out.print(self._table.header())

    def show(self, entry: TrailEntry) -> None:
        """Take one message."""
        try:
            line = self._lines.add(entry, Record.read(entry.data))
        except RecordError as error:
            say_aside(f"sequence {entry.sequence} is no record: {error}")
            return
        if entry.time > self._began_ms:
            self._behind_s = time.time() - entry.time / 1_000
        wanted = line.kind in self._wanted and entry.sequence >= self._begin
        if wanted and self._sampler.shows(line, time.monotonic()):
            self._print(line)

    def sum_up(self) -> None:
        """Say what was not shown since the last time, and whether we are late."""
        said = self._sampler.summary().texts()
        late_s, self._behind_s = self._behind_s, 0.0
        if late_s > BEHIND_S:
            less = "without --all it keeps up" if self._everything else "filters help"
            said.append(f"… {late_s:.0f} s behind; {less}")
        for text in said:
            out.print(Text(f"{'':9}{text}", style="dim"), soft_wrap=True)

    def end(self) -> None:
        """Say what there was altogether; nobody may be there to hear it."""
        counted = ", ".join(f"{count:,} {kind}" for kind, count in self._sampler.totals.items())
        with suppress(BrokenPipeError):
            self.sum_up()
            err.print(f"[dim]seen: {counted or 'nothing'}[/]")

    def _print(self, line: Line) -> None:
        for text in self._table.format(line):
            out.print(text, soft_wrap=True)
