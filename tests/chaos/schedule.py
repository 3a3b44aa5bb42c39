"""Which fault comes when: drawn from a seed alone, so that a run can be had again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from tests.support.failpoints import AFTER_COMMIT, AFTER_INTENT, AFTER_OUTCOME, BEFORE_INTENT

Kind = Literal["single", "cluster", "arango"]
"""One nats-server and the embedded store; three servers; the simulated ArangoDB."""

KINDS: Final[tuple[Kind, ...]] = ("single", "cluster", "arango")

RECONCILING: Final = ("looked", "resolving", "resolved", "all-resolved")
"""Places where a reconciler is struck."""

STEPS: Final = (*BEFORE_INTENT, *AFTER_INTENT, *AFTER_COMMIT, *AFTER_OUTCOME, *RECONCILING)

WORKERS: Final = 3

FIRST_S: Final = 1.0
"""Before the first fault, seconds."""

QUIET_S: Final = 2.0
"""After the last fault that is begun, seconds."""

GAPS_S: Final[dict[Kind, tuple[float, float]]] = {
    "single": (0.4, 1.6),
    "cluster": (1.0, 3.0),
    "arango": (1.0, 2.8),
}
"""Between two faults, seconds: at least, at most."""

_OWN: Final[dict[Kind, tuple[str, ...]]] = {
    "single": ("kill-server",),
    "cluster": ("kill-leader", "cut-off", "hang-server"),
    "arango": ("store-refuses", "store-hangs", "store-drops"),
}
OUTSIDE: Final = frozenset(name for names in _OWN.values() for name in names)
"""Faults of broker or store."""

_COMMON: Final = ("kill", "pause", "clock")
_OWN_SHARE: Final[dict[Kind, float]] = {"single": 0.1, "cluster": 0.35, "arango": 0.3}
_STRIKE_SHARE: Final = 0.75
_HANG_SHARE: Final = 0.15
_MAX_JUMP_MS: Final = 3_000


class Fault(NamedTuple):
    """One fault: when, what, of which (a worker's number, a step, milliseconds), for how long."""

    at_s: float
    name: str
    of: str = ""
    for_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:7.2f} s  {self.name} {self.of}{lasting}"


def plan(kind: Kind, seconds: float, seed: int) -> list[Fault]:
    """The faults of one run; every step is struck before any is struck again."""
    chance = random.Random(f"{kind} {seed}")
    steps, own = _in_turns(chance, STEPS), _in_turns(chance, _OWN[kind])
    faults: list[Fault] = []
    at = FIRST_S
    while at < seconds - QUIET_S:
        faults.append(_draw(chance, kind, at, steps, own))
        at += chance.uniform(*GAPS_S[kind])
    return faults


def _draw(
    chance: random.Random, kind: Kind, at: float, steps: Iterator[str], own: Iterator[str]
) -> Fault:
    if chance.random() < _OWN_SHARE[kind]:
        return Fault(at, next(own), for_s=chance.uniform(0.5, 4.0))
    if chance.random() < _STRIKE_SHARE:
        hangs = chance.random() < _HANG_SHARE
        return Fault(at, "hang" if hangs else "strike", next(steps))
    match chance.choice(_COMMON):
        case "clock":
            jump = chance.randint(-_MAX_JUMP_MS, _MAX_JUMP_MS)
            return Fault(at, "clock", str(jump), chance.uniform(0.3, 2.0))
        case "pause":
            return Fault(at, "pause", str(chance.randrange(WORKERS)), chance.uniform(0.2, 3.0))
        case name:
            return Fault(at, name, str(chance.randrange(WORKERS)))


def _in_turns(chance: random.Random, names: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))
