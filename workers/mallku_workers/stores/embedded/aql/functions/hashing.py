"""Checksums, hashes and other spellings of a string.

Source: ArangoDB manual, "String functions in AQL"; RFC 1321, RFC 3174, RFC 6234; CRC-32C (RFC 3720,
appendix B.4); FNV-1a (draft-eastlake-fnv).
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any, Final
from urllib.parse import quote

from mallku_contracts.errors import QueryFailed
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function, Implementation
from mallku_workers.stores.embedded.aql.functions.types import IPV4
from mallku_workers.stores.embedded.aql.patterns import to_bytes
from mallku_workers.stores.embedded.aql.values import is_number, to_integer
from mallku_workers.stores.embedded.values import order_key

MAX_TOKEN_CHARS: Final = 65_536
"""A random token, characters (as ArangoDB's)."""

MAX_CHECKSUM_CHARS: Final = 1 << 20
"""What CRC32 and FNV64 are reckoned of, characters: they are slow here."""

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HASH_BITS: Final = 53
_FNV_START, _FNV_PRIME, _FNV_MASK = 0xCBF29CE484222325, 0x100000001B3, 2**64 - 1
_CASTAGNOLI: Final = 0x82F63B78
_IPV4_END: Final = 2**32


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ _CASTAGNOLI * (value & 1)
        table.append(value)
    return tuple(table)


_CRC: Final = _crc_table()


def _digest(algorithm: str) -> Implementation:
    def digest(call: Call, value: Any) -> str:
        encoded = to_bytes(call.text(value))
        return hashlib.new(algorithm, encoded, usedforsecurity=False).hexdigest()

    return digest


def _checked(call: Call, value: Any) -> bytes:
    text = call.text(value)
    if len(text) > MAX_CHECKSUM_CHARS:
        call.fit_text(call.max_text + 1)
    return to_bytes(text)


def _crc32(call: Call, value: Any) -> str:
    checksum = 0xFFFFFFFF
    for byte in _checked(call, value):
        checksum = checksum >> 8 ^ _CRC[(checksum ^ byte) & 0xFF]
    return f"{checksum ^ 0xFFFFFFFF:X}"


def _fnv64(call: Call, value: Any) -> str:
    checksum = _FNV_START
    for byte in _checked(call, value):
        checksum = (checksum ^ byte) * _FNV_PRIME & _FNV_MASK
    return f"{checksum:X}"


def _hash(_: Call, value: Any) -> int:
    """A number that is the same for equal values; not the one that ArangoDB gives."""
    digest = hashlib.blake2b(order_key(value), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _HASH_BITS)


def _to_base64(call: Call, value: Any) -> str:
    return base64.b64encode(to_bytes(call.text(value))).decode()


def _to_hex(call: Call, value: Any) -> str:
    return to_bytes(call.text(value)).hex()


def _encode_uri(call: Call, value: Any) -> str:
    return quote(to_bytes(call.text(value)), safe="!~*'()")


def _uuid(call: Call) -> str:
    return str(uuid.UUID(int=call.rng.getrandbits(128), version=4))


def _random_token(call: Call, length: Any) -> str:
    count = to_integer(length)
    if not 0 < count <= MAX_TOKEN_CHARS:
        raise QueryFailed(
            f"RANDOM_TOKEN() takes a length of 1 to {MAX_TOKEN_CHARS}", error_code=w.ARGUMENT_TYPE
        )
    return "".join(call.rng.choices(_ALPHABET, k=count))


def _ipv4_to_number(call: Call, text: Any) -> Any:
    if type(text) is not str or IPV4.fullmatch(text) is None:
        return call.wrong_type("IPV4_TO_NUMBER")
    return int.from_bytes(bytes(map(int, text.split("."))))


def _ipv4_from_number(call: Call, number: Any) -> Any:
    if not is_number(number) or not 0 <= number < _IPV4_END:
        return call.wrong_type("IPV4_FROM_NUMBER")
    return ".".join(map(str, int(number).to_bytes(4)))


HASHES: Final = (
    Function("MD5", 1, 1, _digest("md5")),
    Function("SHA1", 1, 1, _digest("sha1")),
    Function("SHA256", 1, 1, _digest("sha256")),
    Function("SHA512", 1, 1, _digest("sha512")),
    Function("CRC32", 1, 1, _crc32),
    Function("FNV64", 1, 1, _fnv64),
    Function("HASH", 1, 1, _hash),
    Function("TO_BASE64", 1, 1, _to_base64),
    Function("TO_HEX", 1, 1, _to_hex),
    Function("ENCODE_URI_COMPONENT", 1, 1, _encode_uri),
    Function("UUID", 0, 0, _uuid, deterministic=False),
    Function("RANDOM_TOKEN", 1, 1, _random_token, deterministic=False),
    Function("IPV4_TO_NUMBER", 1, 1, _ipv4_to_number),
    Function("IPV4_FROM_NUMBER", 1, 1, _ipv4_from_number),
)
