"""Makes values worse before they are packed: what a body may not hold, or hardly may."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import msgpack

from mallku_contracts.limits import MAX_DEPTH

MAX_STRETCH: Final = 60
"""Copies of one item that a change makes."""

MANY: Final = (1_000, 4_990, 9_990, 24_990, 99_990)
"""Copies of something: just below what may be."""

DOUBLED: Final = 0.05
"""How many of all values are packed with names twice."""

ODD_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.5,
    5e-324,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "@",
    "*",
    "a.b",
    "a..b",
    ".",
    "_key",
    "_id",
    "memory_anchors/k1",
    "/",
    "mallku_ledger",
    "_system",
    "\x00",
    "é\u0301😀",
    "x" * 513,
    "x" * 5_000,
    "$principal",
    "insert",
    "transaction",
    b"",
    b"bytes",
    [],
    {},
    [[]],
    {"": None},
    {"_key": "k"},
    {"_id": "memory_anchors/k"},
    msgpack.ExtType(5, b"extension"),
    msgpack.Timestamp(1, 1),
)
"""Values at some edge: of a type, of a limit, of a name."""

ODD_NAMES: Final = (
    "",
    "_key",
    "_id",
    "_rev",
    "a.b",
    "secret",
    "owner",
    "\x00",
    "x" * 300,
    "document",
)

Place = tuple[Any, Any]
"""A container, and a name or a number in it."""


def places(value: Any) -> Iterator[Place]:
    """Every place inside a value, outermost first."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict | list):
            for step in here if isinstance(here, dict) else range(len(here)):
                yield here, step
                waiting.append(here[step])


def replace_value(rng: Random, holder: Any, step: Any) -> None:
    """Another value."""
    holder[step] = _copy(rng.choice(ODD_VALUES))


def nest(rng: Random, holder: Any, step: Any) -> None:
    """The same value, inside many containers."""
    value = holder[step]
    for _ in range(rng.choice((1, 2, MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, 90))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    holder[step] = value


def stretch(rng: Random, holder: Any, step: Any) -> None:
    """Many of them."""
    count = rng.randint(2, MAX_STRETCH)
    if isinstance(holder, list):
        holder[step:step] = [_copy(holder[step]) for _ in range(count)]
    else:
        holder.update({f"{step}{number}": _copy(holder[step]) for number in range(count)})


def rename(rng: Random, holder: Any, step: Any) -> None:
    """Under another name."""
    if isinstance(holder, dict):
        holder[rng.choice((*ODD_NAMES, *holder))] = holder.pop(step)


def take_away(_rng: Random, holder: Any, step: Any) -> None:
    """Nothing there."""
    del holder[step]


def wrong_key(rng: Random, holder: Any, step: Any) -> None:
    """A name that is no string."""
    if isinstance(holder, dict):
        holder[rng.choice((1, None, True, 1.5, b"a", ("a",)))] = holder[step]


CHANGES: Final[tuple[Callable[[Random, Any, Any], None], ...]] = (
    replace_value,
    replace_value,
    replace_value,
    nest,
    stretch,
    rename,
    take_away,
    wrong_key,
)


def bent(rng: Random, value: Any) -> Any:
    """A copy of `value` with one to three changes."""
    root = [_copy(value)]
    for _ in range(rng.randint(1, 3)):
        here = list(places(root))
        if not here:
            break
        holder, step = rng.choice(here)
        rng.choice(CHANGES)(rng, holder, step)
    return root[0] if root else None


def inflated(rng: Random, value: Any) -> Any:
    """`value` with very many copies of something in it: as many as a message has room for."""
    root = [value]
    here = list(places(root))
    if here:
        holder, step = rng.choice(here)
        count = rng.choice(MANY)
        if isinstance(holder, list):
            holder[step:step] = [holder[step]] * count
        else:
            holder.update({f"{step}{number}": holder[step] for number in range(count)})
    return root[0]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def pack(rng: Random, value: Any) -> bytes:
    """Msgpack of any value, now and then with names twice.

    Raises:
        ValueError, TypeError, OverflowError: msgpack has no bytes for it.
    """
    if rng.random() < DOUBLED:
        packer = msgpack.Packer(use_bin_type=True, autoreset=False)
        _write_doubled(rng, packer, value)
        packed: bytes = packer.bytes()
    else:
        packed = msgpack.packb(value, use_bin_type=True)
    return packed


def _write_doubled(rng: Random, packer: Any, value: Any) -> None:
    if isinstance(value, dict) and value:
        pairs = list(value.items())
        pairs += pairs[:1] if rng.random() < 0.3 else []
        packer.pack_map_header(len(pairs))
        for name, item in pairs:
            packer.pack(name)
            _write_doubled(rng, packer, item)
    else:
        packer.pack(value)
