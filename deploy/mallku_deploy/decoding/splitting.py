"""Several messages in one stream of bytes, as `nats sub --raw` or `cat` put them there.

An envelope or a record says itself where it ends; a newline may follow. Anything else is a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgpack

from mallku_contracts.limits import MAX_PAYLOAD_BYTES

_NEWLINE: Final = b"\n"
_OURS: Final = frozenset({0x94, 0xDE, 0xDF, *range(0x80, 0x90)})
"""First bytes of what the gateway sends: arrays of four, and maps."""


def split_messages(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Each message as soon as it is complete; junk comes out in pieces, and nothing is lost.

    No message is longer than `MAX_PAYLOAD_BYTES`: what would be is cut there.
    """
    waiting = b""
    for chunk in chunks:
        waiting += chunk
        at = 0
        while at < len(waiting) and (length := _length(waiting, at, ended=False)):
            yield from _shown(waiting[at : at + length])
            at += length
        waiting = waiting[at:]
    at = 0
    while at < len(waiting):
        length = _length(waiting, at, ended=True)
        yield from _shown(waiting[at : at + length])
        at += length


def _shown(message: bytes) -> Iterator[bytes]:
    """The message, or nothing for the newline behind one."""
    if message != _NEWLINE:
        yield message if message[0] in _OURS else message.removesuffix(_NEWLINE)


def _length(data: bytes, at: int, *, ended: bool) -> int:
    """How long the message is that begins at `at`; 0 when more has to come to know it."""
    if data[at] in _OURS:
        length = _object_length(data, at)
        if length is not None:
            return length or _longest(data, at, ended=ended)
    end = data.find(_NEWLINE, at, at + MAX_PAYLOAD_BYTES)
    return end + 1 - at if end >= 0 else _longest(data, at, ended=ended)


def _longest(data: bytes, at: int, *, ended: bool) -> int:
    """All there is, when no more comes or no more would be taken; else 0."""
    left = len(data) - at
    return min(left, MAX_PAYLOAD_BYTES) if ended or left >= MAX_PAYLOAD_BYTES else 0


def _object_length(data: bytes, at: int) -> int | None:
    """How long the msgpack object is; 0 while it is incomplete, None when it is none."""
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_PAYLOAD_BYTES)
    unpacker.feed(data[at : at + MAX_PAYLOAD_BYTES])
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        return 0
    except (ValueError, RecursionError, msgpack.UnpackException):
        return None
    length: int = unpacker.tell()
    return length
