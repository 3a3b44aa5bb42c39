"""The files of an export: rows go in, and come out again, as JSON lines or as Parquet."""

from __future__ import annotations

import base64
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

from mallku_contracts.audit import record_hash
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.columns import STORED, TOLD

Format = Literal["jsonl", "parquet"]

ROW_GROUP: Final = 5_000
"""Rows that are held together in a Parquet file, and read at once."""

_NUMBERS: Final = frozenset({"sequence", "number", "policy", "took_us"})
_BYTES: Final = frozenset({"hash", "data"})


class Part(Protocol):
    """A file that is being written."""

    @abstractmethod
    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""

    @abstractmethod
    def close(self) -> None:
        """Everything that was added is in the file when this returns."""


def require_format(form: Format) -> None:
    """`ConfigurationError` naming the extra, when this installation cannot write the format."""
    if form == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Parquet needs pyarrow: pip install 'mallku-gateway[parquet]'; or --format jsonl"
        )


def open_part(path: Path, form: Format, *, records: bool) -> Part:
    """A new file for rows of records, or for messages that are kept as they are."""
    names = (*STORED, *TOLD) if records else STORED
    return ParquetPart(path, names) if form == "parquet" else JsonPart(path)


class JsonPart:
    """One line of JSON for each row; bytes are Base64, the hash hexadecimal."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("x", encoding="utf-8", newline="\n")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""
        for row in rows:
            data = base64.b64encode(row["data"]).decode()
            line = row | {"hash": row["hash"].hex(), "data": data}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetPart:
    """Typed columns, compressed; `time` is a timestamp in UTC, `hash` and `data` are binary."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        def kind(name: str) -> Any:
            if name == "time":
                return pa.timestamp("ms", tz="UTC")
            if name in _NUMBERS:
                return pa.int64()
            return pa.binary() if name in _BYTES else pa.string()

        self._arrow = pa
        self._schema = pa.schema([(name, kind(name)) for name in names])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows; they leave in groups."""
        self._waiting += rows
        if len(self._waiting) >= ROW_GROUP:
            self._leave()

    def close(self) -> None:
        """Close the file."""
        self._leave()
        self._writer.close()

    def _leave(self) -> None:
        if self._waiting:
            rows, self._waiting = self._waiting, []
            self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))


def read_part(path: Path, form: Format) -> Iterator[list[TrailEntry]]:
    """The messages in a file, some at a time.

    Raises:
        ConfigurationError: naming the file and the place that is not what an export writes there.
    """
    rows = _parquet_rows(path) if form == "parquet" else _json_rows(path)
    for chunk in rows:
        yield [_entry(row, path) for row in chunk]


def _entry(row: dict[str, Any], path: Path) -> TrailEntry:
    try:
        data = row["data"]
        entry = TrailEntry(row["sequence"], row["subject"], row["time"], data)
        if record_hash(data) == row["hash"]:
            return entry
    except (KeyError, TypeError):
        pass
    raise ConfigurationError(
        f"{path}: sequence {row.get('sequence')!r} does not have the hash that stands beside it"
    )


def _json_rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open("rb") as lines:
        chunk: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            chunk.append(_json_row(line, path, number))
            if len(chunk) >= ROW_GROUP:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _json_row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
        data, hashed = base64.b64decode(row["data"], validate=True), bytes.fromhex(row["hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(f"{path}: line {number} is no message of an export") from None
    return dict(row) | {"data": data, "hash": hashed}


def _parquet_rows(path: Path) -> Iterable[list[dict[str, Any]]]:
    require_format("parquet")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for group in file.iter_batches(batch_size=ROW_GROUP, columns=list(STORED)):
                times = group.column("time").cast(pa.int64()).to_pylist()
                rows = group.to_pylist()
                yield [row | {"time": time} for row, time in zip(rows, times, strict=True)]
    except (pa.ArrowException, KeyError) as error:
        raise ConfigurationError(f"{path}: not a file of an export: {error}") from None
