"""Exports of a trail: complete, to the byte, and to be verified without any gateway."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mallku_client.trail import AUDIT, CHECKPOINTS, Selection, StreamState, TrailEntry
from mallku_contracts.audit import record_hash
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.verification import Report
from mallku_deploy.auditing import parts
from mallku_deploy.auditing.columns import STORED, TOLD, record_row
from mallku_deploy.auditing.export import Order, export_trail
from mallku_deploy.auditing.exported import ExportedTrail
from mallku_deploy.auditing.manifest import NAME, file_hash, load_manifest
from mallku_deploy.auditing.parts import Format, read_part, require_format
from mallku_deploy.auditing.verify import Order as VerifyOrder
from mallku_deploy.auditing.verify import verify_trail
from tests.support.made_trail import START_MS, TRUST, MadeTrail

EVERYTHING = Selection()
FORMATS: tuple[Format, ...] = ("jsonl", "parquet")
CREATED = datetime.fromtimestamp(START_MS / 1_000 - 1, UTC).isoformat()


class Source:
    """A made trail as a broker would give it."""

    def __init__(self, made: MadeTrail, created: str = CREATED) -> None:
        self.made = made
        self.created = created
        self.reads: list[tuple[str, int]] = []

    async def stream_info(self, stream: str = AUDIT) -> StreamState:
        """How far it goes."""
        entries = self._of(stream)
        last = entries[-1].sequence if entries else 0
        first = entries[0].sequence if entries else 1
        return StreamState(stream, self.created, len(entries), 0, first, last, 0)

    async def seams(self) -> None:
        """One stream, or so it seems."""

    async def batches(
        self, selection: Selection = EVERYTHING, *, stream: str = AUDIT
    ) -> AsyncGenerator[list[TrailEntry]]:
        """The messages in lists of three."""
        self.reads.append((stream, selection.first))
        assert selection.last is not None
        chosen = [e for e in self._of(stream) if selection.first <= e.sequence <= selection.last]
        for begin in range(0, len(chosen), 3):
            yield chosen[begin : begin + 3]

    def _of(self, stream: str) -> list[TrailEntry]:
        return self.made.records if stream == AUDIT else self.made.checkpoints


@pytest.fixture
def made() -> MadeTrail:
    """Two workers, thirty-odd records, and the checkpoints over them."""
    trail = MadeTrail()
    for worker in ("w1", "w2"):
        trail.start(worker)
    _go_on(trail)
    return trail


def _go_on(trail: MadeTrail, rounds: int = 4) -> None:
    for _ in range(rounds):
        for worker in ("w1", "w2"):
            trail.command(worker)
            trail.end(trail.intend(worker), "failed")
            trail.checkpoint(worker)


def _order(folder: Path, form: Format = "jsonl", **changes: Any) -> Order:
    return Order(folder, form, quiet=True, **changes)


async def _verify(folder: Path) -> Report:
    order = VerifyOrder(trust=TRUST, quiet=True, jobs=1)
    later = START_MS + 10**6
    return await verify_trail(ExportedTrail(folder), order, lambda: later)


async def _read(folder: Path, stream: str, **selection: Any) -> list[TrailEntry]:
    source = ExportedTrail(folder)
    async with aclosing(source.batches(Selection(**selection), stream=stream)) as batches:
        return [entry async for batch in batches for entry in batch]


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_is_the_trail(tmp_path: Path, made: MadeTrail, form: Format) -> None:
    """Both streams to the byte, with places and times; it verifies as the streams do."""
    folder = tmp_path / "out"
    manifest = await export_trail(Source(made), _order(folder, form))
    assert await _read(folder, AUDIT) == made.records
    assert await _read(folder, CHECKPOINTS) == made.checkpoints
    assert (manifest.streams[AUDIT].messages, manifest.streams[AUDIT].last) == (34, 34)
    report = await _verify(folder)
    assert report.clean, report
    assert load_manifest(folder) == manifest


@pytest.mark.parametrize("form", FORMATS)
async def test_any_stretch_of_it_can_be_read(tmp_path: Path, made: MadeTrail, form: Format) -> None:
    """Sequences are selected over the borders of files; nothing else can be."""
    folder = tmp_path / "out"
    await export_trail(Source(made), _order(folder, form, part_messages=10))
    assert [e.sequence for e in await _read(folder, AUDIT, first=9, last=21)] == list(range(9, 22))
    assert await _read(folder, AUDIT, first=35) == []
    for wrong in ({"principals": ("mallku",)}, {"since_ms": 1}, {"until_ms": 1}):
        with pytest.raises(ConfigurationError, match="sequences alone"):
            await _read(folder, AUDIT, **wrong)


async def test_files_are_of_bounded_size_and_for_nobody_else(
    tmp_path: Path, made: MadeTrail
) -> None:
    """They end by messages or by bytes; what they hold is what the database held."""
    by_messages = tmp_path / "messages"
    manifest = await export_trail(Source(made), _order(by_messages, part_messages=10))
    counts = [part.messages for part in manifest.streams[AUDIT].parts]
    assert sum(counts) == 34
    assert max(counts) < 10 + 3
    by_bytes = await export_trail(Source(made), _order(tmp_path / "bytes", part_bytes=1))
    assert {part.messages for part in by_bytes.streams[AUDIT].parts} == {3, 1}
    assert by_messages.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in by_messages.iterdir()} == {0o600}
    for part in manifest.streams[AUDIT].parts:
        path = by_messages / part.file
        assert (path.stat().st_size, file_hash(path)) == (part.bytes, part.sha256)


@pytest.mark.parametrize("form", FORMATS)
async def test_run_again_it_adds_what_is_new(tmp_path: Path, made: MadeTrail, form: Format) -> None:
    """Files that are there stay as they are; the whole verifies, however it came together."""
    source, order = Source(made), _order(tmp_path / "out", form)
    first = await export_trail(source, order)
    unchanged = await export_trail(source, order)
    assert unchanged.streams == first.streams
    _go_on(made)
    source.reads.clear()
    grown = await export_trail(source, order)
    assert source.reads == [(CHECKPOINTS, 9), (AUDIT, 35)]
    assert grown.streams[AUDIT].parts[:1] == first.streams[AUDIT].parts
    assert await _read(order.folder, AUDIT) == made.records
    assert (await _verify(order.folder)).clean


async def test_an_export_that_broke_off_is_made_good(
    tmp_path: Path, made: MadeTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that no manifest names are written anew."""
    source, order = Source(made), _order(tmp_path / "out", part_messages=10)
    batches = source.batches

    async def breaks_off(
        selection: Selection = EVERYTHING, *, stream: str = AUDIT
    ) -> AsyncGenerator[list[TrailEntry]]:
        async for batch in batches(selection, stream=stream):
            if stream == AUDIT and batch[0].sequence > 20:
                raise OSError("no")
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(source, "batches", breaks_off)
        with pytest.raises(OSError, match="no"):
            await export_trail(source, order)
    assert list(order.folder.glob("audit-*"))
    with pytest.raises(ConfigurationError, match=r"no manifest\.json"):
        ExportedTrail(order.folder)
    await export_trail(source, order)
    assert await _read(order.folder, AUDIT) == made.records


async def test_an_empty_trail_can_be_exported(tmp_path: Path) -> None:
    """Nothing but a manifest; later it grows."""
    empty = MadeTrail()
    order = _order(tmp_path / "out")
    await export_trail(Source(empty), order)
    assert [path.name for path in order.folder.iterdir()] == [NAME]
    assert await _read(order.folder, AUDIT) == []
    empty.start("w1")
    _go_on(empty)
    await export_trail(Source(empty), order)
    assert await _read(order.folder, AUDIT) == empty.records


async def test_another_stream_is_not_mixed_in(tmp_path: Path, made: MadeTrail) -> None:
    """A stream that was made anew or cut off, another format, a folder with something else."""
    order = _order(tmp_path / "out")
    await export_trail(Source(made), order)
    with pytest.raises(ConfigurationError, match="was made at"):
        await export_trail(Source(made, created="2030-01-01T00:00:00Z"), order)
    with pytest.raises(ConfigurationError, match="as jsonl is there"):
        await export_trail(Source(made), _order(order.folder, "parquet"))
    del made.records[20:]
    with pytest.raises(ConfigurationError, match="ends at 20"):
        await export_trail(Source(made), order)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "letter.txt").write_text("private")
    with pytest.raises(ConfigurationError, match="no export"):
        await export_trail(Source(made), _order(other))


# Tampering


Tamper = Callable[[Path, dict[str, Any]], None]


def _rewrite(folder: Path, part: dict[str, Any], change: Callable[[list[Any]], list[Any]]) -> None:
    """Change the rows of a file, and everything that stands in the folder about them."""
    path = folder / part["file"]
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part |= {"bytes": path.stat().st_size, "sha256": file_hash(path), "messages": len(rows)}


def _swap(rows: list[Any]) -> list[Any]:
    for name in ("subject", "hash", "data"):
        rows[4][name], rows[6][name] = rows[6][name], rows[4][name]
    return rows


def _edit(rows: list[Any]) -> list[Any]:
    other = rows[5]["data"]
    data = other[:-8] + ("A" if other[-8] != "A" else "B") + other[-7:]
    digest = hashlib.sha256(base64.b64decode(data)).hexdigest()
    rows[5] |= {"data": data, "hash": digest}
    return rows


@pytest.mark.parametrize(
    "change",
    [_swap, _edit, lambda rows: rows[:8] + rows[9:], lambda rows: rows[:-4]],
    ids=["swapped", "edited", "dropped", "cut off"],
)
async def test_what_was_tampered_with_does_not_verify(
    tmp_path: Path, made: MadeTrail, change: Callable[[list[Any]], list[Any]]
) -> None:
    """Also when all hashes were made good: workers' signatures cover what was exported."""
    folder = tmp_path / "out"
    await export_trail(Source(made), _order(folder))
    document = json.loads((folder / NAME).read_text())
    _rewrite(folder, document["streams"][AUDIT]["parts"][0], change)
    (folder / NAME).write_text(json.dumps(document))
    assert not (await _verify(folder)).clean


@pytest.mark.parametrize("form", FORMATS)
async def test_a_damaged_file_is_named(tmp_path: Path, made: MadeTrail, form: Format) -> None:
    """A file that is not the one in the manifest is not read at all."""
    folder = tmp_path / "out"
    await export_trail(Source(made), _order(folder, form))
    path = next(folder.glob("audit-*"))
    data = path.read_bytes()
    for spoilt in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], b""):
        path.write_bytes(spoilt)
        with pytest.raises(ConfigurationError, match=f"{path.name}: not the file"):
            await _read(folder, AUDIT)
    path.unlink()
    with pytest.raises(ConfigurationError, match="not there"):
        await _read(folder, AUDIT)


BEGIN = '{"v": 1, "kind": "mallku-trail-export", '


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"v": 2, "kind": "mallku-trail-export"}',
        BEGIN + '"format": "csv", "made": "", "streams": {}}',
        BEGIN + '"format": "jsonl", "made": "", "streams": {"a": 1}}',
    ],
)
def test_a_manifest_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    """Whatever stands in its place."""
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ConfigurationError, match="manifest"):
        ExportedTrail(tmp_path)


@pytest.mark.parametrize("file", ["../audit.jsonl", "/etc/passwd", ".hidden", "a/b"])
async def test_a_manifest_names_files_of_its_folder_alone(
    tmp_path: Path, made: MadeTrail, file: str
) -> None:
    """It came from somewhere else, perhaps from an enemy."""
    folder = tmp_path / "out"
    await export_trail(Source(made), _order(folder))
    document = json.loads((folder / NAME).read_text())
    document["streams"][AUDIT]["parts"][0]["file"] = file
    (folder / NAME).write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match="not the name of a file"):
        ExportedTrail(folder)


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[]\n", b'{"data": "?", "hash": ""}\n', b'{"data": "", "hash": "00"}\n'],
)
def test_a_line_that_is_no_message_is_named(tmp_path: Path, line: bytes) -> None:
    """Also one whose hash is another's."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(line)
    with pytest.raises(ConfigurationError, match=r"audit\.jsonl"):
        list(read_part(path, "jsonl"))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    """With what the library says."""
    path = tmp_path / "audit.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(ConfigurationError, match=r"audit\.parquet"):
        list(read_part(path, "parquet"))


# Columns


async def test_columns_beside_the_bytes_say_what_people_filter_by(
    tmp_path: Path, made: MadeTrail
) -> None:
    """The same in both formats; Parquet has types."""
    from pyarrow import parquet

    await export_trail(Source(made), _order(tmp_path / "lines"))
    await export_trail(Source(made), _order(tmp_path / "parquet", "parquet"))
    lines = [
        json.loads(line)
        for line in next((tmp_path / "lines").glob("audit-*")).read_text().splitlines()
    ]
    table = parquet.read_table(next((tmp_path / "parquet").glob("audit-*")))
    rows = table.to_pylist()
    assert table.column_names == [*STORED, *TOLD]
    assert list(lines[0]) == [*STORED, *TOLD]
    for line, row in zip(lines, rows, strict=True):
        assert all(line[name] == row[name] for name in ("sequence", "subject", *TOLD))
        assert bytes.fromhex(line["hash"]) == row["hash"] == record_hash(row["data"])
        assert line["time"] == round(row["time"].timestamp() * 1_000)
    failed = next(row for row in rows if row["outcome"] == "failed")
    assert (failed["principal"], failed["collection"]) == ("mallku", "memory_anchors")
    assert (failed["code"], failed["rule"]) == ("unique_violation", "service/documents")


def test_a_message_that_is_no_record_is_exported_all_the_same() -> None:
    """Its bytes are the finding; the columns beside them are empty."""
    row = record_row(TrailEntry(1, "mallku.v1.audit.a.b.c.get.done", 5, b"junk"))
    assert (row["data"], row["principal"], row["outcome"]) == (b"junk", "a", "done")
    assert {row[name] for name in TOLD[5:]} == {None}


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read or written."""
    monkeypatch.setattr(parts, "find_spec", lambda _: None)
    require_format("jsonl")
    with pytest.raises(ConfigurationError, match=r"mallku-gateway\[parquet\]"):
        require_format("parquet")
