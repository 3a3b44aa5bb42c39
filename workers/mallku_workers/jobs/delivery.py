"""One delivery of a durable job, and what becomes of the job after it: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mallku_contracts.envelope import CommandHeader
from mallku_contracts.errors import (
    AuditUnavailable,
    Busy,
    InternalError,
    JobGivenUp,
    JobShareUsed,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    RateLimited,
    ResultTooLarge,
    StaleCommand,
    Unavailable,
)
from mallku_contracts.limits import REDRIVE_WITHIN_MS

MAX_TRIES: Final = 8
"""How often a job is begun before it is given up, unless the settings say otherwise."""

FIRST_BACKOFF_S: Final = 1.0
"""The wait after the first try, seconds; each later one doubles it."""

MAX_BACKOFF_S: Final = 60.0
"""The longest wait between two tries, seconds."""

SHARE_AGAIN_S: Final = 60.0
"""After this long somebody whose share is used up may try again, seconds."""

_MAX_DOUBLINGS: Final = 10

_NOT_BEGUN: Final = (Busy, RateLimited, Unavailable, AuditUnavailable)
"""The gateway had no room or no store: that says nothing about the job, and is no try of it."""

_WORTH_ANOTHER: Final = (OutcomeUnknown, OutcomePending, InternalError)
"""Another try finds out, or may have more luck."""


SILENT: Final = "silent"
"""In the details of `unavailable`: a read was begun, and the store did not answer it in time."""


class Fate(Enum):
    """What becomes of a job."""

    DONE = auto()
    """It has its result: the stream may forget it."""
    AGAIN = auto()
    """It is delivered again after a while."""
    DEAD = auto()
    """It can never work, or was tried often enough: it goes among the dead."""
    REFUSED = auto()
    """Its principal's share is used up: it was not begun, and whoever submitted it has it still."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job after one delivery.

    Attributes:
        error: Why it is not done.
        delay_s: Before it is delivered again, seconds.
        counts: Whether this was a try.
    """

    fate: Fate
    error: MallkuError | None = None
    delay_s: float = 0.0
    counts: bool = True


@dataclass(slots=True)
class Delivery:
    """One delivery of a durable job.

    Attributes:
        stored_ms: When the stream first took it, Unix milliseconds.
        number: Which delivery this is, from 1.
        tries: How often it was begun, this time included.
        redriven: An administrator gave it another try: `exp` alone does not end it.
        crowding: It was not begun, and its principal's jobs fill more than their share.
        verdict: What becomes of it, once the pipeline has answered.
        proven: Its signature held.
    """

    stored_ms: int
    number: int
    tries: int
    max_tries: int = MAX_TRIES
    redriven: bool = False
    crowding: bool = False
    verdict: Verdict | None = None
    proven: bool = False

    def ends_ms(self, header: CommandHeader) -> int:
        """After this nothing of the job begins, Unix milliseconds."""
        return header.exp + (REDRIVE_WITHIN_MS if self.redriven else 0)

    def check_time(self, header: CommandHeader, now_ms: int, *, skew_ms: int) -> None:
        """Raise `StaleCommand` when the job waited for too long."""
        late_ms = now_ms - self.ends_ms(header)
        if late_ms > skew_ms:
            raise StaleCommand(f"the job's exp passed {late_ms} ms ago, before it was its turn")

    def refuse_spent(self) -> None:
        """Raise `JobGivenUp` when the tries are used up, and the last one said nothing."""
        if self.tries > self.max_tries:
            raise JobGivenUp(
                f"the job was begun {self.max_tries} times, and the last worker did not live to"
                " say what became of it; whether its effect stands, outcome tells"
            )

    def refuse_crowding(self) -> None:
        """Raise `JobShareUsed` when there is no room for it to wait."""
        if self.crowding:
            raise JobShareUsed(
                "your jobs that wait fill your share of the stream, which is getting full; this one"
                " was not begun, and is kept no longer: submit it again when others are done",
                retry_after=SHARE_AGAIN_S,
            )

    def decide(self, error: MallkuError | None) -> Verdict:
        """What becomes of the job, when the pipeline has answered with `error` or a result."""
        if error is None or _stands(error):
            return Verdict(Fate.DONE, error)
        if isinstance(error, JobShareUsed):
            return Verdict(Fate.REFUSED, error, counts=False)
        if isinstance(error, _NOT_BEGUN) and not error.details.get(SILENT):
            wait_s = max(backoff_s(self.number), error.retry_after or 0.0)
            return Verdict(Fate.AGAIN, error, min(wait_s, MAX_BACKOFF_S), counts=False)
        if not (error.retryable or isinstance(error, _WORTH_ANOTHER)):
            return Verdict(Fate.DEAD, error)
        if self.tries >= self.max_tries:
            return Verdict(Fate.DEAD, error)
        return Verdict(Fate.AGAIN, error, backoff_s(self.tries))


def _stands(error: MallkuError) -> bool:
    """Whether the effect stands, though its result cannot be told."""
    return isinstance(error, ResultTooLarge) and error.details.get("committed") is True


def backoff_s(tries: int) -> float:
    """How long to wait after so many tries (from 1), seconds."""
    doublings = min(max(tries - 1, 0), _MAX_DOUBLINGS)
    return min(FIRST_BACKOFF_S * 2.0**doublings, MAX_BACKOFF_S)
