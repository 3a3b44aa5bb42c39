"""What comes in from the bus, and what is known of it so far while it passes the pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.limits import MAX_COMMAND_LIFE_MS
from mallku_contracts.operations import Operation
from mallku_contracts.policy import Grant
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import Identity
from mallku_workers.request import Request

_US_PER_S = 1_000_000
_MS_PER_S = 1_000
_NS_PER_MS = 1_000_000


def unix_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the bus delivered it.

    `received_ms` is Unix milliseconds, `received_s` the monotonic clock's seconds. `trace` is the
    W3C trace id that the caller says it belongs to; empty without one.
    """

    subject: str
    reply: str
    data: bytes = field(repr=False)  # there is a token in it
    received_ms: int
    received_s: float
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller has given up: when the budget is used up, at the latest when `exp` is over.

    The budget is counted from receipt on the monotonic clock, so that a clock that is set does not
    stretch it. `ends_ms` is `exp` and the allowed difference of clocks: a caller whose clock is
    slow has as much time as others.

    Attributes:
        runtime_ms: How long the store may work on it, however patient the caller is.
    """

    ends_ms: int
    budget_ends_s: float
    runtime_ms: int = MAX_COMMAND_LIFE_MS

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
        announced: The intent was sent, and may stand in the trail although nobody said so.
        intended: The intent stands in the trail.
        concluded: An outcome was written, and will be repeated until it stands.
        outcome_bytes: What the record of the outcome has.
        steps: Microseconds that each step took.
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
    grant: Grant | None = None
    request: Request | None = None
    announced: bool = False
    intended: bool = False
    concluded: bool = False
    outcome_bytes: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    _step_began: float = field(default_factory=time.perf_counter)

    def passed(self, step: str) -> None:
        """Note how long the step took, microseconds."""
        now = time.perf_counter()
        self.steps[step] = int((now - self._step_began) * _US_PER_S)
        self._step_began = now

    @property
    def mutates(self) -> bool:
        """Whether the command can have an effect; a query does not tell before it was read."""
        if self.request is not None:
            return self.request.mutates
        return self.operation is not None and self.operation.mutates

    def deadline(self, header: CommandHeader, skew_ms: int) -> Deadline:
        """When whoever signed `header` has given up, their clock being off by at most `skew_ms`."""
        budget_ends_s = self.message.received_s + header.budget / _MS_PER_S
        runtime_ms = MAX_COMMAND_LIFE_MS
        if self.grant is not None and self.operation is not None:
            runtime_ms = self.grant.limits.of(self.operation.access).runtime_ms
        return Deadline(header.exp + skew_ms, budget_ends_s, runtime_ms)
