"""What a thing that can be fuzzed is: where its inputs come from, and what must hold of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.measure import MAX_CPU_MS


@dataclass(frozen=True)
class Target:
    """One thing that takes bytes.

    Attributes:
        name: What files and options call it.
        run: Tries one input, any bytes; whatever it raises is a find.
        make: The next input, worse than a seed.
        seeds: Inputs to begin with.
        limit_ms: CPU time of one input, milliseconds.
        weight: Its part of all inputs, relative to the other targets.
        envelope: Whether an input is one message to a worker.
    """

    name: str
    run: Callable[[bytes], None]
    make: Callable[[Random], bytes]
    seeds: tuple[bytes, ...]
    limit_ms: float = MAX_CPU_MS
    weight: float = 1.0
    envelope: bool = False
