"""Makes bytes worse: flips, splices, cuts, lengths that lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

MAX_CHANGES: Final = 6
"""Changes made to one input."""

MAX_INSERTED: Final = 64
"""Bytes that one change puts in."""

Mutator = Callable[[Random, bytearray], None]

INTERESTING: Final = (
    *(bytes([value]) for value in (0x00, 0x01, 0x7F, 0x80, 0xFF)),
    *(bytes([mark]) for mark in range(0xC0, 0xE0)),
    b"\x94",
    b"\x90",
    b"\x8f",
    b"\xc1",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\x7f\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\xc7\x0c\xff" + bytes(12),
    b"\xa4\xed\xa0\x80a",
    b"\xa1\xff",
    b"\x81\xa1a\xc0",
    b"\x91" * 70,
    b"\x91" * 2_000,
    b"\x81\xa1a" * 2_000,
    b"\x81\xa0" * 70,
)
"""What msgpack gives a meaning: marks, lengths that nothing follows, values that no body has."""


def flip_bit(rng: Random, data: bytearray) -> None:
    """Turn one bit over."""
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: Random, data: bytearray) -> None:
    """Put any byte in the place of one."""
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def cut(rng: Random, data: bytearray) -> None:
    """End early."""
    del data[rng.randrange(len(data) + 1) :]


def remove(rng: Random, data: bytearray) -> None:
    """Take out a stretch."""
    begin = rng.randrange(len(data) + 1)
    del data[begin : begin + rng.randint(1, MAX_INSERTED)]


def repeat(rng: Random, data: bytearray) -> None:
    """Say a stretch again, elsewhere."""
    begin = rng.randrange(len(data) + 1)
    stretch = data[begin : begin + rng.randint(1, MAX_INSERTED)]
    place = rng.randrange(len(data) + 1)
    data[place:place] = stretch * rng.randint(1, 4)


def insert_meaning(rng: Random, data: bytearray) -> None:
    """Put in something that msgpack gives a meaning."""
    place = rng.randrange(len(data) + 1)
    found = rng.choice(INTERESTING)
    data[place : place + (len(found) if rng.random() < 0.5 else 0)] = found


def insert_noise(rng: Random, data: bytearray) -> None:
    """Put in bytes that mean nothing."""
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.randbytes(rng.randint(1, MAX_INSERTED))


def lie_about_length(rng: Random, data: bytearray) -> None:
    """Change what may be a length: one, two or four bytes behind a mark."""
    marks = [place for place, value in enumerate(data[:-5]) if 0xC4 <= value <= 0xDF]
    if not marks:
        return
    place, width = rng.choice(marks) + 1, rng.choice((1, 2, 4))
    value = int.from_bytes(data[place : place + width])
    lie = rng.choice((value - 1, value + 1, 0, 256**width - 1, value * 2, rng.getrandbits(16)))
    data[place : place + width] = (lie % 256**width).to_bytes(width)


BYTES: Final[Sequence[Mutator]] = (
    flip_bit,
    set_byte,
    cut,
    remove,
    repeat,
    insert_meaning,
    insert_noise,
    lie_about_length,
)


def mutated(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """`data` with one to a few changes, now and then crossed with `other`."""
    worse = bytearray(data)
    if other and rng.random() < 0.1:
        begin = rng.randrange(len(other))
        worse[rng.randrange(len(worse) + 1) :] = other[begin:]
    for _ in range(min(1 + int(rng.expovariate(0.8)), MAX_CHANGES)):
        rng.choice(BYTES)(rng, worse)
    return bytes(worse)
