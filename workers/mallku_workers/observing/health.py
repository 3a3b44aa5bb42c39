"""Whether a worker lives, has started and is ready, and why not: pure, out of values.

Ready means that commands will be carried out. A worker that is not stays where it is and answers
each command with the error that says so: nobody else would do better while the broker, the trail or
the store is away. It leaves its queue groups for a fault of its own alone (`own_fault`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

MAX_USUAL_LAG_S: Final = 1.0
"""From a median lag of the event loop of so much on, the worker is at fault, seconds.

What it may have under way does not make it so late: load alone sends no worker away.
"""

FIT_LAG_S: Final = 0.1
"""Below a median lag of so much it is fit again, seconds."""


class Part(StrEnum):
    """What a worker stands on."""

    BROKER = "broker"
    AUDIT = "audit"
    STORE = "store"
    POLICY = "policy"
    CLOCK = "clock"
    LOOP = "loop"


class Condition(NamedTuple):
    """One part: whether it holds, and what is wrong where it does not."""

    part: Part
    holds: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen of a worker at one moment; the defaults are those of one that is well.

    Attributes:
        stage: What is being done before the worker serves; empty once it does.
        draining: It finishes what has come, and takes nothing new.
        down: The connections to the broker that are not up, by name.
        trail_answers: The last record that was tried was acknowledged.
        trail_has_room: Few enough records wait for the trail.
        breakers: Where the store's breaker of each class stands: `closed`, `open`, `half-open`.
        policy: The version in force; None for none.
        jumped_ms: How far the wall clock went away from the monotonic one since the start.
        apart_ms: How far the wall clock stands from the broker's; None while nobody knows.
        skew_ms: How far clocks may be apart.
        lag_s: The loop's usual lag, seconds.
        away: The worker has left its queue groups for a fault of its own.
    """

    stage: str = ""
    draining: bool = False
    down: tuple[str, ...] = ()
    trail_answers: bool = True
    trail_has_room: bool = True
    breakers: Mapping[str, str] = field(default_factory=dict)
    policy: int | None = None
    jumped_ms: float = 0.0
    apart_ms: float | None = None
    skew_ms: float = 30_000.0
    lag_s: float = 0.0
    away: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """What can be said of a worker, with the reasons."""

    started: bool
    ready: bool
    conditions: tuple[Condition, ...] = ()
    reasons: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As it is told over HTTP and by discovery."""
        parts = {one.part.value: one.reason or "ok" for one in self.conditions}
        return {
            "started": self.started,
            "ready": self.ready,
            "parts": parts,
            "reasons": list(self.reasons),
        }


def judge(signs: Signs) -> Health:
    """What these signs amount to."""
    if signs.stage:
        return Health(started=False, ready=False, reasons=(f"starting: {signs.stage}",))
    conditions = tuple(_conditions(signs))
    reasons = [f"{one.part}: {one.reason}" for one in conditions if not one.holds]
    if signs.draining:
        reasons.insert(0, "draining: what has come is finished, nothing new is taken")
    elif signs.away:
        reasons.insert(0, "away: this worker has left its queue groups for a fault of its own")
    return Health(started=True, ready=not reasons, conditions=conditions, reasons=tuple(reasons))


def own_fault(signs: Signs, *, away: bool) -> str:
    """Why other workers should have the commands instead; empty when there is no such reason.

    What is away for everybody is no reason. Neither is a broker whose clock stands elsewhere from
    the start: who of the two is wrong nobody can tell.
    """
    if signs.policy is None:
        return "no policy is in force"
    if abs(signs.jumped_ms) > signs.skew_ms and _apart(signs):
        return f"the clock went {signs.jumped_ms / 1_000:+.1f} s away since the start"
    if signs.lag_s >= (FIT_LAG_S if away else MAX_USUAL_LAG_S):
        return f"the event loop is {signs.lag_s:.2f} s late"
    return ""


def _conditions(signs: Signs) -> Iterable[Condition]:
    yield _condition(Part.BROKER, *(f"{name} is not connected" for name in signs.down))
    yield _condition(
        Part.AUDIT,
        "" if signs.trail_answers else "the trail does not acknowledge records",
        "" if signs.trail_has_room else "too many records wait for the trail",
    )
    yield _condition(
        Part.STORE,
        *(
            f"the breaker of {name} is {state}"
            for name, state in signs.breakers.items()
            if state != "closed"
        ),
    )
    yield _condition(Part.POLICY, "" if signs.policy is not None else "no policy is in force")
    yield _condition(Part.CLOCK, _clock_complaint(signs))
    late = signs.lag_s >= MAX_USUAL_LAG_S
    yield _condition(Part.LOOP, f"usually {signs.lag_s:.2f} s late" if late else "")


def _condition(part: Part, *complaints: str) -> Condition:
    wrong = "; ".join(complaint for complaint in complaints if complaint)
    return Condition(part, not wrong, wrong)


def _clock_complaint(signs: Signs) -> str:
    if not _apart(signs) or signs.apart_ms is None:
        return ""
    return f"{signs.apart_ms / 1_000:+.1f} s from the broker's clock"


def _apart(signs: Signs) -> bool:
    return signs.apart_ms is not None and abs(signs.apart_ms) > signs.skew_ms
