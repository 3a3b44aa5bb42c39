"""The manifest of an export: which files, what stands in them, and their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from mallku_broker.files import read_text, write_private_text
from mallku_client.trail import StreamState
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB
from mallku_deploy.auditing.parts import Format

NAME: Final = "manifest.json"
VERSION: Final = 1
KIND: Final = "mallku-trail-export"

MAX_MANIFEST_BYTES: Final = 16 * MIB
"""A manifest, bytes: some hundred thousand files."""

_CHUNK: Final = MIB


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One file: how many messages, from which to which sequence, its size and SHA-256."""

    file: str
    messages: int
    first: int
    last: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StreamExport:
    """What was taken of one stream.

    Attributes:
        created: When the server says that the stream was made (RFC 3339).
        first: The first sequence that the stream held.
        last: The last sequence that was there when it was read; all up to it are in the files.
    """

    name: str
    created: str
    first: int
    last: int
    parts: tuple[PartInfo, ...] = ()

    @property
    def messages(self) -> int:
        """How many there are in all files."""
        return sum(part.messages for part in self.parts)

    @classmethod
    def of(cls, state: StreamState) -> Self:
        """Nothing yet of a stream."""
        return cls(state.name, state.created, state.first, 0)

    def grown(self, parts: list[PartInfo], last: int) -> Self:
        """With more files, up to `last`."""
        return replace(self, parts=(*self.parts, *parts), last=max(last, self.last))


@dataclass(frozen=True, slots=True)
class Manifest:
    """An export: its format, when it was made last (ISO 8601), and both streams by name."""

    format: Format
    made: str
    streams: dict[str, StreamExport]

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        document = {"v": VERSION, "kind": KIND, **asdict(self)}
        write_private_text(folder / NAME, json.dumps(document, indent=1) + "\n")


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder; None when there is none.

    Raises:
        ConfigurationError: it is there, and cannot be used.
    """
    path = folder / NAME
    if not path.exists():
        return None
    text = read_text(path, "manifest", most=MAX_MANIFEST_BYTES)
    try:
        document = json.loads(text)
        return _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not a manifest of this version: {error}") from None


def _manifest(document: dict[str, Any]) -> Manifest:
    if (document["v"], document["kind"]) != (VERSION, KIND):
        raise ValueError(f"expected version {VERSION} of {KIND}")
    if document["format"] not in ("jsonl", "parquet"):
        raise ValueError("format: jsonl or parquet")
    streams = {name: _stream(item) for name, item in document["streams"].items()}
    return Manifest(document["format"], str(document["made"]), streams)


def _stream(item: dict[str, Any]) -> StreamExport:
    name, created, first, last = item["name"], item["created"], item["first"], item["last"]
    if any(type(number) is not int for number in (first, last)) or not isinstance(created, str):
        raise TypeError("a stream's first and last are numbers")
    return StreamExport(name, created, first, last, tuple(map(_part, item["parts"])))


def _part(item: dict[str, Any]) -> PartInfo:
    part = PartInfo(**item)
    if Path(part.file).name != part.file or part.file.startswith("."):
        raise ValueError(f"{part.file!r} is not the name of a file in this folder")
    return part


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
