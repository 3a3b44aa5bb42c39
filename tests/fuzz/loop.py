"""One process of the plain loop: inputs in an order that a seed decides, and what came of them."""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from mallku_workers.collecting import spare_the_collector
from tests.fuzz.catalogue import load
from tests.fuzz.measure import Worst
from tests.fuzz.targets import Target

ROUND: Final = 50
"""Inputs of one target before the next is chosen, inputs for a weight of 1."""

REPORT_EVERY_S: Final = 0.5
"""Between two reports, seconds."""


@dataclass(frozen=True)
class Order:
    """What one process is to do: until `envelopes` messages were tried or `seconds` have passed."""

    seed: int
    envelopes: int
    seconds: float
    targets: tuple[str, ...]
    finds: Path


@dataclass(frozen=True)
class Cost:
    """What one target's inputs cost so far, and where the costliest is kept."""

    tried: int
    worst_ms: float
    file: str = ""


@dataclass(frozen=True)
class Report:
    """How far a process is."""

    seed: int
    envelopes: int
    costs: dict[str, Cost]
    ended: bool = False


@dataclass(frozen=True)
class Find:
    """An input that did what none may."""

    target: str
    summary: str
    file: str


@dataclass
class Trial:
    """One target under trial: its inputs so far, its costliest, and the finds that are known."""

    target: Target
    finds: Path
    worst: Worst = field(init=False)
    tried: int = 0
    known: set[tuple[str, str, int | None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.worst = Worst(self.target.limit_ms)

    def attempt(self, data: bytes) -> Find | None:
        """Try one input; the same failure at the same place is one find."""
        self.tried += 1
        try:
            self.worst.run(self.target.run, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            cause = error.__cause__ or error
            place = traceback.extract_tb(cause.__traceback__)[-1]
            mark = (type(cause).__name__, place.filename, place.lineno)
            if mark in self.known:
                return None
            self.known.add(mark)
            text = "".join(traceback.format_exception(error))
            file = keep(self.finds, self.target.name, data, text)
            where = f"{place.filename}:{place.lineno}"
            return Find(self.target.name, f"{type(cause).__name__}: {cause} ({where})", str(file))
        return None

    def cost(self, *, last: bool = False) -> Cost:
        """What the inputs cost so far; with `last`, the costliest is saved."""
        file = ""
        if last and self.tried:
            file = str(keep(self.finds / "worst", self.target.name, self.worst.data))
        return Cost(self.tried, self.worst.ms, file)


def keep(folder: Path, target: str, data: bytes, text: str = "") -> Path:
    """Save an input under the name of its target and its hash, and what is to be said beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    file.write_bytes(data)
    if text:
        file.with_suffix(".txt").write_text(text)
    return file


def work_through(order: Order, reports: Any) -> None:
    """Try seeds, then mutations, and report to the queue `reports`."""
    spare_the_collector()
    rng = Random(order.seed)
    trials = [Trial(target, order.finds) for target in map(load, order.targets)]
    for trial in trials:
        for seed in trial.target.seeds:
            _tell(reports, trial.attempt(seed))
    ends = time.monotonic() + order.seconds
    reported = 0.0
    while _left(order, trials) and time.monotonic() < ends:
        for trial in trials:
            for _ in range(_turns(trial.target, rng)):
                _tell(reports, trial.attempt(trial.target.make(rng)))
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            reports.put(_report(order, trials))
    reports.put(_report(order, trials, ended=True))


def _turns(target: Target, rng: Random) -> int:
    """Whole turns for the weight; what is left of it by chance."""
    wanted = target.weight * ROUND
    return int(wanted) + (rng.random() < wanted % 1)


def _left(order: Order, trials: list[Trial]) -> bool:
    counted = [trial for trial in trials if trial.target.envelope] or trials
    return sum(trial.tried for trial in counted) < order.envelopes


def _report(order: Order, trials: list[Trial], *, ended: bool = False) -> Report:
    costs = {trial.target.name: trial.cost(last=ended) for trial in trials}
    envelopes = sum(trial.tried for trial in trials if trial.target.envelope)
    return Report(order.seed, envelopes, costs, ended)


def _tell(reports: Any, find: Find | None) -> None:
    if find is not None:
        reports.put(find)
