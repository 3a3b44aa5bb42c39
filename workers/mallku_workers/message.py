"""What comes in from the bus, and what is known of it so far while it passes the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.limits import MAX_COMMAND_LIFE_MS
from mallku_contracts.operations import Operation
from mallku_contracts.policy import Grant
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import Identity
from mallku_workers.jobs.delivery import Delivery
from mallku_workers.request import Carrier, Request

STEPS: Final = (
    "admit",
    "open",
    "identify",
    "replay",
    "authorize",
    "throttle",
    "remember",
    "intend",
    "execute",
    "conclude",
    "reply",
)
"""The steps of the pipeline by their names, in their order."""

MARGIN_S: Final = 0.25
"""What a worker keeps at most of a caller's time to say why nothing was done, seconds."""

MARGIN_SHARE: Final = 0.2
"""Part of the caller's time that it keeps for that where the time is short."""

GRACE_SHARE: Final = 0.8
"""Part of what it keeps that the store may use up to say that it did not begin."""

_US_PER_S = 1_000_000
_MS_PER_S = 1_000
_NS_PER_MS = 1_000_000


def unix_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // _NS_PER_MS


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the bus delivered it, or the stream of durable jobs, to which `job` belongs.

    `received_ms` is Unix milliseconds, `received_s` the monotonic clock's seconds. `trace` is the
    W3C trace id that the caller says it belongs to, `traceparent` the header in which it says so;
    empty without one.
    """

    subject: str
    reply: str
    data: bytes = field(repr=False)  # there is a token in it
    received_ms: int
    received_s: float
    trace: str = ""
    job: Delivery | None = None
    traceparent: str = ""

    @property
    def sent_ms(self) -> int:
        """The time at which token and freshness are judged, Unix milliseconds.

        Of a durable job, when the stream took it: it may have waited for days since.
        """
        return self.received_ms if self.job is None else self.job.stored_ms


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller has given up: the budget is used up, or `exp` or the command's id is over.

    A little of the budget is kept back, so that who is refused hears why while it still listens.
    The budget is counted from receipt on the monotonic clock, so that a clock that is set does not
    stretch it. `ends_ms` has the allowed difference of clocks in it: a caller whose clock is slow
    has as much time as others.

    Attributes:
        runtime_ms: How long the store may work on it, however patient the caller is.
        grace_s: How long the store may take, past the end, to say that it did not begin, seconds.
        called_off: Whether the caller wants it no more.
    """

    ends_ms: int
    budget_ends_s: float
    runtime_ms: int = MAX_COMMAND_LIFE_MS
    grace_s: float = MARGIN_S * GRACE_SHARE
    called_off: Callable[[], bool] = _never

    def left_s(self, now_ms: int, now_s: float) -> float:
        """Seconds that are left, negative when it has passed."""
        return min((self.ends_ms - now_ms) / _MS_PER_S, self.budget_ends_s - now_s)


@dataclass(slots=True)
class Case:
    """Everything that the steps have established about one message.

    A field is None until the step that proves it has passed; records and replies take what is
    there.

    Attributes:
        may_reply: The reply was asked for at the principal's own inbox.
        held_back: The message was refused unseen.
        slot: In whose name a slot is held.
        request: What the policy lets the command amount to.
        signed: The bytes that the signature has to cover, once they could be read.
        identity: Who asked, and whose rules hold.
        door: The door whose signature held, whatever it shows; None where it is no door's.
        carrier: Who signed in their place, and the proof; None where they signed themselves.
        announced: The intent was sent, and may stand in the trail although nobody said so.
        intended: The intent stands in the trail.
        concluded: An outcome was written, and will be repeated until it stands.
        replayed: The ledger had the effect already, and nothing was done again.
        called_off: The caller wants it no more; it is not begun, if it has not been.
        wishes: How often somebody said so, true or not.
        outcome_bytes: What the record of the outcome has.
        steps: Microseconds that each step took that was passed.
        broke_off: The step that did not pass, and the microseconds until then.
    """

    message: Message
    subject: CommandSubject | None = None
    operation: Operation | None = None
    may_reply: bool = False
    held_back: bool = False
    slot: tuple[str, str] | None = None
    envelope: Envelope | None = None
    header: CommandHeader | None = None
    signed: bytes = field(default=b"", repr=False)
    identity: Identity | None = None
    door: Identity | None = None
    carrier: Carrier | None = None
    grant: Grant | None = None
    request: Request | None = None
    announced: bool = False
    intended: bool = False
    concluded: bool = False
    replayed: bool = False
    called_off: bool = False
    wishes: int = 0
    outcome_bytes: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    broke_off: tuple[str, int] | None = None
    _step_began: float = field(default_factory=time.perf_counter)

    def passed(self, step: str) -> None:
        """Note how long the step took, microseconds."""
        now = time.perf_counter()
        self.steps[step] = int((now - self._step_began) * _US_PER_S)
        self._step_began = now

    def stopped(self) -> None:
        """Note which step did not pass, and how long it took."""
        if len(self.steps) < len(STEPS):
            now = time.perf_counter()
            took_us = int((now - self._step_began) * _US_PER_S)
            self.broke_off, self._step_began = (STEPS[len(self.steps)], took_us), now

    @property
    def mutates(self) -> bool:
        """Whether the command can have an effect; a query does not tell before it was read."""
        if self.request is not None:
            return self.request.mutates
        return self.operation is not None and self.operation.mutates

    def attempt(self, header: CommandHeader) -> int:
        """Which attempt of the command this is, each delivery of a durable job being one."""
        return header.attempt + (self.message.job.number - 1 if self.message.job else 0)

    def deadline(self, header: CommandHeader, skew_ms: int) -> Deadline:
        """When whoever signed `header` has given up, their clock being off by at most `skew_ms`."""
        budget_s = header.budget / _MS_PER_S
        margin_s = min(MARGIN_S, MARGIN_SHARE * budget_s)
        budget_ends_s = self.message.received_s + budget_s - margin_s
        ends_ms = min(header.exp, header.id_ends_ms) + skew_ms
        if (job := self.message.job) is not None:
            most = job.ends_ms(header) + skew_ms
            ends_ms = min(self.message.received_ms + header.budget, most)
        runtime_ms = MAX_COMMAND_LIFE_MS
        if self.grant is not None and self.operation is not None:
            runtime_ms = self.grant.limits.of(self.operation.access).runtime_ms
        grace_s = margin_s * GRACE_SHARE
        return Deadline(ends_ms, budget_ends_s, runtime_ms, grace_s, lambda: self.called_off)
