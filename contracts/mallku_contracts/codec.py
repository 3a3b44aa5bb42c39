"""msgpack in both directions, with every limit set and nothing but plain values.

Plain values are what JSON knows: null, booleans, integers of 64 bits, finite floats, strings, lists
and maps with string keys. Byte strings are allowed only in what workers write: replies, records.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, NoReturn

import msgpack

from mallku_contracts.limits import (
    ENTRY_ITEMS,
    ITEMS_FOR_EACH,
    MAX_CONTAINER_ITEMS,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_FRAME_DEPTH,
    MAX_MAP_ENTRIES,
    MAX_PAYLOAD_BYTES,
    MAX_STRING_BYTES,
    MAX_WRITTEN_CONTAINERS,
)


class CodecError(ValueError):
    """The value or the bytes are not plain msgpack within the limits; the message says where."""


class TooMuchError(CodecError):
    """There are more arrays, maps or items in it than one value may have."""


def pack(value: object) -> bytes:
    """Encode plain values; `CodecError` names the path of the first one that is not plain."""
    check_plain(value)
    return pack_trusted(value)


def pack_trusted(value: object) -> bytes:
    """Encode values that our own code made of plain ones, without looking at each again."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except UnicodeEncodeError:
        where = join_path(_path_of_bad_text(value) or ())
        raise CodecError(f"{where}: a string that is not Unicode (a lone surrogate)") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"cannot be encoded: {error}") from None
    return packed


def _path_of_bad_text(value: Any, path: tuple[str | int, ...] = ()) -> tuple[str | int, ...] | None:
    """Where the first string is that UTF-8 has no bytes for; a key counts as its place."""
    if isinstance(value, str):
        return path if any("\ud800" <= char <= "\udfff" for char in value) else None
    if not isinstance(value, dict | list | tuple):
        return None
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(step, str) and _path_of_bad_text(step) is not None:
            return path
        if (found := _path_of_bad_text(item, (*path, step))) is not None:
            return found
    return None


def unpack(data: bytes, *, allow_bytes: bool = False, most: int = MAX_CONTAINERS) -> Any:
    """Decode one msgpack value, refusing whatever is not plain or not within the limits.

    Refused: extension types, duplicate or non-string keys, NaN and infinities, trailing bytes,
    invalid UTF-8, more than `MAX_DEPTH` levels or `MAX_CONTAINERS` arrays and maps.

    Args:
        allow_bytes: Read what a worker wrote, a reply or a record: byte strings are allowed, and
            the limits are wide enough for whatever stores let documents grow to, with what stands
            around them: the bytes bound how many items one array or map may have.
        most: Arrays and maps together that a command may have.

    Raises:
        CodecError: with the path of what was refused, as far as there is one; `TooMuchError` where
            there are too many of them.
    """
    counter = _ContainerCounter(MAX_WRITTEN_CONTAINERS if allow_bytes else most)
    try:
        _refuse_partial(data)
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=counter.map,
            list_hook=counter.array,
            ext_hook=_refuse_extension,
            max_ext_len=0,
            max_str_len=min(len(data), MAX_STRING_BYTES),
            max_bin_len=len(data) if allow_bytes else 0,
            max_array_len=len(data) if allow_bytes else min(len(data), MAX_CONTAINER_ITEMS),
            max_map_len=len(data) if allow_bytes else min(len(data), MAX_MAP_ENTRIES),
        )
    except CodecError:
        raise
    except msgpack.StackError:
        raise CodecError(f"nested deeper than {MAX_DEPTH} levels") from None
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CodecError(f"not readable as msgpack: {_reason(error)}") from None
    check_plain(value, allow_bytes=allow_bytes)
    return value


def check_plain(value: object, *, allow_bytes: bool = False) -> None:
    """Refuse with its path the first part of `value` that is not plain."""
    levels = MAX_DEPTH + MAX_FRAME_DEPTH if allow_bytes else MAX_DEPTH
    try:
        _check(value, levels, allow_bytes)
    except _NotPlainError as error:
        path = join_path(tuple(reversed(error.steps)))
        shown = path if len(path) <= _MAX_PATH_CHARS else f"{path[:_MAX_PATH_CHARS]}…"
        raise CodecError(f"{shown}: {error}") from None


def is_deeper(value: object, levels: int) -> bool:
    """Whether arrays and maps stand inside each other on more than so many levels."""
    here: list[Any] = [[value]]
    for _ in range(levels + 1):
        here = [
            item
            for each in here
            for item in (each.values() if type(each) is dict else each)
            if type(item) in _CONTAINERS
        ]
        if not here:
            return False
    return True


def join_path(path: tuple[str | int, ...]) -> str:
    """`("a", 0, "b")` as people write it: `a[0].b`; the whole value is `value`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "value"


_MAX_PATH_CHARS: Final = 80
_SCALARS: Final = frozenset({str, bool, type(None)})
_STRINGS: Final = frozenset({str})
_is_finite: Final = math.isfinite
_CONTAINERS: Final = frozenset({dict, list, tuple})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class _NotPlainError(ValueError):
    """Collects the steps to the refused part on its way up, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[str | int] = []


def _check(value: Any, levels: int, allow_bytes: bool) -> None:  # noqa: FBT001 - private recursion
    kind = type(value)
    if kind not in _CONTAINERS:
        _check_single(value, allow_bytes)
        return
    if not levels:
        raise _NotPlainError(f"nested deeper than {MAX_DEPTH} levels")
    if kind is dict:
        _check_keys(value)
    for step, item in value.items() if kind is dict else enumerate(value):
        kind = type(item)
        if (
            kind in _SCALARS
            or (kind is float and _is_finite(item))
            or (kind is int and _INT_MIN <= item <= _INT_MAX)
        ):
            continue
        try:
            _check(item, levels - 1, allow_bytes)
        except _NotPlainError as error:
            error.steps.append(step)
            raise


def _check_keys(value: dict[Any, Any]) -> None:
    if _STRINGS.issuperset(map(type, value)):
        return
    for key in value:
        if type(key) is not str:
            raise _NotPlainError(f"the key {key!r:.40} is not a string")


def _check_single(value: Any, allow_bytes: bool) -> None:  # noqa: FBT001 - private recursion
    kind = type(value)
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise _NotPlainError("the integer does not fit 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise _NotPlainError(f"{value!r} cannot be stored")
    elif kind not in _SCALARS and not (kind is bytes and allow_bytes):
        raise _NotPlainError(f"{kind.__name__} is not a plain value")


def _refuse_partial(data: bytes) -> None:
    """Walk over the bytes without building anything: every announced length must be there.

    Arrays are allocated at their announced length, so a few nested headers that announce far more
    than follows would cost hundreds of megabytes before the end of the bytes is noticed.
    """
    walker = msgpack.Unpacker(max_buffer_size=MAX_PAYLOAD_BYTES)
    try:
        walker.feed(data)
        walker.skip()
    except msgpack.BufferFull:
        raise CodecError(f"longer than {MAX_PAYLOAD_BYTES} bytes") from None
    except msgpack.OutOfData:
        raise CodecError("not readable as msgpack: it ends too early") from None
    if walker.tell() != len(data):
        raise CodecError("not readable as msgpack: something follows the value")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise CodecError(f"extension type {code} is not a plain value")


class _ContainerCounter:
    """Counts arrays and maps while they are read, and stops the reading when there are too many."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._items_left = most * ITEMS_FOR_EACH

    def _take(self, items: int) -> None:
        self._left -= 1
        self._items_left -= items
        if self._left < 0:
            raise TooMuchError(f"more than {self._most} arrays and maps")
        if self._items_left < 0:
            raise TooMuchError(f"more than {self._most * ITEMS_FOR_EACH} items altogether")

    def map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._take(len(pairs) * ENTRY_ITEMS)
        value = dict(pairs)
        if len(value) != len(pairs):
            raise CodecError(f"a map has the key {_repeated(pairs)!r:.40} twice")
        return value

    def array(self, items: list[Any]) -> list[Any]:
        self._take(len(items))
        return items


def _repeated(pairs: list[tuple[Any, Any]]) -> Any:
    times = Counter(key for key, _ in pairs)
    return times.most_common(1)[0][0]
