"""Why records do not give the root that a checkpoint names: the guesses that can be proven.

A root says that something differs, not what. A guess is true when the records, put right by it,
give the root after all; without one, only the range of numbers is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from typing import Final

from mallku_contracts.trail.checkpoint import record_leaf
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.merkle import root_of
from mallku_contracts.trail.resume import Leaf

MAX_GUESSES: Final = 256
"""Guesses of one kind that are tried for one root."""

Leaves = Sequence[tuple[int, Leaf]]
"""Numbers in ascending order, each with its record's place and hash."""


def root(leaves: Iterable[tuple[int, Leaf]]) -> bytes:
    """The root over records in the order of their numbers."""
    return root_of(record_leaf(number, leaf.sequence, leaf.hash) for number, leaf in leaves)


def choose(leaves: Leaves, copies: Mapping[int, Sequence[Leaf]], wanted: bytes) -> Leaves | None:
    """The records that give the root, where several have the same number; None if none do."""
    if root(leaves) == wanted:
        return leaves
    doubled = [number for number, _ in leaves if number in copies]
    held = dict(leaves)
    ways = product(*((held[number], *copies[number]) for number in doubled))
    newest = tuple(copies[number][-1] for number in doubled)  # what is acknowledged comes last
    for way in chain((newest,), islice(ways, MAX_GUESSES)):
        chosen = sorted((held | dict(zip(doubled, way, strict=True))).items())
        if root(chosen) == wanted:
            return chosen
    return None


def explain(leaves: Leaves, wanted: bytes, sequence: int) -> tuple[Kind, str]:
    """Which kind of change it is, and what is known of it.

    Args:
        wanted: The root that the checkpoint names.
        sequence: The highest sequence that it names.
    """
    in_order = _in_order(leaves)
    if root(in_order) == wanted:
        moved = [str(now[0]) for now, then in zip(leaves, in_order, strict=True) if now != then]
        return Kind.REORDERED, f"{spell(moved)} stand in each other's place"
    steps = sequence - max(leaf.sequence for _, leaf in leaves)
    begin = _moved_from(leaves, wanted, steps)
    if begin is not None:
        where = "later" if steps < 0 else "earlier"
        text = f"from sequence {begin} on, each stands {abs(steps)} places {where} than it did"
        return Kind.MOVED, text
    return Kind.EDITED, "the records differ from those that were covered"


def spell(parts: Sequence[object], most: int = 10) -> str:
    """The parts with commas between, and how many more there are."""
    shown = ", ".join(str(part) for part in parts[:most])
    return shown if len(parts) <= most else f"{shown} and {len(parts) - most} more"


def ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Ascending numbers as people write them: `3`, `5-9`."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield _range(first, last)
            first = last = number
    if first is not None and last is not None:
        yield _range(first, last)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _in_order(leaves: Leaves) -> Leaves:
    """The same records at the same sequences, in the order of their numbers."""
    sequences = sorted(leaf.sequence for _, leaf in leaves)
    return [
        (number, Leaf(sequence, leaf.hash))
        for (number, leaf), sequence in zip(leaves, sequences, strict=True)
    ]


def _moved_from(leaves: Leaves, wanted: bytes, steps: int) -> int | None:
    """The sequence from which on all records stand so many places away from where they stood."""
    if not steps:
        return None
    for begin in sorted(leaf.sequence for _, leaf in leaves)[:MAX_GUESSES]:
        back = [
            (n, Leaf(leaf.sequence + steps, leaf.hash) if leaf.sequence >= begin else leaf)
            for n, leaf in leaves
        ]
        if all(leaf.sequence > 0 for _, leaf in back) and root(back) == wanted:
            return begin
    return None
