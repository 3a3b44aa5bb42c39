"""One principal's account as one worker knows it: values in, values out, no clock and no wire.

All amounts are nanoseconds of the principal's rate: at 100 commands a second one command costs
10 ms. What all workers share is one counter, the time until which the rate is used up (GCRA's
theoretical arrival time, ITU-T I.371). A worker lets commands pass on a small credit, and adds
what they cost to the counter behind them; the counter's answer tells what the others have used.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from mallku_contracts.policy import Limits

NS: Final = 1_000_000_000

CREDIT_NS: Final = 50_000_000
"""What a worker may let pass without having heard of the others, nanoseconds of the rate."""

SLOW_CREDIT_NS: Final = 100_000_000
"""The same where commands come slowly, so that a message to the counter is shared by as many."""

SLOW_COST_NS: Final = 2_000_000
"""Commands come slowly where one costs this or more, nanoseconds: at 500 a second or fewer."""

LUMPS: Final = 4
"""How many credits the counter may be told of at the same moment, before anybody notices."""

SMALLEST_CREDIT_NS: Final = 100_000_000
"""A command that costs more than this is never let pass on credit, nanoseconds."""

SLACK_NS: Final = 50_000_000
"""How far the shared counter may lag behind the clock before it is moved on, nanoseconds."""

FRESH_NS: Final = 50_000_000
"""Nobody is refused on knowledge of the others that is older than this, nanoseconds."""

LITTLE_NS: Final = 1_000_000
"""What a worker need not tell of each second, nanoseconds of the rate: a thousandth of it."""

AHEAD_NS: Final = 1_000_000_000
"""How far an account of commands can honestly stand past its bursts, nanoseconds."""

AHEAD_BURSTS: Final = 16
"""Bursts that workers can have paid ahead at the same moment, before they give them back."""

BYTES_AHEAD_NS: Final = 300_000_000_000
"""The same for bytes, whose number is only known behind a command; the longest debt."""

BYTES_BURST_NS: Final = NS
"""A rest saves up this much of the rate of bytes, nanoseconds: what passes at once."""

DOUBT_NS: Final = NS
"""A counter that stands where it cannot is moved back after this long, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account is held to, nanoseconds of the rate.

    Attributes:
        burst: How far past the clock the account may stand for one more command to pass.
        credit: What may pass without the counter's answer.
        ahead: How far past `burst` the account can honestly stand.
    """

    burst: int
    credit: int
    ahead: int


def command_cost(limits: Limits) -> int:
    """What one command costs."""
    return NS // limits.rate_per_s


def command_terms(limits: Limits) -> Terms:
    """The terms for a rate of commands.

    The credit is 50 ms of the rate, or one command, whichever is more. It is 100 ms of a rate of at
    most 500 commands a second, where the burst is so large that nobody is refused for what workers
    tell the counter of in lumps. Below 10 a second there is none.
    """
    cost = command_cost(limits)
    burst = (limits.burst - 1) * cost
    slow = cost >= SLOW_COST_NS and burst >= LUMPS * SLOW_CREDIT_NS
    usual = SLOW_CREDIT_NS if slow else max(CREDIT_NS, cost)
    credit = usual if cost <= SMALLEST_CREDIT_NS else 0
    return Terms(burst, credit, AHEAD_NS + AHEAD_BURSTS * (burst + cost))


def byte_terms() -> Terms:
    """The terms for a rate of bytes: a command passes when the ones before it are paid for."""
    return Terms(BYTES_BURST_NS, CREDIT_NS, BYTES_AHEAD_NS)


class Verdict(Enum):
    """What an account says to one more command."""

    PASS = "pass"  # noqa: S105 - no password
    """It may pass now."""
    UNPAID = "unpaid"
    """The credit is used up: the counter has to answer first."""
    STALE = "stale"
    """It would be refused, on knowledge that is too old to refuse anybody for."""
    REFUSE = "refuse"
    """The rate is used up; `wait` says for how long."""


class Account:
    """What one principal may still do. `now` is Unix nanoseconds everywhere.

    Attributes:
        terms: What it is held to now.
        owed: What passed and is not on its way to the counter; negative when paid ahead.
        under_way: What is on its way to the counter, with no answer yet.
        used_at: When something passed last.
    """

    __slots__ = (
        "_doubted_since",
        "_heard_at",
        "_own",
        "_shared",
        "owed",
        "terms",
        "under_way",
        "used_at",
    )

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.owed = 0
        self.under_way = 0
        self.used_at = 0
        self._own = 0  # where it stood if nobody but this worker let anything pass
        self._shared = 0  # where it stands without what is owed
        self._heard_at = 0
        self._doubted_since = 0

    def wait(self, now: int, *, ahead: int = 0) -> int:
        """How long until one more command passes, `ahead` standing in line; 0 or less is now."""
        return max(self._shared + self.owed - now, 0) + ahead - self.terms.burst

    def look(self, now: int, cost: int, *, ahead: int = 0) -> Verdict:
        """Whether one more command of this cost passes; a cost not known yet is 0."""
        if self.wait(now, ahead=ahead) > 0:
            alone = self._own - now > self.terms.burst
            known = alone or now - self._heard_at <= FRESH_NS
            return Verdict.REFUSE if known else Verdict.STALE
        if self.owed + self.under_way + cost > self.terms.credit:
            return Verdict.UNPAID
        return Verdict.PASS

    def spend(self, now: int, cost: int) -> None:
        """Let something pass."""
        self._shared = max(self._shared, now - self.owed)
        self._own = max(self._own, now) + cost
        self.owed += cost
        self.used_at = now

    def spend_alone(self, now: int, cost: int) -> None:
        """Let something pass that the counter is not told of."""
        self._shared = max(self._shared, now - self.owed) + cost
        self._own = max(self._own, now) + cost
        self.used_at = now

    @property
    def is_due(self) -> bool:
        """Whether enough is owed for the counter to be told."""
        return self.owed > 0 and 4 * self.terms.credit <= 5 * self.owed

    def forget_little(self) -> None:
        """Write off what is owed if it is next to nothing: not worth a message."""
        if 0 < self.owed <= LITTLE_NS:
            self._shared += self.owed
            self.owed = 0

    def idle_since(self, now: int) -> int:
        """For how long the account has said no more than a new one would, nanoseconds; else 0."""
        if self.owed or self.under_way or self._shared > now:
            return 0
        return now - self.used_at

    def most_ahead(self, now: int) -> int:
        """How much may be paid ahead for those who wait.

        Little while the counter may lag: two workers that pay ahead to a counter that lags do not
        see each other's payments.
        """
        return self.terms.burst if now - self._heard_at <= FRESH_NS else self.terms.credit

    def report(self, ahead: int) -> int:
        """What is to be added to the counter now: all that is owed, and `ahead` for who waits."""
        self.under_way = self.owed + ahead
        self._shared += self.under_way
        self.owed = -ahead
        return self.under_way

    def not_sent(self) -> None:
        """The report did not leave: it is owed as before."""
        self._shared -= self.under_way
        self.owed += self.under_way
        self.under_way = 0

    def not_answered(self) -> None:
        """The report may have been counted or not: it is not made again, and nothing is ahead."""
        if self.owed < 0:
            self._shared += self.owed
            self.owed = 0
        self.under_way = 0

    def shift(self, now: int, value: int) -> int:
        """How far a counter that answered `value` has to be moved; 0 where it may stand."""
        stands = value + self.owed
        if stands < now - SLACK_NS:
            return max(self._own, now - SLACK_NS) - stands
        if not self._is_absurd(now, value):
            self._doubted_since = 0
        elif not self._doubted_since:
            # Somebody is correcting it, or ended before they could.
            self._doubted_since = now
        elif now - self._doubted_since > DOUBT_NS:
            self._doubted_since = 0
            return now + self.terms.burst - value
        return 0

    def heard(self, now: int, value: int) -> None:
        """Take the counter's answer; one that cannot be honest is not believed."""
        self.under_way = 0
        self._heard_at = now
        if not self._is_absurd(now, value):
            self._shared = max(value, self._own - self.owed)

    def _is_absurd(self, now: int, value: int) -> bool:
        return value - now > self.terms.burst + self.terms.ahead
