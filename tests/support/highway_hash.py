"""HighwayHash-64, with which nats-server protects each stored message against bad disks.

It is no signature: the key is public, so whoever owns the files can make it anew. From the
algorithm's description (Alakuijala, Cox and Wassenberg, 2016), in the portable form.
"""

from __future__ import annotations

import struct

_MASK = 2**64 - 1
_LOW = 2**32 - 1
_PACKET = 32
_MUL0: tuple[int, ...] = (
    0xDBE6D5D5FE4CCE2F,
    0xA4093822299F31D0,
    0x13198A2E03707344,
    0x243F6A8885A308D3,
)
_MUL1: tuple[int, ...] = (
    0x3BD39E10CB0EF593,
    0xC0ACF169B5F18A8C,
    0xBE5466CF34E90C6C,
    0x452821E638D01377,
)


def highway_hash_64(key: bytes, data: bytes) -> bytes:
    """The 8 bytes of the hash of `data` under a key of 32 bytes."""
    state = _State(struct.unpack("<4Q", key))
    whole = len(data) - len(data) % _PACKET
    for begin in range(0, whole, _PACKET):
        state.update(struct.unpack_from("<4Q", data, begin))
    if len(data) > whole:
        state.remainder(data[whole:])
    return struct.pack("<Q", state.finish())


class _State:
    def __init__(self, key: tuple[int, ...]) -> None:
        self.mul0, self.mul1 = list(_MUL0), list(_MUL1)
        self.v0 = [mul ^ part for mul, part in zip(_MUL0, key, strict=True)]
        self.v1 = [mul ^ _swap(part) for mul, part in zip(_MUL1, key, strict=True)]

    def update(self, lanes: tuple[int, ...]) -> None:
        v0, v1, mul0, mul1 = self.v0, self.v1, self.mul0, self.mul1
        for i in range(4):
            v1[i] = (v1[i] + mul0[i] + lanes[i]) & _MASK
            mul0[i] ^= (v1[i] & _LOW) * (v0[i] >> 32)
            v0[i] = (v0[i] + mul1[i]) & _MASK
            mul1[i] ^= (v0[i] & _LOW) * (v1[i] >> 32)
        for source, target in ((v1, v0), (v0, v1)):
            for i in (0, 2):
                low, high = _zipper(source[i + 1], source[i])
                target[i] = (target[i] + low) & _MASK
                target[i + 1] = (target[i + 1] + high) & _MASK

    def remainder(self, rest: bytes) -> None:
        size = len(rest)
        self.v0 = [(value + (size << 32) + size) & _MASK for value in self.v0]
        self.v1 = [_rotate_halves(value, size) for value in self.v1]
        whole, odd = size & ~3, size & 3
        packet = bytearray(_PACKET)
        packet[:whole] = rest[:whole]
        if size & 16:
            packet[28:32] = rest[size - 4 :]
        elif odd:
            tail = rest[whole:]
            packet[16:19] = bytes((tail[0], tail[odd >> 1], tail[odd - 1]))
        self.update(struct.unpack("<4Q", packet))

    def finish(self) -> int:
        for _ in range(4):
            v0 = self.v0
            self.update((_swap(v0[2]), _swap(v0[3]), _swap(v0[0]), _swap(v0[1])))
        return (self.v0[0] + self.v1[0] + self.mul0[0] + self.mul1[0]) & _MASK


def _swap(value: int) -> int:
    return (value >> 32) | (value & _LOW) << 32


def _rotate_halves(value: int, count: int) -> int:
    halves = (value & _LOW, value >> 32)
    low, high = ((half << count | half >> (32 - count)) & _LOW for half in halves)
    return low | high << 32


def _zipper(v1: int, v0: int) -> tuple[int, int]:
    low = (
        ((v0 & 0xFF000000) | (v1 & 0xFF00000000)) >> 24
        | ((v0 & 0xFF0000000000) | (v1 & 0xFF000000000000)) >> 16
        | v0 & 0xFF0000
        | (v0 & 0xFF00) << 32
        | (v1 & 0xFF00000000000000) >> 8
        | (v0 << 56) & _MASK
    )
    high = (
        ((v1 & 0xFF000000) | (v0 & 0xFF00000000)) >> 24
        | v1 & 0xFF0000
        | (v1 & 0xFF0000000000) >> 16
        | (v1 & 0xFF00) << 24
        | (v0 & 0xFF000000000000) >> 8
        | (v1 & 0xFF) << 48
        | v0 & 0xFF00000000000000
    )
    return low, high
