"""An export as a source of the trail: `verify` reads it as it reads the streams themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final

from mallku_client.trail import AUDIT, Selection, StreamState, TrailEntry
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.auditing.manifest import Manifest, PartInfo, file_hash, load_manifest
from mallku_deploy.auditing.parts import read_part, require_format

_EVERYTHING: Final = Selection()


class ExportedTrail:
    """Reads the files of an export; each is held against its hash in the manifest first.

    Raises:
        ConfigurationError: there is no manifest, or one that cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        manifest = load_manifest(folder)
        if manifest is None:
            raise ConfigurationError(f"{folder}: no export lies there (no manifest.json)")
        require_format(manifest.format)
        self._folder, self._manifest = folder, manifest

    @property
    def manifest(self) -> Manifest:
        """What the export says of itself."""
        return self._manifest

    async def stream_info(self, stream: str = AUDIT) -> StreamState:
        """What the server said about the stream when it was exported."""
        known = self._manifest.streams.get(stream)
        if known is None:
            raise ConfigurationError(f"{self._folder}: the stream {stream} is not in this export")
        size = sum(part.bytes for part in known.parts)
        return StreamState(
            stream, known.created, known.messages, size, known.first, known.last, consumers=0
        )

    async def seams(self) -> None:
        """Not known: an export is one trail, and where it was made of several its records say."""

    async def batches(
        self, selection: Selection = _EVERYTHING, *, stream: str = AUDIT
    ) -> AsyncGenerator[list[TrailEntry]]:
        """The messages from `selection.first` to `selection.last`, in the order of the stream.

        Raises:
            ConfigurationError: a file is missing or is not what the manifest says; or something
                else than sequences was selected.
        """
        if selection.subjects() or (selection.since_ms, selection.until_ms) != (None, None):
            raise ConfigurationError("of an export, sequences alone can be selected")
        for part in self._manifest.streams[stream].parts:
            if part.last < selection.first:
                continue
            messages = iter(self._read(part))
            while batch := await asyncio.to_thread(next, messages, None):
                if within := _within(batch, selection):
                    yield within

    def _read(self, part: PartInfo) -> Iterator[list[TrailEntry]]:
        path = self._folder / part.file
        if not path.is_file():
            raise ConfigurationError(f"{path}: the manifest names it, and it is not there")
        if path.stat().st_size != part.bytes or file_hash(path) != part.sha256:
            raise ConfigurationError(f"{path}: not the file that the manifest describes")
        yield from read_part(path, self._manifest.format)


def _within(batch: list[TrailEntry], selection: Selection) -> list[TrailEntry]:
    last = selection.last
    return [
        entry
        for entry in batch
        if entry.sequence >= selection.first and (last is None or entry.sequence <= last)
    ]
