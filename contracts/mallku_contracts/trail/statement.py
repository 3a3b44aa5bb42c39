"""What a checkpoint says, and what of it contradicts itself: its body, without the signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.subjects import is_name
from mallku_contracts.trail.merkle import EMPTY_ROOT, HASH_BYTES

MAX_COUNT: Final = 2**63 - 1
"""The highest number of a record or a checkpoint, and the highest sequence of a stream."""

MAX_COVERED: Final = 65_536
"""Record numbers that one checkpoint covers."""

MAX_VOID: Final = 4_096
"""Record numbers that one checkpoint declares void."""

MAX_HEADS: Final = 64
"""Other workers' checkpoints that one checkpoint names."""

MAX_VOUCHES: Final = 16
"""Other workers' tails that one checkpoint vouches for."""


class CheckpointError(ValueError):
    """The bytes are no checkpoint that may be believed; the message says why."""


class MalformedCheckpoint(CheckpointError):
    """It does not have the shape of a checkpoint, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint of another worker that was seen: its number, and its SHA-256."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Vouch:
    """What stands in the stream of a dead worker's tail, said by somebody else than that worker.

    Attributes:
        worker: The dead worker's instance.
        first: The lowest number that no checkpoint of its own covers.
        last: The highest number of it that stands in the stream.
        size: How many of these numbers stand there.
        root: The Merkle root over their leaves, in the order of the numbers.
        sequence: The highest stream sequence among them.
    """

    worker: str
    first: int
    last: int
    size: int
    root: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What a checkpoint says: its body.

    Attributes:
        stream: The stream that holds the records.
        first: The lowest record number covered: the former checkpoint's `last` + 1, at first 1.
        last: The highest record number covered; `first` - 1 when none is.
        size: Leaves under the root: the covered numbers without the void ones.
        root: The Merkle root over `record_leaf`s in the order of the numbers.
        void: Numbers that were given out, never acknowledged and never executed, in ascending
            order; they may or may not stand in the stream.
        sequence: The highest stream sequence among the leaves; 0 for none.
        heads: Other workers' newest checkpoints that this worker has seen, by instance.
        vouches: For tails of workers that died.
        final: The worker ended in order, and says nothing after this.
    """

    stream: str
    first: int
    last: int
    size: int
    root: bytes
    void: tuple[int, ...] = ()
    sequence: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict[str, Head])
    vouches: tuple[Vouch, ...] = ()
    final: bool = False

    def pack(self) -> bytes:
        """The body's bytes: a map with every field."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _STATEMENT}
        values["heads"] = {name: [head.number, head.hash] for name, head in self.heads.items()}
        values["vouches"] = [
            {name: getattr(vouch, name) for name in Vouch.__slots__} for vouch in self.vouches
        ]
        return codec.pack_trusted(values)

    @classmethod
    def read(cls, body: bytes) -> Statement:
        """Read exactly these fields; `MalformedCheckpoint` names the one that is wrong."""
        try:
            values = codec.unpack(body, allow_bytes=True)
        except codec.CodecError as error:
            raise MalformedCheckpoint(f"body: {error}") from None
        _check_fields("body", values, _STATEMENT)
        values["void"] = tuple(values["void"])
        values["heads"] = {name: _head(name, value) for name, value in values["heads"].items()}
        values["vouches"] = tuple(map(_vouch, values["vouches"]))
        statement = cls(**values)
        statement.check()
        return statement

    def check(self) -> None:
        """Refuse what contradicts itself or says too much: `MalformedCheckpoint` says what."""
        _check_statement(self)


_STATEMENT: Final[dict[str, type]] = {
    "stream": str,
    "first": int,
    "last": int,
    "size": int,
    "root": bytes,
    "void": list,
    "sequence": int,
    "heads": dict,
    "vouches": list,
    "final": bool,
}
_HEAD_PARTS: Final = 2
_VOUCH: Final[dict[str, type]] = {
    "worker": str,
    "first": int,
    "last": int,
    "size": int,
    "root": bytes,
    "sequence": int,
}


def _check_fields(where: str, values: Any, expected: dict[str, type]) -> None:
    if not isinstance(values, dict) or values.keys() != expected.keys():
        raise MalformedCheckpoint(f"{where} is not a map of {', '.join(expected)}")
    for name, kind in expected.items():
        if type(values[name]) is not kind:
            raise MalformedCheckpoint(f"{where}.{name} is not of type {kind.__name__}")


def _head(name: str, value: Any) -> Head:
    if not isinstance(value, list) or len(value) != _HEAD_PARTS:
        raise MalformedCheckpoint(f"body.heads[{name[:64]!r}] is not a number and a hash")
    return Head(*value)


def _vouch(value: Any) -> Vouch:
    _check_fields("body.vouches", value, _VOUCH)
    return Vouch(**value)


def _check_statement(statement: Statement) -> None:
    """Refuse a statement that contradicts itself or is larger than one may be."""
    if not is_name(statement.stream):
        raise MalformedCheckpoint("body.stream is not a name")
    covered = _check_range("body", statement.first, statement.last)
    if covered > MAX_COVERED or len(statement.void) > MAX_VOID:
        raise MalformedCheckpoint(f"body covers more than {MAX_COVERED} numbers, {MAX_VOID} void")
    _check_void(statement)
    if statement.size != covered - len(statement.void):
        raise MalformedCheckpoint("body.size is not the count of the numbers that are not void")
    _check_tree("body", statement)
    if len(statement.heads) > MAX_HEADS or not all(map(is_name, statement.heads)):
        raise MalformedCheckpoint(f"body.heads: at most {MAX_HEADS}, each with a worker's name")
    for head in statement.heads.values():
        if not (_is_count(head.number) and head.number and _is_hash(head.hash)):
            raise MalformedCheckpoint("body.heads: one is not a number and a SHA-256")
    if len(statement.vouches) > MAX_VOUCHES:
        raise MalformedCheckpoint(f"body.vouches: at most {MAX_VOUCHES}")
    for vouch in statement.vouches:
        _check_vouch(vouch)


def _check_void(statement: Statement) -> None:
    former = statement.first - 1
    for number in statement.void:
        if type(number) is not int or not former < number <= statement.last:
            raise MalformedCheckpoint("body.void is not an ascending list of covered numbers")
        former = number


def _check_vouch(vouch: Vouch) -> None:
    where = "body.vouches"
    if not is_name(vouch.worker):
        raise MalformedCheckpoint(f"{where}.worker is not a name")
    if not 0 <= vouch.size <= _check_range(where, vouch.first, vouch.last):
        raise MalformedCheckpoint(f"{where}.size is not within its numbers")
    _check_tree(where, vouch)


def _check_range(where: str, first: int, last: int) -> int:
    """How many numbers there are from `first` to `last`."""
    if not (0 < first <= MAX_COUNT and first - 1 <= last <= MAX_COUNT):
        raise MalformedCheckpoint(f"{where}: from {first} to {last} is not a range of numbers")
    return last - first + 1


def _check_tree(where: str, tree: Statement | Vouch) -> None:
    """A root has its size; without leaves it is the empty one, and there is no sequence."""
    empty = not tree.size
    if not _is_hash(tree.root) or (empty and tree.root != EMPTY_ROOT):
        raise MalformedCheckpoint(f"{where}.root is not the root of {tree.size} leaves")
    if not _is_count(tree.sequence) or (tree.sequence == 0) != empty:
        raise MalformedCheckpoint(f"{where}.sequence is not that of {tree.size} leaves")


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == HASH_BYTES


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT
