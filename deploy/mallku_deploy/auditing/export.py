"""`audit export`: both streams into files with a manifest, from which the trail can be verified.

A folder that holds an export already gets what was written since.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import make_private_folder
from mallku_client.settings import ClientSettings
from mallku_client.trail import AUDIT, CHECKPOINTS, Selection, StreamState, TrailEntry, TrailSource
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.choosing import now
from mallku_deploy.auditing.columns import record_row, stored_row
from mallku_deploy.auditing.manifest import (
    NAME,
    Manifest,
    PartInfo,
    StreamExport,
    file_hash,
    load_manifest,
)
from mallku_deploy.auditing.parts import Format, Part, open_part, require_format
from mallku_deploy.auditing.progress import reading
from mallku_deploy.terminal import err, show_json

PART_MESSAGES: Final = 200_000
"""Messages in one file."""

PART_BYTES: Final = 256 * MIB
"""Messages in one file, bytes before they are compressed."""

_NAMES: Final = {AUDIT: "audit", CHECKPOINTS: "checkpoints"}


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for; the limits of a file are bytes and messages."""

    folder: Path
    format: Format
    quiet: bool = False
    part_messages: int = PART_MESSAGES
    part_bytes: int = PART_BYTES


async def export(settings: ClientSettings, order: Order, *, as_json: bool) -> int:
    """Export what is there now; the exit code."""
    require_format(order.format)
    async with await open_trail(settings) as reader:
        manifest = await export_trail(reader, order)
    audit, checkpoints = manifest.streams[AUDIT], manifest.streams[CHECKPOINTS]
    if as_json:
        show_json(
            {
                "folder": str(order.folder),
                "format": manifest.format,
                "records": audit.messages,
                "last": audit.last,
                "checkpoints": checkpoints.messages,
                "files": len(audit.parts) + len(checkpoints.parts),
            },
            compact=True,
        )
    else:
        err.print(
            f"[green]✓[/] {audit.messages:,} records up to sequence {audit.last:,} and"
            f" {checkpoints.messages:,} checkpoints in {order.folder} ({manifest.format})\n"
            f"[dim]mallku-gateway audit verify --export {order.folder}[/]",
            soft_wrap=True,
        )
    return 0


async def export_trail(source: TrailSource, order: Order) -> Manifest:
    """Bring a folder up to date.

    Raises:
        ConfigurationError: the folder holds something else, an export of another stream or in
            another format; or a file cannot be written.
    """
    await asyncio.to_thread(_prepare, order.folder)
    manifest = await asyncio.to_thread(load_manifest, order.folder)
    # Checkpoints first: everything that they cover stands in the other stream by then.
    states = [await source.stream_info(name) for name in (CHECKPOINTS, AUDIT)]
    streams = {state.name: _begin(manifest, state, order) for state in states}
    total = sum(max(0, state.last - streams[state.name].last) for state in states)
    with reading(total, quiet=order.quiet) as advance:
        for state in states:
            writer = _Writer(order, streams[state.name])
            try:
                await _copy(source, state, writer, advance)
                streams[state.name] = await asyncio.to_thread(writer.finish, state.last)
            except BaseException:
                writer.abandon()
                raise
    made = Manifest(order.format, now().isoformat(timespec="seconds"), streams)
    await asyncio.to_thread(made.save, order.folder)
    return made


def _prepare(folder: Path) -> None:
    make_private_folder(folder, "export folder")
    if not (folder / NAME).exists() and any(
        not path.name.startswith(tuple(_NAMES.values())) for path in folder.iterdir()
    ):
        raise ConfigurationError(f"{folder}: holds something that is no export; name another --to")


def _begin(manifest: Manifest | None, state: StreamState, order: Order) -> StreamExport:
    """Where a stream's export goes on, or begins."""
    if manifest is None:
        return StreamExport.of(state)
    if manifest.format != order.format:
        raise ConfigurationError(f"{order.folder}: an export as {manifest.format} is there already")
    known = manifest.streams.get(state.name)
    if known is None:
        return StreamExport.of(state)
    if known.created != state.created or known.last > state.last:
        raise ConfigurationError(
            f"{order.folder}: holds {state.name} made at {known.created} up to {known.last:,}; the"
            f" stream here was made at {state.created} and ends at {state.last:,}"
        )
    return known


async def _copy(
    source: TrailSource, state: StreamState, writer: _Writer, advance: Callable[[int], None]
) -> None:
    if writer.last >= state.last:
        return
    selection = Selection(first=writer.last + 1, last=state.last)
    batches: AsyncGenerator[list[TrailEntry]] = source.batches(selection, stream=state.name)
    async with aclosing(batches):
        async for batch in batches:
            await asyncio.to_thread(writer.write, batch)
            advance(len(batch))


class _Writer:
    """Writes the messages of one stream into files of bounded size."""

    def __init__(self, order: Order, known: StreamExport) -> None:
        self._order, self._known = order, known
        self._row: Callable[[TrailEntry], dict[str, Any]] = (
            record_row if known.name == AUDIT else stored_row
        )
        self._parts: list[PartInfo] = []
        self._open: tuple[Path, Part] | None = None
        self._first = self._messages = self._bytes = 0
        self.last = known.last

    def write(self, batch: list[TrailEntry]) -> None:
        """Add messages; a file that is full is closed behind them."""
        part = self._begin(batch[0].sequence) if self._open is None else self._open[1]
        part.write([self._row(entry) for entry in batch])
        self._messages += len(batch)
        self._bytes += sum(len(entry.data) for entry in batch)
        self.last = batch[-1].sequence
        order = self._order
        if self._messages >= order.part_messages or self._bytes >= order.part_bytes:
            self._end()

    def finish(self, last: int) -> StreamExport:
        """Close the last file; what was taken of the stream up to `last`."""
        self._end()
        return self._known.grown(self._parts, last)

    def abandon(self) -> None:
        """Leave without a manifest; files that no manifest names are written anew next time."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _begin(self, first: int) -> Part:
        name = f"{_NAMES[self._known.name]}-{first:012}.{self._order.format}"
        path = self._order.folder / name
        path.unlink(missing_ok=True)
        self._first = first
        self._messages = self._bytes = 0
        part = open_part(path, self._order.format, records=self._known.name == AUDIT)
        path.chmod(0o600)
        self._open = path, part
        return part

    def _end(self) -> None:
        if self._open is None:
            return
        (path, part), self._open = self._open, None
        part.close()
        self._parts.append(
            PartInfo(
                path.name,
                self._messages,
                self._first,
                self.last,
                path.stat().st_size,
                file_hash(path),
            )
        )
