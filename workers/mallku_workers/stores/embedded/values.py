"""ArangoDB's equality and order of values, as bytes that compare the same way.

`order_key` maps a value to bytes such that `a == b` in ArangoDB exactly when the bytes are equal,
and `a < b` exactly when they are less: null < false < true < numbers < strings < arrays < objects;
1 equals 1.0; arrays and objects compare as if padded with null; the order of attributes is without
meaning (ArangoDB manual, "Type and value order"). Strings compare by `collation`; integers above
2^53 compare exactly, other than there. No key is a prefix of another, so keys can be joined
(composite indexes) and inverted (descending sorts).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from mallku_contracts.errors import ResourceLimit, ResultTooLarge
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.collation import collation_key
from mallku_workers.stores.paths import Path, lookup

_END, _NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = range(8)
_INVERSE: Final = bytes(255 - byte for byte in range(256))
_DOUBLE: Final = struct.Struct(">d")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_RESIDUE: Final = 0x8000
MAX_KEY_BYTES: Final = 16 * MIB
"""An order key, bytes: more than that of any document that can be stored."""

LARGE_BYTES: Final = 4_096
"""From this size on the key of a list or an object is copied where the same one comes again."""

LARGE_ITEMS: Final = 16
"""And from this number of items on, count: nulls take time and leave nothing in a key."""

AFTER_PREFIX: Final = b"\xff"
"""Behind a joined prefix: greater than every key that continues it."""


def order_key(value: Any) -> bytes:
    """The bytes that compare as ArangoDB compares `value`.

    Raises:
        ResourceLimit: The value is nested too deeply, or larger than any document: a query can
            make lists that hold the same list many times, many times over.
    """
    return _key(value, exact=False)


def exact_key(value: Any) -> bytes:
    """The same with every null in it: `[]` and `[null]` are equal, and yet two values.

    Raises:
        ResourceLimit: as `order_key` does.
    """
    return _key(value, exact=True)


def _key(value: Any, *, exact: bool) -> bytes:
    out = bytearray()
    try:
        _append(value, out, {}, exact=exact)
    except RecursionError:
        raise ResourceLimit("a value is nested too deeply to be compared") from None
    return bytes(out)


def joined_key(document: dict[str, Any], paths: Sequence[Path]) -> bytes:
    """The keys of several values of one document, one behind the other.

    Raises:
        ResultTooLarge: They have more than `MAX_KEY_BYTES` together; values may lie in each other.
    """
    out = bytearray()
    try:
        for path in paths:
            _append(lookup(document, path), out, {})
            _fit(out)
    except ResourceLimit:
        raise ResultTooLarge(
            f"an index key of more than {MAX_KEY_BYTES} bytes; index shorter values"
        ) from None
    return bytes(out)


def equal_to(wanted: Any) -> Callable[[Any], bool]:
    """Tells whether a value equals `wanted`: has the same order key.

    Keys are made of lists and objects alone, and of `wanted` once.

    Raises:
        ResourceLimit: As `order_key`.
    """
    kind = type(wanted)
    if kind is list or kind is dict:
        key = order_key(wanted)
        return lambda value: type(value) is kind and order_key(value) == key
    if wanted is None or kind is bool:
        return lambda value: value is wanted
    kinds = (str,) if kind is str else (int, float)
    return lambda value: type(value) in kinds and value == wanted


def inverted(key: bytes) -> bytes:
    """The same key for a descending order."""
    return key.translate(_INVERSE)


_Known = dict[int, tuple[int, int]]
"""Of large lists and objects, by identity, where in the key theirs stands."""


def _append(value: Any, out: bytearray, known: _Known, *, exact: bool = False) -> None:
    if value is None:
        out.append(_NULL)
    elif isinstance(value, str):
        out.append(_STRING)
        out += collation_key(value)
    elif value is True or value is False:
        out.append(_TRUE if value else _FALSE)
    elif isinstance(value, int | float):
        out.append(_NUMBER)
        out += _number(value)
    elif known and id(value) in known:
        begin, end = known[id(value)]
        out += out[begin:end]
    else:
        begin = len(out)
        if isinstance(value, dict):
            _append_object(value, out, known, exact=exact)
        else:
            _append_array(value, out, known, exact=exact)
        if len(out) - begin >= LARGE_BYTES or len(value) >= LARGE_ITEMS:
            known[id(value)] = begin, len(out)


def _append_array(items: Sequence[Any], out: bytearray, known: _Known, *, exact: bool) -> None:
    end = len(items)
    while end and items[end - 1] is None and not exact:
        end -= 1
    out.append(_ARRAY)
    for item in items[:end]:
        _append(item, out, known, exact=exact)
        _fit(out)
    out.append(_END)


def _append_object(members: dict[str, Any], out: bytearray, known: _Known, *, exact: bool) -> None:
    # The object with the smaller name at the first difference is the greater one, for the other
    # has null there: so names are inverted.
    out.append(_OBJECT)
    names = (name for name, value in members.items() if exact or value is not None)
    for name in sorted(names, key=collation_key):
        out += inverted(collation_key(name))
        _append(members[name], out, known, exact=exact)
        _fit(out)
    out.append(_END)


def _fit(out: bytearray) -> None:
    if len(out) > MAX_KEY_BYTES:
        raise ResourceLimit(f"a value whose order key has more than {MAX_KEY_BYTES} bytes")


def _number(value: float) -> bytes:
    # Nearest double first, then what it lacks: exact for all integers of 64 bits.
    double = float(value) + 0.0
    residue = value - int(double) if isinstance(value, int) else 0
    bits = int.from_bytes(_DOUBLE.pack(double))
    bits = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    return bits.to_bytes(8) + (residue + _RESIDUE).to_bytes(2)
