"""Messages of a stream as nats-server keeps them in its files: found there, and rewritten.

The layout is that of `filestore.go` in nats-server 2.9 to 2.15: in each block record after record,
each with length, sequence, time, length of the subject, subject, headers, body, and a checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.support.highway_hash import highway_hash_64

_HEAD = struct.Struct("<IQqH")
_HEADERS = 1 << 31
_CHECKSUM = 8


@dataclass(frozen=True)
class StoredMessage:
    """One message in a block's file; `place` is where its record begins, in bytes."""

    file: Path
    stream: str
    place: int
    size: int
    sequence: int
    subject: str
    signed: bytes
    body: bytes
    checksum: bytes

    @property
    def key(self) -> bytes:
        """What the checksum is keyed with: stream and block, known to everybody."""
        return sha256(f"{self.stream}-{int(self.file.stem)}".encode()).digest()

    @property
    def intact(self) -> bool:
        """Whether the checksum is that of the bytes."""
        return highway_hash_64(self.key, self.signed) == self.checksum

    def rewrite(self, body: bytes, *, checksum: bool) -> None:
        """Put another body of the same length into the file, and its checksum if that is asked."""
        assert len(body) == len(self.body)
        signed = self.signed[: -len(body)] + body
        made = highway_hash_64(self.key, signed) if checksum else self.checksum
        data = bytearray(self.file.read_bytes())
        end = self.place + self.size
        data[end - _CHECKSUM - len(body) : end] = body + made
        self.file.write_bytes(data)


def stored_messages(streams: Path, stream: str) -> Iterator[StoredMessage]:
    """Every message of a stream below the server's folder, in the order of its files."""
    (folder,) = streams.glob(f"**/streams/{stream}/msgs")
    for file in sorted(folder.glob("*.blk"), key=lambda path: int(path.stem)):
        yield from _in_block(file, stream)


def _in_block(file: Path, stream: str) -> Iterator[StoredMessage]:
    data, place = file.read_bytes(), 0
    while place < len(data):
        length, sequence, _, subject_size = _HEAD.unpack_from(data, place)
        size = length & ~_HEADERS
        subject_at = place + _HEAD.size
        body_at = subject_at + subject_size
        headers = b""
        if length & _HEADERS:
            (count,) = struct.unpack_from("<I", data, body_at)
            headers = data[body_at + 4 : body_at + 4 + count]
            body_at += 4 + count
        end = place + size
        subject, body = (
            data[subject_at : subject_at + subject_size],
            data[body_at : end - _CHECKSUM],
        )
        signed = data[place + 4 : place + 20] + subject + headers + body
        yield StoredMessage(
            file,
            stream,
            place,
            size,
            sequence,
            subject.decode(),
            signed,
            body,
            data[end - _CHECKSUM : end],
        )
        place = end
