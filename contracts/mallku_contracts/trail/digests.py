"""What records hold of collections that must not be copied: keyed hashes in the place of values.

Every string and every number of a document, and the key it lies under, is replaced by an
HMAC-SHA256 under a key that workers hold and auditors need not; names of fields, true, false and
null stay. The signed body is left out altogether, and the signature over it, since either would
let whoever guesses a value find out that the guess is right; a keyed hash of the body stands there
instead. What was asked of the catalog holds no values, and is recorded as it is.

A number hashes as the text that JSON has for it, whole ones without a fraction: 5, 5.0 and "5" are
the same. So whoever holds the key finds a known value, and nobody else does (RFC 2104).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

KEY_BYTES: Final = 32
"""The key, bytes; twice as many hexadecimal digits in its file."""

HASH_DIGITS: Final = 32
"""Hexadecimal digits that are kept of a hash: 128 bits (RFC 2104, section 5: at least half)."""

MAX_HASHED: Final = 10_000
"""Values of one record that are hashed; where there are more, `"omitted": true` stands there."""

PREFIX: Final = "hmac:"
"""What a keyed hash in a record begins with."""

MARK: Final[dict[str, Any]] = {"audit": "digest"}
"""Stands in `bound` of an intent, and in each effect, where values are hashed."""


class TooManyError(ValueError):
    """There are more values than one record hashes."""


@dataclass(slots=True)
class _Count:
    values: int = 0

    def up(self) -> None:
        self.values += 1
        if self.values > MAX_HASHED:
            raise TooManyError(f"more than {MAX_HASHED} values")


class Digests:
    """Makes keyed hashes; `key` is `KEY_BYTES` long."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a digest key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    def __repr__(self) -> str:
        return "Digests(…)"

    def of(self, value: str | float) -> str:
        """The hash of a string or a number, as it stands in records."""
        return self._hash(_text(value).encode("utf-8", "surrogatepass"))

    def of_bytes(self, data: bytes) -> str:
        """The hash of a whole body."""
        return self._hash(data)

    def hide(self, value: Any) -> Any:
        """A value with hashes in the place of all strings and numbers in it; names stay.

        Raises:
            TooManyError: there are more than `MAX_HASHED`.
        """
        return self._hide(value, _Count())

    def effects(self, effects: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Effects as records hold them, with keys and new versions hashed; revisions stay."""
        count = _Count()
        return tuple(self._effect(effect, count) for effect in effects)

    def _effect(self, effect: dict[str, Any], count: _Count) -> dict[str, Any]:
        if "key" not in effect:
            return effect
        hidden = {**effect, "key": self.of(effect["key"]), **MARK}
        try:
            return {**hidden, "new": self._hide(effect["new"], count)}
        except TooManyError:
            return {**hidden, "new": None, "omitted": True}

    def _hide(self, value: Any, count: _Count) -> Any:
        if value is None or isinstance(value, bool):
            return value
        count.up()
        if isinstance(value, str | int | float):
            return self.of(value)
        if isinstance(value, dict):
            return {name: self._hide(item, count) for name, item in value.items()}
        return [self._hide(item, count) for item in value]

    def _hash(self, data: bytes) -> str:
        return PREFIX + hmac.digest(self._key, data, "sha256").hex()[:HASH_DIGITS]


def _text(value: str | float) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else repr(value)


def new_key_text() -> str:
    """A new key as its file holds it."""
    return secrets.token_hex(KEY_BYTES) + "\n"


def read_key_text(text: str) -> Digests:
    """The key that a file holds; `ValueError` when it holds none."""
    try:
        return Digests(bytes.fromhex(text.strip()))
    except ValueError:
        raise ValueError(f"not {2 * KEY_BYTES} hexadecimal digits") from None
