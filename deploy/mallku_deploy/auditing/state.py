"""What an auditor remembers of a trail between two verifications, in a file of their own.

What was ever seen (how long the stream was, the newest checkpoints) never goes back, so that a
trail cannot be shortened or exchanged in silence. Where verifying goes on only moves over records
that were found in order: what is wrong is found again each time, until it is put right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import read_private_text, write_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB
from mallku_contracts.trail.resume import Ended, Intent, Leaf, Resume, WorkerPoint
from mallku_contracts.trail.statement import Head

VERSION: Final = 1
KIND: Final = "mallku-trail-state"

MAX_STATE_BYTES: Final = 256 * MIB
"""A state file, bytes: it grows with the workers that ever were."""


@dataclass(frozen=True, slots=True)
class State:
    """What was seen of one trail.

    Attributes:
        stream: The stream of records.
        created: When it was created, Unix milliseconds.
        sequence: The highest sequence that was ever seen there.
        heads: The newest checkpoint of each worker that was ever seen.
        resume: Where the next verification may go on; None while there is no such place.
    """

    stream: str
    created: int
    sequence: int
    heads: Mapping[str, Head] = field(default_factory=dict[str, Head])
    resume: Resume | None = None

    def after(self, former: State | None, *, clean: bool) -> State | None:
        """What to remember once this was seen; None to leave `former` as it is.

        Args:
            former: What was remembered before.
            clean: Nothing was found wrong; else the next verification begins where this one did.
        """
        if former is None:
            return self if clean else State(self.stream, self.created, self.sequence, self.heads)
        if (former.stream, former.created) != (self.stream, self.created):
            return None
        sequence = max(former.sequence, self.sequence)
        heads = _newest(former.heads, self.heads)
        resume = self.resume if clean else former.resume
        return State(self.stream, self.created, sequence, heads, resume)


def load_state(path: Path) -> State | None:
    """What was remembered in this file; None where there is none yet.

    Raises:
        ConfigurationError: it cannot be read, is open to others, or is no state of this version.
    """
    if not path.exists():
        return None
    text = read_private_text(path, "state file", most=MAX_STATE_BYTES)
    try:
        document = json.loads(text)
        return _state(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"state file {path}: not one that `audit verify` wrote ({error}); keep it, and name"
            " another file to begin anew"
        ) from None


def save_state(path: Path, state: State) -> None:
    """Write the file (0600), whole or not at all; `ConfigurationError` where that cannot be."""
    document = {"v": VERSION, "kind": KIND} | asdict(state)
    write_private_text(path, json.dumps(document, default=_hex) + "\n")


def _newest(one: Mapping[str, Head], two: Mapping[str, Head]) -> dict[str, Head]:
    heads = dict(one)
    for worker, head in two.items():
        if worker not in heads or head.number > heads[worker].number:
            heads[worker] = head
    return heads


def _hex(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)


def _state(document: dict[str, Any]) -> State:
    if document["v"] != VERSION or document["kind"] != KIND:
        raise ValueError(f"expected version {VERSION} of {KIND}")
    heads = {worker: _head(head) for worker, head in document["heads"].items()}
    resume = document["resume"]
    return State(
        _text(document["stream"]),
        _count(document["created"]),
        _count(document["sequence"]),
        heads,
        None if resume is None else _resume(resume),
    )


def _resume(document: dict[str, Any]) -> Resume:
    return Resume(
        _count(document["sequence"]),
        bytes.fromhex(document["hash"]),
        _count(document["checkpoints"]),
        _count(document["time"]),
        {worker: _point(point) for worker, point in document["workers"].items()},
        tuple(Intent(**intent) for intent in document["open"]),
        tuple((_text(worker), _count(number)) for worker, number in document["pending"]),
        tuple(_ended(ended) for ended in document["ended"]),
        {_text(name): _count(since) for name, since in document.get("revoked", {}).items()},
        _count(document.get("revocations", 0)),
    )


def _point(document: dict[str, Any]) -> WorkerPoint:
    leaves = {int(number): _leaf(leaf) for number, leaf in document["leaves"].items()}
    changed: dict[str, Any] = {
        "hash": bytes.fromhex(document["hash"]),
        "leaves": leaves,
        "copies": {
            int(number): tuple(map(_leaf, each))
            for number, each in document.get("copies", {}).items()
        },
        "void": _void(document["void"], document["newest"]),
    }
    return WorkerPoint(**({"since": document["newest"]} | document | changed))


def _void(found: dict[str, Any] | list[Any], newest: object) -> dict[int, int]:
    """Void numbers with their times; files of older versions have the numbers alone."""
    if isinstance(found, list):
        return {_count(number): _count(newest) for number in found}
    return {int(number): _count(time) for number, time in found.items()}


def _leaf(document: dict[str, Any]) -> Leaf:
    sequence, digest = _count(document["sequence"]), bytes.fromhex(document["hash"])
    return Leaf(sequence, digest, document.get("voidable", True) is True)


def _head(document: dict[str, Any]) -> Head:
    return Head(_count(document["number"]), bytes.fromhex(document["hash"]))


def _ended(document: dict[str, Any]) -> Ended:
    return Ended(Intent(**document["intent"]), document["how"], document["resolution"])


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
